"""The page about several hosts is followed word by word, on emulated hosts."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from emulation.engine import Engine
from tests.docs.commands import ROOT, run_on_terminal
from tests.docs.test_commands import environment
from tests.support.docker_engine import leased_engine

pytestmark = [pytest.mark.timeout(2400), pytest.mark.campaign]

_BLOCK = re.compile(r"```console\n(.*?)```", re.DOTALL)


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    yield from leased_engine()


def test_the_page_about_several_hosts_is_true(engine: Engine, tmp_path: Path) -> None:
    page = (ROOT / "docs" / "several-hosts.md").read_text(encoding="utf-8")
    commands = [line.removeprefix("# ") for block in _BLOCK.findall(page) for line in block.splitlines()]
    # Whatever fails on the way, the hosts end.
    script = "\n".join(["source .venv/bin/activate", "trap 'python -m emulation.ec2 down' EXIT", *commands])
    code, shown = run_on_terminal(script, ROOT, environment(tmp_path), timeout=2300)
    assert code == 0, shown
    assert len(re.findall(r"pi is roughly 3\.1\d+", shown)) == 2, shown
    assert "3 of 3 in service" in shown
