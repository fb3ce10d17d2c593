"""The page about one machine is followed word by word, with a Docker engine there."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from emulation.engine import Engine
from tests.docs.commands import ROOT, blocks, run_on_terminal
from tests.docs.test_commands import environment, project
from tests.support.docker_engine import leased_engine

__all__ = ["project"]


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    yield from leased_engine()


@pytest.mark.timeout(700)
def test_the_page_about_one_machine_is_true_with_containers(engine: Engine, project: Path, tmp_path: Path) -> None:
    for name in ("master", "worker", "submit"):
        engine.spark_image(name, print)
    (block,) = [block for block in blocks() if block.file == ROOT / "docs" / "one-machine.md"]
    environ = environment(tmp_path) | engine.environment()
    code, shown = run_on_terminal("\n".join(block.commands), project, environ, timeout=600)
    assert code == 0, shown
    assert "spark://spark-master:7077" in shown, "it ran without containers"
