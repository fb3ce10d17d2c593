"""The cluster in containers does what the one of processes does, and its containers may do little."""

import json
import os
import re
import socket
import subprocess
import sys
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from emulation.engine import Engine
from examples.text import write_text
from sparkvault import spark_images
from sparkvault.errors import SparkvaultError
from sparkvault.jobs import JobState
from sparkvault.targets.local.cluster import LocalCluster
from sparkvault.targets.local.docker_engine import LABEL, NETWORK
from sparkvault.targets.local.folder import LocalFolder
from sparkvault.targets.local.process_engine import ProcessEngine
from sparkvault.targets.local.processes import ProcessIdentity, marked, start_detached
from sparkvault.targets.local.target import LocalTarget
from tests.support.docker_engine import leased_engine
from tests.support.local_cluster import APPLICATIONS, EXAMPLES, Finished, run, start, wait_until

#: Room for the images to be built, where `make test` has not done so beforehand.
pytestmark = pytest.mark.timeout(600)

_PRINTED = re.compile(r"^ *([0-9,]+)  ([a-z']+)$", re.MULTILINE)


def docker(*arguments: str) -> str:
    command = [os.environ["CDK_DOCKER"], *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    """The machine's engine with our images in it, found as a person's own would be."""
    leases = leased_engine()
    engine = next(leases)
    for name in ("master", "worker", "submit"):
        engine.spark_image(name, print)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in engine.environment().items():
            patch.setenv(name, value)
        yield engine
    leases.close()


@pytest.fixture(scope="module")
def containers(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalTarget]:
    """A cluster of containers; the current folder is the one with data."""
    data = tmp_path_factory.mktemp("data")
    data.chmod(0o755)
    write_text(data / "book.txt")
    target = LocalTarget(LocalFolder(tmp_path_factory.mktemp("work") / "local"))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(data)
        target.cluster.up(workers=1, memory="1g", cores=1, engine="auto", data=data, progress=print)
        try:
            yield target
        finally:
            target.cluster.down(print)
            assert of_the_cluster(target, "--all") == []
            assert NETWORK not in docker("network", "ls", "--format", "{{.Name}}").split()
            assert marked(target.folder) == []


def of_the_cluster(target: LocalTarget, *flags: str) -> list[dict[str, Any]]:
    """What the engine says of each container of this cluster."""
    ids = docker("ps", *flags, "--quiet", "--filter", f"label={LABEL}={target.folder.root}").split()
    return list(json.loads(docker("inspect", *ids))) if ids else []


@pytest.fixture(scope="module")
def counted(containers: LocalTarget) -> Counter[str]:
    """A count without Spark."""
    return Counter(re.findall(r"[a-z]+(?:'[a-z]+)*", Path("book.txt").read_text(encoding="ascii").lower()))


def check_count(finished: Finished, counted: Counter[str]) -> None:
    assert finished.record.state is JobState.SUCCEEDED, finished.output
    found = {word: int(count.replace(",", "")) for count, word in _PRINTED.findall(finished.output)}
    assert len(found) == 20
    assert found == {word: counted[word] for word in found}
    assert f"{counted.total():,} words, {len(counted):,} of them different" in finished.output


@pytest.fixture(scope="module")
def word_count(containers: LocalTarget) -> Finished:
    """A job that has run on the cluster."""
    return run(containers, EXAMPLES / "word_count.py", "book.txt")


def test_a_job_in_containers_counts_the_words_of_a_file_of_this_machine(
    word_count: Finished, counted: Counter[str]
) -> None:
    check_count(word_count, counted)


def test_a_script_for_the_shell_does_so_too(containers: LocalTarget, counted: Counter[str]) -> None:
    check_count(run(containers, EXAMPLES / "word_count.scala", "book.txt"), counted)


def test_a_jobs_exit_code_is_its_own(containers: LocalTarget) -> None:
    assert run(containers, APPLICATIONS / "exit_42.py").record.exit_code == 42


def test_a_shell_answers(containers: LocalTarget) -> None:
    program = (
        "import sys; from pathlib import Path\n"
        "from sparkvault.targets.local.folder import LocalFolder\n"
        "from sparkvault.targets.local.target import LocalTarget\n"
        "sys.exit(LocalTarget(LocalFolder(Path(sys.argv[1]))).shell('sql', [], 'default'))\n"
    )
    asked = subprocess.run(
        [sys.executable, "-c", program, str(containers.folder.root)],
        input="select concat('is ', 6 * 7);\n",
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert asked.returncode == 0, asked.stderr
    assert "is 42" in asked.stdout.splitlines()


def test_a_worker_goes_under_a_running_job_and_the_job_ends_well(containers: LocalTarget) -> None:
    assert containers.scale(2).healthy
    go = Path.cwd() / "go"
    job = start(containers, APPLICATIONS / "hold.py", go, flags=["--executor-memory", "512m"])
    wait_until("the web UI", lambda: containers.job(job.id).ui)
    assert "Spark Jobs" in page(str(containers.job(job.id).ui) + "/jobs/")
    status = containers.scale(1)
    assert "1 of 1 workers alive" in status.summary
    go.touch()
    output = "\n".join(containers.follow(job.id))
    assert containers.job(job.id).state is JobState.SUCCEEDED, output
    assert "let go 45" in output


def test_a_cancelled_job_leaves_no_container(containers: LocalTarget) -> None:
    before = len(of_the_cluster(containers, "--all"))
    job = start(containers, APPLICATIONS / "hold.py", Path.cwd() / "never", "nothing")
    assert len(of_the_cluster(containers)) == before + 1
    assert containers.cancel(job.id).state is JobState.CANCELLED
    assert len(of_the_cluster(containers, "--all")) == before


def test_a_port_taken_at_the_last_moment_costs_a_job_nothing(
    containers: LocalTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another program listens on the driver's port between our look and the engine's."""
    wrong_at_first = (
        "import sys; from sparkvault.targets.local import supervise\n"
        "look, first = supervise.free_port, [int(sys.argv.pop())]\n"
        "supervise.free_port = lambda usual: first.pop() if first else look(usual)\n"
        "supervise.main()\n"
    )
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = str(other.getsockname()[1])

        def start_supervisor(command: list[str], **how: Any) -> ProcessIdentity:
            return start_detached([*command[:2], "-c", wrong_at_first, command[-1], taken], **how)

        monkeypatch.setattr("sparkvault.targets.local.target.start_detached", start_supervisor)
        finished = run(containers, APPLICATIONS / "exit_42.py", "kept")
    assert finished.record.exit_code == 42, finished.output
    assert f"port {taken} was taken meanwhile" in finished.output
    assert finished.output.count("['kept']") == 1


def test_the_history_server_shows_jobs_that_have_ended(containers: LocalTarget, word_count: Finished) -> None:
    applications = containers.ui("history") + "/api/v1/applications"
    assert word_count.record.state.ended
    wait_until("the history of the word count", lambda: "word count" in page(applications))


def test_the_cluster_is_healthy_and_on_its_network(containers: LocalTarget) -> None:
    status = containers.status()
    assert status.healthy, status
    assert "spark://spark-master:7077" in status.summary
    for container in of_the_cluster(containers):
        assert list(container["NetworkSettings"]["Networks"]) == [NETWORK]


def test_containers_have_no_privileges_and_are_held_to_what_they_offer(containers: LocalTarget) -> None:
    running = of_the_cluster(containers)
    limits = {container["Config"]["Hostname"]: container["HostConfig"] for container in running}
    assert limits["spark-worker-1"]["NanoCpus"] == 1e9
    assert 1024 < limits["spark-worker-1"]["Memory"] / 2**20 < 4096
    assert 512 < limits["spark-master"]["Memory"] / 2**20 < 2048
    for container in running:
        assert container["Config"]["User"] not in ("", "0", "root", "0:0")
        assert container["HostConfig"]["ReadonlyRootfs"]
        assert container["HostConfig"]["CapDrop"] == ["ALL"]
        assert not container["HostConfig"]["Privileged"]
        bound = [one["HostIp"] for ports in container["HostConfig"]["PortBindings"].values() for one in ports]
        assert set(bound) == {"127.0.0.1"}


def test_the_secret_is_shown_by_nothing(containers: LocalTarget) -> None:
    secret = (containers.folder.daemon_conf.parent / "secret").read_text().strip()
    assert len(secret) == 64
    assert secret not in json.dumps(of_the_cluster(containers))
    shown = subprocess.run(["ps", "axwwe", "-o", "args"], capture_output=True, text=True, check=True, timeout=30).stdout
    assert "org.apache.spark.deploy.worker.Worker" in shown
    # The stated exception: stock Spark gives executors the secret in their own environment.
    assert secret not in "\n".join(line for line in shown.splitlines() if "_SPARK_AUTH_SECRET" not in line)
    for log in containers.folder.logs.iterdir():
        assert secret not in log.read_text(errors="replace")


def test_where_images_cannot_be_built_processes_run_and_the_reason_is_said(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`auto` takes processes; `docker` insists, and fails."""
    context = tmp_path / "context"
    context.mkdir()
    (context / "Dockerfile").write_text("FROM scratch AS master\nCOPY nothing /\n")
    monkeypatch.setattr(spark_images, "context", lambda: context)
    cluster, told = LocalCluster(LocalFolder(tmp_path / "local")), list[str]()
    assert isinstance(cluster._choose("auto", tmp_path, told.append), ProcessEngine)
    assert "plain processes instead of containers: image master could not be built" in told[-1]
    assert any("building image master: step " in line for line in told), told
    with pytest.raises(SparkvaultError, match="image master could not be built"):
        cluster._choose("docker", tmp_path, told.append)


def page(url: str) -> str:
    with urllib.request.urlopen(url, timeout=30) as response:  # noqa: S310 - our own loopback addresses
        text: str = response.read().decode()
    return text
