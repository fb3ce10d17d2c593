"""Reviewers see what a change does to the templates, without an AWS account."""

import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]


def template_diff(commit: str) -> subprocess.CompletedProcess[str]:
    command = ["bash", "scripts/template_diff.sh", commit]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)


def test_every_stack_is_compared_with_the_commit() -> None:
    answer = template_diff("HEAD")
    assert answer.returncode == 0, answer.stdout + answer.stderr
    for stack in ("Storage", "Network", "Images", "Swarm"):
        section = answer.stdout.split(f"### {stack}\n")[1].split("###")[0]
        assert f"Stack {stack} " in section


def test_a_commit_that_is_not_there_is_refused() -> None:
    answer = template_diff("no-such-commit")
    assert (answer.returncode, answer.stderr) == (2, "there is no commit no-such-commit\n")
