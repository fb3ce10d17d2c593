"""One real cluster for all tests that only use it; its work folder has a space in its path."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from examples.text import write_text
from sparkvault.targets.local.folder import LocalFolder
from sparkvault.targets.local.machine import this_machine
from sparkvault.targets.local.processes import marked
from sparkvault.targets.local.target import LocalTarget


@pytest.fixture(scope="session")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalTarget]:
    folder = LocalFolder(tmp_path_factory.mktemp("a work folder") / "local")
    target = LocalTarget(folder)
    cores = min(2, this_machine().cores)
    status = target.cluster.up(workers=1, memory="1g", cores=cores, progress=print)
    try:
        assert status.healthy, status
        yield target
    finally:
        target.cluster.down(print)
        assert marked(folder) == [], "down left processes behind"


@pytest.fixture(scope="session")
def book(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_text(tmp_path_factory.mktemp("books") / "a book.txt")
