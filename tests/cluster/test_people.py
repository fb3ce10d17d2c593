"""What people need beside batch jobs: shells, web UIs, Python environments of their own, new secrets."""

from __future__ import annotations

import json
import os
import signal
import tarfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest

from tests.cluster.deployed import ROOT, DeployedCluster
from tests.cluster.people import (
    config,
    driver_container,
    ended,
    no_driver_is_left,
    records,
    running,
    submit,
    wait_until,
    whole,
)
from tests.support.session_plugin import plugin_folder
from tests.support.terminal import Terminal

# The first test waits for the deployment of the cluster.
pytestmark = [pytest.mark.timeout(1500), pytest.mark.campaign]


@pytest.fixture(scope="module")
def with_plugin(cluster: DeployedCluster) -> Iterator[DeployedCluster]:
    """AWS's own session-manager-plugin on the path, built where it is not installed."""
    folder = plugin_folder()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{os.environ['PATH']}:{folder}")
        yield cluster


@pytest.mark.parametrize(
    ("language", "prompt", "line", "answer", "end"),
    [
        ("python", ">>> ", "spark.range(7).count() * 6", "\n42\n", "exit()"),
        # The type before it comes in colours.
        ("scala", "scala> ", "spark.range(7).count() * 6", " = 42", ":quit"),
        ("sql", "spark-sql", "select concat('is ', 6 * 7);", "\nis 42\n", "quit;"),
    ],
    ids=["python", "scala", "sql"],
)
def test_a_shell_answers_on_the_terminal(
    with_plugin: DeployedCluster, language: str, prompt: str, line: str, answer: str, end: str
) -> None:
    command = ["sparkvault", "shell", "--lang", language, *config(with_plugin)]
    environment = with_plugin.environment() | {"PATH": os.environ["PATH"]}
    with Terminal(command, environment, ROOT) as terminal:
        terminal.read_until(prompt, 300)
        terminal.write(f"{line}\n")
        terminal.read_until(answer, 120)
        terminal.write(f"{end}\n")
        assert terminal.exit_code(120) == 0, terminal.shown


def test_a_closed_window_ends_its_shell_on_the_hosts(with_plugin: DeployedCluster) -> None:
    environment = with_plugin.environment() | {"PATH": os.environ["PATH"]}
    with Terminal(["sparkvault", "shell", *config(with_plugin)], environment, ROOT) as terminal:
        terminal.read_until(">>> ", 300)
        job = records(with_plugin)[0]["spec"]["id"]
        assert driver_container(with_plugin, job)
        terminal.close()
        terminal.process.wait(120)
    # Told to end by the session's end or, where that comes late, by the command line.
    assert ended(with_plugin, job)["state"] in ("failed", "cancelled")
    no_driver_is_left(with_plugin, job)


@pytest.mark.parametrize(("name", "shown"), [("master", "Spark Master at"), ("worker", "Spark Worker at")])
def test_a_daemons_web_ui_is_forwarded_to_this_machine(with_plugin: DeployedCluster, name: str, shown: str) -> None:
    assert shown in page(with_plugin, name, "/")


def test_the_web_ui_of_a_running_driver_and_afterwards_its_history(
    with_plugin: DeployedCluster, long_job: Path
) -> None:
    # It starts a while after its swarm.
    wait_until("the history server to answer", lambda: history_answers(with_plugin), 240)
    before = applications(with_plugin)
    with running(with_plugin, long_job, "6"):
        assert "Spark Jobs" in page(with_plugin, "driver", "/jobs/")
    wait_until("the history server to list the job", lambda: applications(with_plugin) - before, 180)


def history_answers(cluster: DeployedCluster) -> bool:
    try:
        applications(cluster)
    except urllib.error.HTTPError:
        return False
    return True


def applications(cluster: DeployedCluster) -> set[str]:
    """Ids of the applications that the history server lists."""
    return {str(one["id"]) for one in json.loads(page(cluster, "history", "/api/v1/applications"))}


def page(cluster: DeployedCluster, name: str, path: str) -> str:
    """A page of a web UI, by `sparkvault ui`; the forwarding is ended again."""
    done = cluster.sparkvault("ui", name, *config(cluster), timeout=120)
    assert done.returncode == 0, done.stdout
    words = done.stdout.split()
    address = next(word for word in words if word.startswith("http://localhost:"))
    process = int(words[words.index("process") + 1].rstrip(";"))
    try:
        with urllib.request.urlopen(address + path, timeout=60) as answer:  # noqa: S310 (our own loopback)
            return str(answer.read().decode())
    finally:
        os.kill(process, signal.SIGTERM)


def test_a_packed_python_environment_goes_with_the_job(cluster: DeployedCluster, tmp_path: Path) -> None:
    environment = tmp_path / "environment.tar.gz"
    pack(environment)
    application = tmp_path / "packed.py"
    application.write_text(
        "from pyspark.sql import SparkSession\n"
        "def where(_):\n    import sys, packed_lesson\n"
        "    return (sys.prefix.rsplit('/', 1)[-1], packed_lesson.ANSWER)\n"
        "spark = SparkSession.builder.getOrCreate()\n"
        "print(set(spark.sparkContext.parallelize(range(4), 4).map(where).collect()))\n"
    )
    flags = ["--archives", f"{environment}#environment", "--conf", "spark.pyspark.python=./environment/bin/python"]
    driver = ["--conf", "spark.pyspark.driver.python=/usr/bin/python3"]
    assert "{('environment', 42)}" in submit(cluster, *flags, *driver, str(application))


def pack(target: Path) -> None:
    """A virtual environment of the images' Python with one package, as a tool like venv-pack makes it."""
    files = {
        "pyvenv.cfg": b"home = /usr/bin\ninclude-system-site-packages = true\nversion = 3.11.2\n",
        "lib/python3.11/site-packages/packed_lesson.py": b"ANSWER = 42\n",
    }
    with tarfile.open(target, "w:gz") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, BytesIO(content))
        for name in ("bin/python", "bin/python3"):
            link = tarfile.TarInfo(name)
            link.type, link.linkname = tarfile.SYMTYPE, "/usr/bin/python3"
            archive.addfile(link)


def test_rotation_makes_tokens_and_secret_new_and_the_old_token_opens_nothing(
    cluster: DeployedCluster, long_job: Path
) -> None:
    [manager], worker = cluster.managers(), cluster.workers()[0]
    old = manager.run(["docker", "swarm", "join-token", "--quiet", "worker"]).stdout.strip()
    secrets_before = manager.run(["docker", "secret", "ls", "--format", "{{.Name}}"]).stdout
    done = cluster.sparkvault("rotate", *config(cluster), timeout=400)
    assert done.returncode == 0, done.stdout
    assert manager.run(["docker", "swarm", "join-token", "--quiet", "worker"]).stdout.strip() != old
    assert manager.run(["docker", "secret", "ls", "--format", "{{.Name}}"]).stdout != secrets_before
    # From inside the groups, where the port is open: only the token is wrong.
    worker.run(["systemctl", "stop", "sparkvault-agent.service"])
    worker.run(["docker", "swarm", "leave", "--force"])
    refused = worker.run(["docker", "swarm", "join", "--token", old, f"{manager.address}:2377"], check=False)
    assert refused.exit_code != 0
    assert "valid join token" in refused.stderr
    worker.run(["systemctl", "start", "sparkvault-agent.service"], timeout=300)
    whole(cluster, 2)
    with running(cluster, long_job, "0.2"):
        pass
