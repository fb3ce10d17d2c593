"""Target `local`: jobs and shells on the cluster of this machine."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import sparkvault
from sparkvault.errors import NotAvailable, UsageError
from sparkvault.jobs import JobRecord, JobSpec, is_job_id
from sparkvault.spark_submit import check_flags
from sparkvault.targets.interruption import run_on_terminal
from sparkvault.targets.local import submission
from sparkvault.targets.local.cluster import LocalCluster
from sparkvault.targets.local.docker_engine import with_ui_port
from sparkvault.targets.local.folder import LocalFolder, unwritable, write_private
from sparkvault.targets.local.job_folder import JobProcesses
from sparkvault.targets.local.log_tail import grow, tail
from sparkvault.targets.local.ports import DRIVER_UI_PORT, free_port
from sparkvault.targets.local.processes import JOB_MARKER, start_detached
from sparkvault.targets.protocol import ClusterStatus, Language, UiName

_SHELLS: dict[Language, str] = {"python": "pyspark", "scala": "spark-shell", "sql": "spark-sql"}


def _silent(text: str) -> None:
    return


class LocalTarget:
    """Implements `protocol.Target`. ``progress`` is told what takes its time."""

    name = "local"

    def __init__(self, folder: LocalFolder | None = None, progress: Callable[[str], None] = _silent) -> None:
        self.cluster = LocalCluster(folder)
        self.folder = self.cluster.folder
        self.store = self.cluster.jobs
        self.progress = progress

    def submit(self, spec: JobSpec) -> JobRecord:
        """Start the job and return at once with its first record.

        Raises UsageError for an application or flag that cannot be, NotAvailable where no cluster is up.
        """
        checked = submission.check(spec)
        state = self.cluster.running()
        self.folder.prepare()
        engine = self.cluster.engine(state)
        job, record = self.store.of(spec.id), JobRecord(spec=spec)
        job.make()
        write_private(job.spec, spec.model_dump_json(indent=2))
        job.write_record(record)
        launch = checked.prepare(engine, job)
        write_private(job.launch, launch.model_dump_json(indent=2))
        environment = engine.driver_environment(job.scratch, sys.executable) | {
            JOB_MARKER: spec.id,
            "PYTHONPATH": str(Path(sparkvault.__file__).parent.parent),
        }
        try:
            supervisor = start_detached(
                [sys.executable, "-P", "-m", "sparkvault.targets.local.supervise", str(job.path)],
                environment=environment,
                folder=job.path,
                output=job.supervisor_log,
            )
        except OSError as error:
            raise unwritable(job.path, error) from error
        if job.read_processes() is None:
            job.write_processes(JobProcesses(supervisor=supervisor))
        return record

    def follow(self, job_id: str) -> Iterator[str]:
        """The driver's output, line by line without line ends, from its start until the job has ended."""
        self.store.read(job_id)
        yield from grow(self.store.of(job_id).output, lambda: self.store.read(job_id).state.ended)

    def job(self, job_id: str) -> JobRecord:
        """The record of one job, brought up to date."""
        return self.store.read(job_id)

    def jobs(self) -> list[JobRecord]:
        """All jobs that are on record, newest first."""
        return self.store.all()

    def cancel(self, job_id: str) -> JobRecord:
        """End a job; one that has ended already is left as it is."""
        return self.store.cancel(job_id)

    def logs(self, component: str | None, *, follow: bool, lines: int) -> Iterator[str]:
        """The last lines of a daemon's log (`master`, `worker-1`, `history`), a job's output, or all daemons' logs.

        Where there are several, each line begins with its component's name. Raises NotAvailable.
        """
        logs = self._logs(component)
        try:
            for name, line in tail(logs, lines, lambda: not follow or self._is_over(component)):
                yield f"{name}: {line}" if len(logs) > 1 else line
        except FileNotFoundError:
            raise NotAvailable(f"{component} has no log yet", "try again in a moment") from None

    def _is_over(self, component: str | None) -> bool:
        """Whether nothing more comes: the component is a job, and it has ended."""
        return component is not None and is_job_id(component) and self.store.read(component).state.ended

    def shell(self, language: Language, spark_arguments: list[str], tenant: str) -> int:
        """An interactive shell on this terminal; returns its exit code. Raises UsageError, NotAvailable."""
        check_flags(spark_arguments)
        state = self.cluster.running()
        engine = self.cluster.engine(state)
        environment = engine.driver_environment(self.folder.scratch, sys.executable)
        command = with_ui_port(engine.shell_command(_SHELLS[language]), free_port(DRIVER_UI_PORT))
        return run_on_terminal([*command, *spark_arguments], environment)

    def ui(self, which: UiName) -> str:
        """Address at which that web UI can be opened from this machine. Raises NotAvailable."""
        if which == "history":
            return self.cluster.history(self.progress)
        if which == "driver":
            return self._driver_ui()
        state = self.cluster.running()
        engine = self.cluster.engine(state)
        daemons = [daemon for daemon in state.daemons if daemon.kind == which and engine.is_alive(daemon)]
        if not daemons:
            raise NotAvailable(f"no {which} is alive", "`sparkvault scale N` replaces workers that have died")
        return daemons[0].ui

    def status(self) -> ClusterStatus:
        """What is there against what should be."""
        return self.cluster.status()

    def scale(self, workers: int) -> ClusterStatus:
        """Bring the cluster to that many workers, draining those that go."""
        return self.cluster.scale(workers, self.progress)

    def _driver_ui(self) -> str:
        running = [record for record in self.jobs() if not record.state.ended]
        if not running:
            raise NotAvailable("no job is running", "`sparkvault ui history` shows those that have ended")
        for record in running:
            if record.ui:
                return record.ui
        raise NotAvailable(f"job {running[0].id} has no web UI yet", "try again in a few seconds")

    def _logs(self, component: str | None) -> dict[str, Path]:
        there = {path.stem: path for path in sorted(self.folder.logs.glob("*.log"))}
        if not there and (component is None or not is_job_id(component)):
            raise NotAvailable("there are no logs: no local cluster was ever up", "`sparkvault local up` starts one")
        if component is None:
            return there
        if component in there:
            return {component: there[component]}
        try:
            return {component: self.store.of(self.store.read(component).id).output}
        except (UsageError, NotAvailable) as error:
            raise NotAvailable(
                f"there is no log of {component!r}", f"there are those of {', '.join([*there, 'jobs, by their ids'])}"
            ) from error
