"""How much of everything the broker gives. Compiled in; only sizes follow the memory that the enclave was given."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

_MIB: Final = 1 << 20
#: For the broker, the kernel and the file system in memory.
_RESERVED_MIB: Final = 768
#: A Spark session does not start usefully with less.
LEAST_HEAP_MIB: Final = 512
_MOST_HEAP_MIB: Final = 16 << 10
#: What a JVM takes beside its heap, and what its tables and temporary files take in memory, as parts of its heap.
_OUTSIDE_HEAP: Final = 0.5
_SCRATCH: Final = 1.0


class TooLittleMemory(Exception):
    """The enclave was given less memory than one session needs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Counts, sizes (MiB, bytes) and times (seconds)."""

    sessions_most: int = 2
    waiting_most: int = 16
    """Clients that may wait for a session; more are refused at once."""
    waiting_seconds: float = 20.0
    heap_mib: int = 1024
    """Heap of one session's JVM."""
    table_bytes: int = 1 << 30
    """Files of all tables of one session."""
    seconds_idle: int = 300
    """A session without a message or a chunk taken for so long ends."""
    seconds_most: int = 4 * 3600
    query_seconds_most: int = 3600
    fetch_seconds: float = 60.0
    """A result that nobody comes for in this time is dropped."""
    stall_seconds: float = 20.0
    """How long a peer may take for one message of a stream or for taking one chunk."""
    table_seconds: float = 1800.0
    """All of one table; so that nobody holds a session by a drop now and then."""
    worker_start_seconds: float = 600.0
    """A session's JVM takes seconds on hardware, minutes on an emulated processor."""
    attested_seconds: float = 300.0
    """How long an opening may follow its attestation."""
    attested_most: int = 4096
    concurrent_calls: int = 128
    warm_spare: bool = True
    scratch: Path = Path("/run/sparkvault/sessions")
    """In memory (tmpfs); each session has a folder in it."""
    first_uid: int | None = 70_000
    """Sessions run under this uid and those after it, each under its own; None: all under the broker's own."""

    @classmethod
    def for_memory(cls, memory_bytes: int) -> Settings:
        """For an enclave with so much memory; raises TooLittleMemory."""
        usable = memory_bytes // _MIB - _RESERVED_MIB
        one = 1 + _OUTSIDE_HEAP + _SCRATCH
        if usable < LEAST_HEAP_MIB * one:
            needed = int(LEAST_HEAP_MIB * one) + _RESERVED_MIB
            raise TooLittleMemory(f"The enclave has {memory_bytes // _MIB} MiB; one session needs {needed} MiB.")
        sessions = max(1, min(16, int(usable / (2048 * one))))
        heap = min(_MOST_HEAP_MIB, int(usable / sessions / one))
        return cls(sessions_most=sessions, heap_mib=heap, table_bytes=int(heap * _SCRATCH / 2) * _MIB)


def memory_of_machine() -> int:
    """Bytes of memory that the kernel has (MemTotal)."""
    for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) * 1024
    raise TooLittleMemory("The kernel does not say how much memory it has.")
