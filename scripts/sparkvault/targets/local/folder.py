"""Where everything of the local cluster lies: one private folder, `local/` in the work folder."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from sparkvault.errors import SparkvaultError
from sparkvault.project import WORK_FOLDER_VARIABLE, work_folder_path

#: Free space in MiB below which nothing is started: logs, shuffle and spill need some at once.
LEAST_FREE_MIB = 256


@dataclass(frozen=True)
class LocalFolder:
    """The folder and the names of what is in it. Nothing is made before `prepare`."""

    root: Path

    @classmethod
    def default(cls) -> Self:
        """The one below SPARKVAULT_HOME or, without that, below `.sparkvault` in the project."""
        return cls(work_folder_path() / "local")

    @property
    def lock(self) -> Path:
        """Held while the cluster is changed."""
        return self.root / "lock"

    @property
    def state(self) -> Path:
        """What is running."""
        return self.root / "cluster.json"

    @property
    def daemon_conf(self) -> Path:
        """SPARK_CONF_DIR of master and workers; holds the secret."""
        return self.root / "conf" / "daemons"

    @property
    def driver_conf(self) -> Path:
        """SPARK_CONF_DIR of drivers; holds the secret."""
        return self.root / "conf" / "drivers"

    @property
    def history_conf(self) -> Path:
        """SPARK_CONF_DIR of the history server; holds no secret."""
        return self.root / "conf" / "history"

    @property
    def logs(self) -> Path:
        """One file for each daemon."""
        return self.root / "logs"

    @property
    def executors(self) -> Path:
        """Working folders of executors, with their logs."""
        return self.root / "executors"

    @property
    def scratch(self) -> Path:
        """Shuffle and spill files, encrypted by Spark."""
        return self.root / "scratch"

    @property
    def warehouse(self) -> Path:
        """Tables that people save by name."""
        return self.root / "warehouse"

    @property
    def jobs(self) -> Path:
        """One folder for each job."""
        return self.root / "jobs"

    @property
    def history(self) -> Path:
        """Links to every job's event log, for the history server."""
        return self.root / "history"

    def prepare(self) -> None:
        """Make the folders, readable by their owner alone.

        Raises SparkvaultError where that cannot be: read-only or full disk, a file in the way, another's folder.
        """
        try:
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            if self.root.stat().st_uid != os.geteuid():
                raise SparkvaultError(
                    f"{self.root} belongs to another user", f"set {WORK_FOLDER_VARIABLE} to a folder of your own"
                )
            self.root.chmod(0o700)
            for folder in (self.logs, self.executors, self.scratch, self.warehouse, self.jobs, self.history):
                folder.mkdir(mode=0o700, exist_ok=True)
            self._probe()
            free_mib = shutil.disk_usage(self.root).free // 2**20
        except OSError as error:
            raise unwritable(self.root, error) from error
        if free_mib < LEAST_FREE_MIB:
            raise SparkvaultError(
                f"the disk of {self.root} is full: {free_mib} MiB free, {LEAST_FREE_MIB} MiB needed",
                f"free some space, or set {WORK_FOLDER_VARIABLE} to a folder on another disk",
            )

    def _probe(self) -> None:
        """Write something, as a folder's permissions say nothing about its disk."""
        probe = self.root / f".probe-{os.getpid()}"
        try:
            with probe.open("wb") as file:
                file.write(b"\0" * 4096)
                os.fsync(file.fileno())
        finally:
            probe.unlink(missing_ok=True)


def unwritable(path: Path, error: OSError) -> SparkvaultError:
    """The error to raise where the work folder failed us."""
    return SparkvaultError(
        f"cannot write to {error.filename or path}: {error.strerror or error}",
        f"free some space or mend its permissions, or set {WORK_FOLDER_VARIABLE} to a folder on another disk",
    )


def write_private(path: Path, text: str) -> None:
    """Write a file that its owner alone may read, replacing an older one in one step.

    Raises SparkvaultError where the disk does not let us.
    """
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        fresh.replace(path)
    except OSError as error:
        fresh.unlink(missing_ok=True)
        raise unwritable(path, error) from error
