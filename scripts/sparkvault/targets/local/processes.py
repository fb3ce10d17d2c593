"""Processes that outlive the command that started them: which is which, and how they are ended.

A pid alone is never trusted: it may belong to someone else by now.
"""

import os
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Self

import psutil
from pydantic import BaseModel, ConfigDict

from sparkvault.targets.local.folder import LocalFolder

#: In the environment of every process of a cluster, inherited by executors and their Python workers: the
#: cluster's folder. It tells ours from another cluster's, also when no record of them is left.
MARKER = "SPARKVAULT_LOCAL_CLUSTER"
#: In the environment of every process of a job, beside that: the job's id.
JOB_MARKER = "SPARKVAULT_JOB"

#: Seconds between SIGTERM and SIGKILL.
GRACE_SECONDS = 8.0


class ProcessIdentity(BaseModel):
    """A process, told from a later one with the same pid by the moment it was started."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    pid: int
    started: str

    @classmethod
    def of(cls, pid: int) -> Self:
        """The process that has this pid now. Raises psutil.NoSuchProcess."""
        return cls(pid=pid, started=_started(pid))

    def process(self) -> psutil.Process | None:
        """A handle on it, None if it has ended or is a zombie."""
        try:
            process = psutil.Process(self.pid)
            if _started(self.pid) != self.started or process.status() == psutil.STATUS_ZOMBIE:
                return None
        except psutil.Error:
            return None
        return process

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return self.process() is not None


def _started(pid: int) -> str:
    """When a process was started, in a form that does not move with the clock where the system offers one.

    On Linux: the boot's id and field 22 of /proc/PID/stat, clock ticks since boot (proc(5)).
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except (FileNotFoundError, ProcessLookupError):
        return f"{psutil.Process(pid).create_time():.2f}"
    return f"{boot} {stat.rpartition(')')[2].split()[19]}"


def start_detached(
    command: list[str], *, environment: Mapping[str, str], folder: Path, output: Path
) -> ProcessIdentity:
    """Start a program in a session of its own: it has no terminal, and goes on when ours is closed.

    Raises OSError.
    """
    descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        started = subprocess.Popen(
            command,
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=descriptor,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    finally:
        os.close(descriptor)
    return ProcessIdentity.of(started.pid)


def marked(folder: LocalFolder, job_id: str | None = None) -> list[psutil.Process]:
    """Every process of the cluster in that folder, or of one job of it, but for ourselves and our ancestors."""
    me = psutil.Process()
    spared = {me.pid, *(parent.pid for parent in me.parents())}
    wanted = {MARKER: str(folder.root)} | ({JOB_MARKER: job_id} if job_id else {})
    return [process for process in psutil.process_iter() if process.pid not in spared and _carries(process, wanted)]


def _carries(process: psutil.Process, wanted: dict[str, str]) -> bool:
    try:
        environment = process.environ()
        return wanted.items() <= environment.items() and process.status() != psutil.STATUS_ZOMBIE
    except (psutil.Error, OSError):
        return False  # another user's, or it has ended in the meantime


def end_all(processes: Iterable[psutil.Process], grace: float = GRACE_SECONDS) -> int:
    """Ask processes to end, then make them; returns how many there were.

    psutil checks pid and start time before each signal.
    """
    asked = list(processes)
    for process in asked:
        _signal(process, force=False)
    _, left = psutil.wait_procs(asked, timeout=grace)
    for process in left:
        _signal(process, force=True)
    psutil.wait_procs(left, timeout=grace)
    return len(asked)


def _signal(process: psutil.Process, *, force: bool) -> None:
    try:
        if force:
            process.kill()
        else:
            process.terminate()
    except psutil.Error:
        return  # it has ended in the meantime
