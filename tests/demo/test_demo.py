"""`make demo` ends with its summary, leaves nothing behind, and never touches a real AWS account."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from emulation.demo import swarm
from emulation.demo.steps import Demo
from sparkvault.toolchain import tool_environment

ROOT = Path(__file__).parents[2]

#: What a person who works with AWS has in the environment. None of it may be used.
REAL_LOOKING = {
    "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "not-used",
    "AWS_SESSION_TOKEN": "not-used",
    "AWS_PROFILE": "production",
    "AWS_REGION": "us-east-1",
    "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9",
    "AWS_ENDPOINT_URL_CLOUDFORMATION": "http://127.0.0.1:9",
}


def of_this_project(marker: str) -> list[psutil.Process]:
    """Processes that have the marker in their environment, which all children inherit."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("DEMO_MARKER") == marker:
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
    return found


@pytest.mark.timeout(600)
def test_the_demo_deploys_counts_words_and_leaves_nothing(tmp_path: Path) -> None:
    marker = str(tmp_path)
    environment = tool_environment() | REAL_LOOKING | {"SPARKVAULT_HOME": str(tmp_path), "DEMO_MARKER": marker}
    answer = subprocess.run(
        [sys.executable, "-m", "emulation.demo", "local"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=580,
        check=False,
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr
    summary = answer.stdout[answer.stdout.index("Summary") :]
    for row in ("stacks deployed", "resources", "top words", "Spark master's web UI", "checked", "left in the account"):
        assert row in summary
    assert "equal an independent count" in summary
    assert "AKIAIOSFODNN7EXAMPLE" not in answer.stdout
    assert of_this_project(marker) == []
    assert [entry.name for entry in tmp_path.iterdir()] == []


def test_what_this_machine_cannot_show_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(swarm, "why_not", lambda: "emulated hosts need root: run this as root, on Linux")
    demo = Demo({})
    aws: Any = None
    swarm.run(demo, aws, tmp_path)
    assert demo.rows == [("swarm", "not shown here: emulated hosts need root: run this as root, on Linux")]


def test_an_unknown_part_is_refused() -> None:
    answer = subprocess.run(
        [sys.executable, "-m", "emulation.demo", "moon"],
        cwd=ROOT,
        env=dict(os.environ),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert answer.returncode == 2
    assert "make demo [TARGET=all|local" in answer.stderr
