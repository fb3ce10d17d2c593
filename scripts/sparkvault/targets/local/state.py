"""What is running: written before anything is started, so that nothing of it can be forgotten."""

from datetime import UTC, datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sparkvault.targets.local.folder import LocalFolder, write_private
from sparkvault.targets.local.machine import WorkerSize
from sparkvault.targets.local.processes import ProcessIdentity

DaemonKind = Literal["master", "worker", "history"]


class Daemon(BaseModel):
    """One daemon of the cluster; its log is `logs/<name>.log`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    """`master`, `worker-1`, …, `history`."""
    kind: DaemonKind
    ui: str
    """Address of its web UI."""
    process: ProcessIdentity


class ClusterState(BaseModel):
    """The cluster of a work folder: how it was asked for and what was started for it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    engine: Literal["process", "docker"] = "process"
    java_home: str = ""
    """Of engine `process`."""
    spark_home: str = ""
    """Of engine `process`."""
    images: dict[str, str] = {}
    """Of engine `docker`: stage → reference."""
    data: list[str] = []
    """Of engine `docker`: folders of this machine that jobs see under the same path."""
    master_url: str
    """`spark://127.0.0.1:7077`, or `spark://spark-master:7077` in the network of the containers."""
    master_ui: str
    size: WorkerSize
    ready: bool = False
    """False until it has once been seen healthy."""
    daemons: list[Daemon] = []
    started_at: datetime = Field(default_factory=lambda: datetime.now(UTC))

    @property
    def workers(self) -> list[Daemon]:
        """The workers there should be, in the order of their numbers."""
        return [daemon for daemon in self.daemons if daemon.kind == "worker"]

    def daemon(self, name: str) -> Daemon | None:
        """The daemon of that name."""
        return next((daemon for daemon in self.daemons if daemon.name == name), None)

    def with_daemon(self, daemon: Daemon) -> "ClusterState":
        """This state with one more daemon, in place of an older one of the same name."""
        return self.without([daemon.name]).model_copy(
            update={"daemons": [*(old for old in self.daemons if old.name != daemon.name), daemon]}
        )

    def without(self, names: list[str]) -> "ClusterState":
        """This state without the daemons of these names."""
        return self.model_copy(update={"daemons": [one for one in self.daemons if one.name not in names]})


def read_state(folder: LocalFolder) -> ClusterState | None:
    """What is on record; None where nothing is, or nothing that can be read (its processes are found all the same)."""
    try:
        return ClusterState.model_validate_json(folder.state.read_text(encoding="utf-8"))
    except (OSError, ValidationError):
        return None


def write_state(folder: LocalFolder, state: ClusterState) -> None:
    """Put it on record."""
    write_private(folder.state, state.model_dump_json(indent=2))
