"""The CPU and memory pairs that a Fargate task may have, and the smallest that fits a wish.

Source: Amazon ECS developer guide, "Task CPU and memory" for Linux tasks on Fargate.
"""

from dataclasses import dataclass

_GIB = 1024


def _gib(first: int, last: int, step: int = 1) -> tuple[int, ...]:
    return tuple(gib * _GIB for gib in range(first, last + 1, step))


#: vCPU → the memory sizes in MiB that go with it.
FARGATE_MEMORY_MIB: dict[float, tuple[int, ...]] = {
    0.25: (512, 1 * _GIB, 2 * _GIB),
    0.5: _gib(1, 4),
    1: _gib(2, 8),
    2: _gib(4, 16),
    4: _gib(8, 30),
    8: _gib(16, 60, 4),
    16: _gib(32, 120, 8),
}

#: Ephemeral storage of a task in GiB (platform version 1.4.0): the least and the most that can be asked for.
EPHEMERAL_STORAGE_GIB = (21, 200)

#: The longest time in seconds between SIGTERM and SIGKILL.
MAX_STOP_TIMEOUT_SECONDS = 120


@dataclass(frozen=True)
class FargateSize:
    """A pair that Fargate offers."""

    vcpu: float
    memory_mib: int


def is_offered(vcpu: float, memory_mib: int) -> bool:
    """Whether Fargate has a task size of exactly this many vCPU and MiB."""
    return memory_mib in FARGATE_MEMORY_MIB.get(vcpu, ())


def smallest_fitting(vcpu: float, memory_mib: int) -> FargateSize | None:
    """The smallest size with at least this many vCPU and MiB, or None where Fargate has none so large."""
    for cpus in sorted(FARGATE_MEMORY_MIB):
        if cpus < vcpu:
            continue
        for memory in FARGATE_MEMORY_MIB[cpus]:
            if memory >= memory_mib:
                return FargateSize(cpus, memory)
    return None
