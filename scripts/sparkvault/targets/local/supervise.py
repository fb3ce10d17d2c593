"""Runs one job's driver and records how it ended, whether or not anybody still looks on.

Started by `sparkvault submit` as `python -m sparkvault.targets.local.supervise JOB_FOLDER`, detached.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

import psutil

from sparkvault.errors import SparkvaultError
from sparkvault.jobs import JobRecord, JobState
from sparkvault.targets.local.docker_engine import UI_PORT_TRIES, lost_its_port, with_ui_port
from sparkvault.targets.local.folder import LocalFolder, write_private
from sparkvault.targets.local.job_folder import JobFolder, JobProcesses, Launch, link_history
from sparkvault.targets.local.log_tail import reason_in
from sparkvault.targets.local.master_ui import get_json
from sparkvault.targets.local.ports import LOOPBACK, free_port
from sparkvault.targets.local.processes import GRACE_SECONDS, ProcessIdentity, end_all, marked

#: Seconds between two looks for the driver's web UI, until it is there.
_LOOK_SECONDS = 0.5
#: How many ports above its own Spark tries for the UI (`spark.port.maxRetries` of our drivers).
_UI_PORTS = 65
#: Characters of a driver's output in which the engine says why there is no container.
_ENGINES_WORDS = 4096
#: Shells report a death by signal N as 128 + N.
_SIGNAL_BASE = 128


class Supervisor:
    """Looks after the driver of one job."""

    def __init__(self, job: JobFolder) -> None:
        self.job = job
        self.launch = Launch.model_validate_json(job.launch.read_text(encoding="utf-8"))
        self.folder = LocalFolder(self.launch.local_folder)
        self.record = job.read_record()
        self.cancelled = False
        self.ui_port = self.launch.ui_port
        self.output_begins = 0
        """Where in the output file the driver's own output begins."""

    def run(self) -> None:
        """Start the driver, wait for it, put its end on record."""
        signal.signal(signal.SIGTERM, self._cancel)
        me = ProcessIdentity.of(os.getpid())
        self.job.write_processes(JobProcesses(supervisor=me))
        for left in reversed(range(UI_PORT_TRIES)):
            try:
                driver = self._start()
            except (OSError, SparkvaultError) as error:
                self._note(state=JobState.FAILED, finished_at=datetime.now(UTC), message=f"cannot start: {error}")
                return
            self.job.write_processes(JobProcesses(supervisor=me, driver=ProcessIdentity.of(driver.pid)))
            if self.record.state is not JobState.RUNNING:
                self._note(state=JobState.RUNNING, started_at=datetime.now(UTC))
            code = self._wait(driver)
            if not (self.launch.container and left and not self.cancelled and self._lost_its_port(code)):
                break
            # What answered on that port meanwhile was the other program.
            self._note(ui=None)
        end_all(marked(self.folder, self.record.id))
        self.job.remove_container()
        self._close(code)

    def _lost_its_port(self, code: int) -> bool:
        """Whether the driver's container has to be started again, on another port."""
        with self.job.output.open("r+", encoding="utf-8", errors="replace") as output:
            output.seek(self.output_begins)
            if lost := lost_its_port(code, output.read(_ENGINES_WORDS)):
                output.seek(0, os.SEEK_END)
                output.write(f"port {self.ui_port} was taken meanwhile: the driver's web UI gets another\n")
        return lost

    def _start(self) -> subprocess.Popen[bytes]:
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        if self.launch.python_path:
            environment["PYTHONPATH"] = self.launch.python_path
        command = self.launch.command
        if self.launch.container:
            # A port has to be given to a container before it looks for a free one itself.
            self.ui_port = free_port(self.launch.ui_port)
            command = with_ui_port(command, self.ui_port)
        stdin = os.open(self.launch.stdin or os.devnull, os.O_RDONLY)
        output = os.open(self.job.output, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self.output_begins = os.fstat(output).st_size
        try:
            return subprocess.Popen(
                [*command, *self.launch.arguments],
                cwd=self.launch.folder,
                env=environment,
                stdin=stdin,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        finally:
            os.close(stdin)
            os.close(output)

    def _wait(self, driver: subprocess.Popen[bytes]) -> int:
        """The exit code; on the way, where the web UI is, and the end of a job that was cancelled."""
        killed_at: float | None = None
        while True:
            if self.cancelled and killed_at is None:
                killed_at = time.monotonic() + GRACE_SECONDS
                _signal_group(driver, signal.SIGTERM)
            if killed_at is not None and time.monotonic() > killed_at:
                _signal_group(driver, signal.SIGKILL)
            try:
                code = driver.wait(timeout=_LOOK_SECONDS if killed_at is None else 0.05)
            except subprocess.TimeoutExpired:
                if self.record.ui is None and not self.cancelled:
                    self._find_ui(driver.pid)
                continue
            return code if code >= 0 else _SIGNAL_BASE - code

    def _find_ui(self, driver_pid: int) -> None:
        if self.launch.container:
            self._note_ui(self.ui_port)
            return
        try:
            driver = psutil.Process(driver_pid)
            sockets = [
                socket.laddr
                for process in [driver, *driver.children(recursive=True)]
                for socket in process.net_connections("tcp4") + process.net_connections("tcp6")
                if socket.status == psutil.CONN_LISTEN
            ]
        except psutil.Error:
            return
        first = self.ui_port
        for port in sorted({address.port for address in sockets if first <= address.port < first + _UI_PORTS}):
            if self._note_ui(port):
                return

    def _note_ui(self, port: int) -> bool:
        ui = f"http://{LOOPBACK}:{port}"
        there = bool(get_json(f"{ui}/api/v1/applications", timeout=2.0))
        if there:
            self._note(ui=ui)
        return there

    def _close(self, code: int) -> None:
        for event_log in self.job.event_log.iterdir():
            link_history(self.folder, event_log)
        for temporary in (self.job.scratch, self.launch.temporary):
            if temporary is not None:
                shutil.rmtree(temporary, ignore_errors=True)
        if self.cancelled:
            state, message = JobState.CANCELLED, None
        elif code == 0:
            state, message = JobState.SUCCEEDED, None
        else:
            state, message = JobState.FAILED, reason_in(self.job.output)
        write_private(self.job.exit, f"{code}\n")
        self._note(state=state, message=message, exit_code=code, finished_at=datetime.now(UTC), ui=None)

    def _note(self, **changes: object) -> None:
        self.record = JobRecord.model_validate(self.record.model_copy(update=changes).model_dump())
        self.job.write_record(self.record)

    def _cancel(self, number: int, frame: FrameType | None) -> None:
        # Only noted here: what it does is done in _wait, which looks at it at least twice a second.
        self.cancelled = True


def _signal_group(driver: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """Signal the driver and all it has started; it leads a group of its own and is not reaped yet."""
    try:
        os.killpg(driver.pid, number)
    except ProcessLookupError:
        return


def main() -> None:
    """Entry point; what goes wrong here is found in `supervisor.log` beside the job's output."""
    try:
        Supervisor(JobFolder(Path(sys.argv[1]))).run()
    except SparkvaultError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
