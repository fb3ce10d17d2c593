"""What every target can do; the command line knows nothing else of it."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal, Protocol, runtime_checkable

from sparkvault.jobs import JobRecord, JobSpec

Language = Literal["python", "scala", "sql"]
UiName = Literal["master", "worker", "driver", "history"]
LANGUAGES: tuple[Language, ...] = ("python", "scala", "sql")
UI_NAMES: tuple[UiName, ...] = ("master", "worker", "driver", "history")


@dataclass(frozen=True)
class Component:
    """One part of a cluster: what is there against what should be."""

    name: str
    kind: str
    """`host`, `master`, `worker`, `executor`, `enclave`, …"""
    state: str
    """`alive`, `starting`, `dead`, …, in the words of the system it belongs to."""
    healthy: bool
    detail: str = ""
    address: str | None = None


@dataclass(frozen=True)
class ClusterStatus:
    """The state of a target; ``healthy`` only if everything that should be there is."""

    target: str
    summary: str
    healthy: bool
    components: list[Component] = field(default_factory=list)


class Target(Protocol):
    """A place where Spark runs. Methods raise `SparkvaultError` with what is missing and how to mend it."""

    name: str

    def submit(self, spec: JobSpec) -> JobRecord:
        """Start the job and return at once with its first record."""

    def follow(self, job_id: str) -> Iterator[str]:
        """The driver's output, line by line without line ends, from its start until the job has ended."""

    def job(self, job_id: str) -> JobRecord:
        """The record of one job, brought up to date."""

    def jobs(self) -> list[JobRecord]:
        """All jobs that are on record, newest first."""

    def cancel(self, job_id: str) -> JobRecord:
        """End a job; one that has ended already is left as it is."""

    def logs(self, component: str | None, *, follow: bool, lines: int) -> Iterator[str]:
        """The last ``lines`` lines of a component's log (of all where it is None), then new ones if asked."""

    def shell(self, language: Language, spark_arguments: list[str], tenant: str) -> int:
        """An interactive shell on this terminal, in the name of that tenant; returns its exit code."""

    def ui(self, which: UiName) -> str:
        """Address at which that web UI can be opened from this machine."""

    def status(self) -> ClusterStatus:
        """What is there against what should be."""

    def scale(self, workers: int) -> ClusterStatus:
        """Bring the cluster to that many workers or executors, draining those that go."""


@runtime_checkable
class Rotating(Protocol):
    """A target whose secrets can be replaced while it runs."""

    def rotate(self) -> str:
        """Replace join data and RPC secret; returns what was done."""


@runtime_checkable
class Connecting(Protocol):
    """A target on which a Spark Connect server can be had for as long as a program of this machine runs."""

    def connect(self, command: list[str], spark_arguments: list[str], tenant: str) -> int:
        """Run the program with ``SPARK_REMOTE`` in its environment; the server ends with it. Returns its exit code."""
