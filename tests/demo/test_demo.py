"""`make demo` ends with its summary, leaves nothing behind, and never touches a real AWS account."""

import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from emulation.demo import swarm
from emulation.demo.steps import Demo
from emulation.ec2.machine import INSTANCE_LABEL
from emulation.engine import Engine, engine_lease
from emulation.network_namespace import NAMESPACES
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

#: What the part on hosts may take at most: three minutes where nothing else runs.
ON_HOSTS_SECONDS = 900
#: What it may take to end its hosts when it is told to.
ENDING_SECONDS = 120


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


@pytest.fixture
def engine() -> Iterator[Engine]:
    """The machine's own Docker engine, held, so that what is left in it can be seen; skips without emulated hosts."""
    reason = swarm.why_not()
    if reason and os.environ.get("CI") == "true":
        pytest.fail(f"CI must run this: {reason}")
    if reason:
        pytest.skip(reason)
    with engine_lease() as held:
        yield held


def traces(engine: Engine) -> set[str]:
    """What emulated hosts have on this machine, which has no others meanwhile: namespaces, containers, folders."""
    client = engine.client()
    containers = client.api.containers(all=True, filters={"label": INSTANCE_LABEL})
    client.close()
    namespaces = NAMESPACES.iterdir() if NAMESPACES.is_dir() else ()
    folders = [*Path(tempfile.gettempdir()).glob("emulated-ec2-*"), *Path(tempfile.gettempdir()).glob("embedded-aws-*")]
    return {str(container["Names"][0]) for container in containers} | {str(one) for one in (*namespaces, *folders)}


def finished(command: list[str], environment: dict[str, str]) -> tuple[int, str, str]:
    """Exit code and both outputs of a program that is given time, and told to end where it takes more."""
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            output, errors = process.communicate(timeout=ON_HOSTS_SECONDS)
        except subprocess.TimeoutExpired:
            process.terminate()
            output, errors = process.communicate(timeout=ENDING_SECONDS)
            pytest.fail(f"`{' '.join(command)}` took over {ON_HOSTS_SECONDS} s:\n{output}\n{errors}")
        finally:
            process.kill()
    return process.returncode, output, errors


def rows(output: str) -> dict[str, str]:
    """What the summary says, by what it says it of."""
    _, _, summary = output.rpartition("Summary\n")
    parted = (re.split(r"\s{2,}", line.strip(), maxsplit=1) for line in summary.splitlines())
    return {row[0]: row[1] for row in parted if len(row) == 2}


@pytest.mark.campaign
@pytest.mark.timeout(ON_HOSTS_SECONDS + 3 * ENDING_SECONDS)
def test_the_demo_on_hosts_counts_words_before_and_after_scaling_out_and_leaves_nothing(
    engine: Engine, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    before, marker = traces(engine), str(tmp_path)
    environment = tool_environment() | REAL_LOOKING | {"SPARKVAULT_HOME": str(tmp_path), "DEMO_MARKER": marker}
    # Wide enough for each row to be one line.
    code, output, errors = finished([sys.executable, "-m", "emulation.demo", "swarm"], environment | {"COLUMNS": "500"})
    assert code == 0, output + errors
    found = rows(output)
    assert found["stacks deployed"] == "4 (demo-images, demo-network, demo-storage, demo-swarm)"
    roles = Counter(host.split()[0] for host in found["hosts"].split(", "))
    assert roles == {"manager": 1, "worker": 2}
    nodes = [node.split() for node in found["nodes of the swarm"].split(";")]
    assert sorted(node[1:] for node in nodes) == [["Ready"], ["Ready"], ["Ready", "Leader"]]
    assert found["word count on the swarm"] == "succeeded, counts equal an independent count"
    assert re.fullmatch(r"its Spark worker runs \d+ s after the group has it", found["a host more"])
    assert found["and after scaling out"] == "succeeded, counts equal an independent count"
    assert_both_jobs_counted(output, tmp_path_factory.mktemp("text") / "text.txt")
    assert "AKIAIOSFODNN7EXAMPLE" not in output
    assert of_this_project(marker) == []
    assert [entry.name for entry in tmp_path.iterdir()] == []
    assert traces(engine) - before == set()


def assert_both_jobs_counted(output: str, text: Path) -> None:
    """The demo's text is always the same: each of its two jobs has printed the counts that Python makes of it."""
    subprocess.run([sys.executable, "examples/text.py", str(text)], cwd=ROOT, check=True, timeout=60)
    words = Counter(re.findall(r"[a-z]+(?:'[a-z]+)*", text.read_text(encoding="utf-8").lower()))
    lines = [line.strip() for line in output.splitlines()]
    for word, count in words.most_common(swarm.TOP):
        assert lines.count(f"{count:,}  {word}") == 2, f"{count:,}  {word}"


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
