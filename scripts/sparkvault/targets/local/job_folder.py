"""The folder of each job: what was asked for, the files that ran, the output, the event log, how it ended."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psutil
from pydantic import BaseModel, ConfigDict, ValidationError

from sparkvault.errors import NotAvailable
from sparkvault.jobs import JobRecord, JobState, checked_job_id
from sparkvault.targets.local.docker_engine import remove_container
from sparkvault.targets.local.folder import LocalFolder, unwritable, write_private
from sparkvault.targets.local.log_tail import reason_in
from sparkvault.targets.local.processes import GRACE_SECONDS, ProcessIdentity, end_all, marked

#: Seconds after which a job that has no supervisor on record is given up: `submit` was killed half-way.
_SUBMIT_SECONDS = 30.0


class JobProcesses(BaseModel):
    """Who looks after a job, and its driver; `process.json`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    supervisor: ProcessIdentity
    driver: ProcessIdentity | None = None


class Launch(BaseModel):
    """How the supervisor starts the driver; `launch.json`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    local_folder: Path
    command: list[str]
    """What runs the program, up to its own arguments; where it is a container, `with_ui_port` makes it complete."""
    arguments: list[str]
    """The program's own arguments."""
    folder: Path
    """The working folder of the driver: where `submit` was called."""
    python_path: str | None
    """PYTHONPATH for the driver; the supervisor's own is another."""
    ui_port: int
    """The first port its web UI may be on."""
    stdin: Path | None
    """What the driver reads as its standard input; nothing where it is None."""
    temporary: Path | None
    """A folder to be removed when the job has ended."""
    container: tuple[str, str] | None = None
    """Where the driver is a container: the docker client, and the container's name."""


@dataclass(frozen=True)
class JobFolder:
    """`jobs/<id>/` and the names of what is in it."""

    path: Path

    @property
    def spec(self) -> Path:
        """What was asked for; never changed."""
        return self.path / "spec.json"

    @property
    def record(self) -> Path:
        """How it fares."""
        return self.path / "record.json"

    @property
    def files(self) -> Path:
        """The application as it was when it was submitted."""
        return self.path / "files"

    @property
    def output(self) -> Path:
        """What the driver printed."""
        return self.path / "output.log"

    @property
    def event_log(self) -> Path:
        """What the history server shows."""
        return self.path / "event-log"

    @property
    def exit(self) -> Path:
        """The driver's exit code, once it has one."""
        return self.path / "exit"

    @property
    def launch(self) -> Path:
        """What the supervisor is to start."""
        return self.path / "launch.json"

    @property
    def processes(self) -> Path:
        """Supervisor and driver."""
        return self.path / "process.json"

    @property
    def supervisor_log(self) -> Path:
        """What the supervisor said; nothing, if all went well."""
        return self.path / "supervisor.log"

    @property
    def scratch(self) -> Path:
        """The driver's temporary files."""
        return self.path / "scratch"

    def make(self) -> None:
        """Make the folder. Raises SparkvaultError where the disk does not let us."""
        try:
            for folder in (self.path, self.files, self.event_log, self.scratch):
                folder.mkdir(mode=0o700)
        except OSError as error:
            raise unwritable(self.path, error) from error

    def read_record(self) -> JobRecord:
        """The record as it is on disk. Raises OSError, ValidationError."""
        return JobRecord.model_validate_json(self.record.read_text(encoding="utf-8"))

    def write_record(self, record: JobRecord) -> None:
        """Put the record on disk. Raises SparkvaultError."""
        write_private(self.record, record.model_dump_json(indent=2))

    def read_processes(self) -> JobProcesses | None:
        """Who looks after the job, None where that is not on record yet."""
        try:
            return JobProcesses.model_validate_json(self.processes.read_text(encoding="utf-8"))
        except (OSError, ValidationError):
            return None

    def remove_container(self) -> None:
        """End the driver's container, if it has one: its client may have been killed, and left it behind."""
        try:
            launch = Launch.model_validate_json(self.launch.read_text(encoding="utf-8"))
        except (OSError, ValidationError):
            return
        if launch.container:
            remove_container(*launch.container)

    def write_processes(self, processes: JobProcesses) -> None:
        """Put on record who looks after the job. Raises SparkvaultError."""
        write_private(self.processes, processes.model_dump_json())


class JobFolders:
    """All jobs of a work folder; a `jobs.JobStore`."""

    def __init__(self, folder: LocalFolder) -> None:
        self.folder = folder

    def of(self, job_id: str) -> JobFolder:
        """The folder of that job, there or not. Raises UsageError for what is no job id."""
        return JobFolder(self.folder.jobs / checked_job_id(job_id))

    def write(self, record: JobRecord) -> None:
        """Keep the record, replacing an older one of the same id, atomically."""
        self.of(record.id).write_record(record)

    def read(self, job_id: str) -> JobRecord:
        """The record of that id, brought up to date. Raises NotAvailable where there is none."""
        job = self.of(job_id)
        try:
            return self._up_to_date(job, job.read_record())
        except (OSError, ValidationError) as error:
            raise NotAvailable(f"there is no job {job_id}", "`sparkvault jobs` lists those there are") from error

    def all(self) -> list[JobRecord]:
        """All records, newest first; folders without a readable one are no jobs."""
        try:
            names = sorted((path.name for path in self.folder.jobs.iterdir()), reverse=True)
        except FileNotFoundError:
            return []
        records = []
        for name in names:
            try:
                records.append(self.read(name))
            except NotAvailable:
                continue
        return records

    def cancel(self, job_id: str) -> JobRecord:
        """End a job's processes; one that has ended is left as it is, but for a driver that lost its supervisor."""
        record, job = self.read(job_id), self.of(job_id)
        processes = job.read_processes()
        supervisor = processes.supervisor.process() if processes else None
        if supervisor is not None and not record.state.ended:
            try:
                supervisor.terminate()
                # It gives the driver GRACE_SECONDS, twice at most.
                supervisor.wait(timeout=3 * GRACE_SECONDS)
            except psutil.Error:
                pass  # it has ended, or hangs and is ended below
        end_all(marked(self.folder, job_id))
        job.remove_container()
        record = job.read_record()
        if not record.state.ended:
            record = _ended(record, JobState.CANCELLED, None)
            job.write_record(record)
        return record

    def cancel_all(self, progress: Callable[[str], None]) -> list[str]:
        """Cancel every job that is not over; returns their ids."""
        cancelled = []
        for record in self.all():
            if not record.state.ended:
                progress(f"cancelling job {record.id}")
                self.cancel(record.id)
                cancelled.append(record.id)
        return cancelled

    def link_histories(self) -> None:
        """Show every job's event log to the history server, which looks into one folder only."""
        for path in self.folder.jobs.glob("*/event-log/*"):
            link_history(self.folder, path)

    def _up_to_date(self, job: JobFolder, record: JobRecord) -> JobRecord:
        """A job whose supervisor is gone without a word (`kill -9`, the machine restarted) is lost."""
        if record.state.ended:
            return record
        processes = job.read_processes()
        if processes is None:
            age = (datetime.now(UTC) - record.spec.submitted_at).total_seconds()
            alive = age < _SUBMIT_SECONDS
        else:
            alive = processes.supervisor.alive
        if alive:
            return record
        record = job.read_record()  # it may have ended well between the two looks
        if not record.state.ended:
            record = _ended(record, JobState.LOST, _reason_of_loss(job))
            job.write_record(record)
        return record


def link_history(folder: LocalFolder, event_log: Path) -> None:
    """Show one event log to the history server."""
    link = folder.history / event_log.name
    if not link.is_symlink() and not event_log.name.startswith("."):
        try:
            link.symlink_to(event_log)
        except OSError:
            return  # someone else was quicker, or the disk is full: the history lacks a job


def _reason_of_loss(job: JobFolder) -> str:
    log = job.supervisor_log
    if log.exists() and log.stat().st_size:
        return f"its supervisor ended: {reason_in(log)}"
    return "its supervisor was killed, or the machine restarted"


def _ended(record: JobRecord, state: JobState, message: str | None) -> JobRecord:
    update = {"state": state, "finished_at": datetime.now(UTC), "message": message, "ui": None}
    return record.model_copy(update=update)
