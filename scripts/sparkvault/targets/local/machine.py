"""What this machine has for Spark, and how workers are sized to it."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

import psutil

from sparkvault.errors import UsageError

#: MiB left for the system, the daemons and drivers: an eighth of the machine, at least this.
LEAST_RESERVE_MIB = 2048
#: Spark refuses executors below 450 MiB (UnifiedMemoryManager's reserve times 1.5); a worker holds one at least.
LEAST_WORKER_MIB = 512
#: Two workers show that there is a cluster; below this many cores they would only fight for them.
CORES_FOR_TWO_WORKERS = 4

_CGROUP_MEMORY = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
_CGROUP_CPU = "/sys/fs/cgroup/cpu.max"


@dataclass(frozen=True)
class Machine:
    """Cores and memory in MiB that this process may use."""

    cores: int
    memory_mib: int

    @property
    def for_workers_mib(self) -> int:
        """Memory that workers may offer where nobody says otherwise."""
        return max(LEAST_WORKER_MIB, self.memory_mib - max(LEAST_RESERVE_MIB, self.memory_mib // 8))


@dataclass(frozen=True)
class WorkerSize:
    """How many workers, and what each offers: cores, and memory in MiB."""

    workers: int
    cores: int
    memory_mib: int


def this_machine() -> Machine:
    """This machine, or the container we are in: what the kernel lets us have, not what is built in."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _first_numbers(_CGROUP_CPU)
    if len(quota) == 2:
        cores = max(1, min(cores, quota[0] // quota[1]))
    memory = psutil.virtual_memory().total
    for path in _CGROUP_MEMORY:
        memory = min([memory, *_first_numbers(path)])
    return Machine(cores, memory // 2**20)


def _first_numbers(path: str) -> list[int]:
    """The numbers on a control group file's line; none where there is no file or it says `max`."""
    try:
        words = Path(path).read_text().split()
    except OSError:
        return []
    return [int(word) for word in words] if all(word.isdigit() for word in words) else []


def parse_memory(text: str) -> int:
    """MiB of a memory size as people write it: `6G`, `6g`, `6GiB`, `512m`. Raises UsageError."""
    match = re.fullmatch(r"([1-9][0-9]{0,6})([mMgG])(i?[bB])?", text.strip())
    if match is None:
        raise UsageError(f"{text!r} is not a memory size", "write it as Spark does: 6G, 512m")
    return int(match[1]) * (1024 if match[2] in "gG" else 1)


def size_workers(machine: Machine, workers: int | None, memory: str | None, cores: int | None) -> WorkerSize:
    """Workers that fit the machine; what is not given is divided evenly.

    Raises UsageError where more is asked for than there is.
    """
    for what, number in (("workers", workers), ("cores", cores)):
        if number is not None and number < 1:
            raise UsageError(f"{number} {what}: there must be at least one", f"give --{what} a number from 1 up")
    if workers is None:
        workers = 2 if machine.cores >= CORES_FOR_TWO_WORKERS and cores is None and memory is None else 1
    each = cores or max(1, machine.cores // workers)
    if workers * each > machine.cores:
        raise UsageError(
            f"{_times(workers, f'{each} cores' if each > 1 else '1 core')} is more than "
            f"the {machine.cores} cores of this machine",
            f"ask for fewer workers, or for at most {max(1, machine.cores // workers)} with --cores",
        )
    mib = parse_memory(memory) if memory else machine.for_workers_mib // workers
    if mib < LEAST_WORKER_MIB:
        raise UsageError(
            f"{_times(workers, f'{mib} MiB')} is too little: a worker needs {LEAST_WORKER_MIB} MiB for one executor",
            "ask for fewer workers, or for more with --memory",
        )
    if workers * mib > machine.memory_mib:
        raise UsageError(
            f"{_times(workers, f'{mib} MiB')} is more than the {machine.memory_mib} MiB of memory of this machine",
            f"ask for fewer workers, or for at most {machine.for_workers_mib // workers}m with --memory",
        )
    return WorkerSize(workers, each, mib)


def _times(workers: int, each: str) -> str:
    return f"1 worker with {each}" if workers == 1 else f"{workers} workers with {each} each"
