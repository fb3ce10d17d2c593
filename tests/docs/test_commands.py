"""Every command in a block of `sh` in README and docs is run, word by word."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from emulation.aws import EmbeddedAws
from sparkvault.toolchain import docker_engine, tool_environment
from tests.docs.commands import ROOT, Block, blocks, run_on_terminal

#: `make` inside a test of `make test` would go round in circles: the demo has a test of its own, the tests are this,
#: and setting up is what they began with.
MADE = ("make setup", "make demo", "make test")

LOCAL = [block for block in blocks() if not block.needs_account and block.commands[0] not in MADE]
ACCOUNT = [block for block in blocks() if block.needs_account]


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Path]:
    """A folder that looks like this clone, so that what the commands write does not land in it."""
    clone = tmp_path / "a clone"
    clone.mkdir()
    for entry in ROOT.iterdir():
        (clone / entry.name).symlink_to(entry)
    yield clone
    command = [str(ROOT / ".venv/bin/sparkvault"), "local", "down", "--if-up"]
    subprocess.run(command, env=environment(tmp_path), check=True, timeout=120)


def environment(tmp_path: Path) -> dict[str, str]:
    ours = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    return tool_environment(ours) | {"SPARKVAULT_HOME": str(tmp_path / "work"), "AWS_EC2_METADATA_DISABLED": "true"}


def test_what_the_readme_makes_are_targets() -> None:
    made = [block for block in blocks() if block.commands[0] in MADE]
    assert [block.commands for block in made] == [(command,) for command in MADE]
    listed = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for target in ("setup", "demo", "test", "lint", "snapshots", "bench", "clean"):
        assert f"make {target} " in listed


@pytest.mark.parametrize("block", LOCAL, ids=str)
def test_commands_work_as_they_stand(block: Block, project: Path, tmp_path: Path) -> None:
    commands = ["source .venv/bin/activate", *block.commands]
    code, shown = run_on_terminal("\n".join(commands), project, environment(tmp_path), timeout=240)
    assert code == 0, shown


def test_commands_for_an_account_work_against_the_emulated_one(project: Path, tmp_path: Path) -> None:
    """All such blocks, one after the other without repetitions, as they build on each other."""
    commands = list(dict.fromkeys(command for block in ACCOUNT for command in block.commands))
    assert commands[-1] == "sparkvault destroy"
    if docker_engine() is None:  # what a reader does who has no engine either
        commands = [
            f"{command} --without-images" if command == "sparkvault deploy" else command for command in commands
        ]
    # A difference is what `sparkvault diff` is for, and exit code 1 says that there is one.
    script = "\n".join(f"{command} || [ $? = 1 ]" if command == "sparkvault diff" else command for command in commands)
    with EmbeddedAws() as aws:
        environ = aws.environment(environment(tmp_path))
        code, shown = run_on_terminal(f"source .venv/bin/activate\n{script}", project, environ, timeout=280)
    assert code == 0, shown
    assert "destroyed 4 stacks" in shown
