"""Workers fit the machine by default, and more than it has is refused with what would fit."""

import socket

import pytest

from sparkvault.errors import SparkvaultError, UsageError
from sparkvault.targets.local.machine import Machine, WorkerSize, parse_memory, size_workers, this_machine
from sparkvault.targets.local.ports import free_port

SMALL = Machine(cores=2, memory_mib=24 * 1024)
LARGE = Machine(cores=16, memory_mib=64 * 1024)


def test_the_defaults_fit_this_machine() -> None:
    machine = this_machine()
    size = size_workers(machine, None, None, None)
    assert size.workers * size.cores <= machine.cores
    assert size.workers * size.memory_mib < machine.memory_mib


@pytest.mark.parametrize(
    ("machine", "workers", "memory", "cores", "size"),
    [
        (SMALL, None, None, None, WorkerSize(1, 2, 21504)),
        (SMALL, 2, None, None, WorkerSize(2, 1, 10752)),
        (LARGE, None, None, None, WorkerSize(2, 8, 28672)),
        (LARGE, None, "6G", 3, WorkerSize(1, 3, 6144)),
        (LARGE, 5, "6G", 3, WorkerSize(5, 3, 6144)),
        (LARGE, 3, None, None, WorkerSize(3, 5, 19114)),
    ],
)
def test_workers_share_the_machine(
    machine: Machine, workers: int | None, memory: str | None, cores: int | None, size: WorkerSize
) -> None:
    assert size_workers(machine, workers, memory, cores) == size


@pytest.mark.parametrize(
    ("workers", "memory", "cores", "what", "remedy"),
    [
        (None, "25G", None, "1 worker with 25600 MiB is more than the 24576 MiB", "21504m with --memory"),
        (2, "13G", 1, "2 workers with 13312 MiB each is more than the 24576 MiB", "10752m with --memory"),
        (None, None, 3, "1 worker with 3 cores is more than the 2 cores", "at most 2 with --cores"),
        (3, None, None, "3 workers with 1 core each is more than the 2 cores", "fewer workers"),
        (1, "100m", None, "1 worker with 100 MiB is too little", "more with --memory"),
        (0, None, None, "0 workers", "from 1 up"),
        (1, None, -1, "-1 cores", "from 1 up"),
        (1, "6", None, "'6' is not a memory size", "6G"),
    ],
)
def test_what_does_not_fit_is_refused(
    workers: int | None, memory: str | None, cores: int | None, what: str, remedy: str
) -> None:
    with pytest.raises(UsageError) as error:
        size_workers(SMALL, workers, memory, cores)
    assert what in error.value.what
    assert remedy in (error.value.remedy or "")


@pytest.mark.parametrize(("text", "mib"), [("6G", 6144), ("6g", 6144), ("6GiB", 6144), (" 512m ", 512), ("1Gb", 1024)])
def test_memory_as_people_write_it(text: str, mib: int) -> None:
    assert parse_memory(text) == mib


@pytest.mark.parametrize("text", ["", "0G", "-1G", "1.5G", "6T", "G", "6 G G", "99999999G"])
def test_memory_as_nobody_should(text: str) -> None:
    with pytest.raises(UsageError):
        parse_memory(text)


def test_a_taken_port_gives_the_next() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert free_port(port) > port
        assert free_port(port, taken={port + 1}) > port + 1


def test_no_free_port_at_all_is_an_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SparkvaultError, match=f"no port between {port} and {port} is free"):
            free_port(port, tries=1)
