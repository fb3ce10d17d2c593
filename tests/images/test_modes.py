"""Modes by themselves: ZooKeeper, a master that is elected through it, a worker that waits for it, a Connect server."""

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from docker.models.containers import Container

from emulation.engine import Engine
from tests.images.conftest import HARDENED
from tests.support.local_cluster import wait_until

#: Room for the images to be built, where `make test` has not done so beforehand.
pytestmark = pytest.mark.timeout(600)
#: Seconds until a mode answers: about ten on an idle machine.
ANSWER_SECONDS = 300.0
#: As the Engine API counts: in nanoseconds.
SECOND = 1_000_000_000

CLIENT = (
    "import sys; from pyspark.sql import SparkSession; "
    "print(SparkSession.builder.remote(sys.argv[1]).getOrCreate().range(5).count())"
)


@dataclass(frozen=True)
class Modes:
    """A container for each mode, on a network of their own."""

    worker: Container
    zookeeper: Container
    master: Container
    connect: Container
    token: str


@pytest.fixture(scope="module")
def modes(engine: Engine, submit_image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Modes]:
    folder, token = tmp_path_factory.mktemp("input"), secrets.token_hex(16)
    folder.chmod(0o755)
    for name, text in (("secret", secrets.token_hex(32)), ("token", token)):
        (folder / name).write_text(text)
        (folder / name).chmod(0o444)
    client = engine.client()
    suffix = secrets.token_hex(4)
    network = client.networks.create(f"modes-{suffix}")
    started: list[Container] = []

    def start(mode: str, **environment: str) -> Container:
        container = client.containers.run(
            submit_image,
            [mode],
            detach=True,
            # Names of containers resolve on a network; the host's name is the same.
            name=f"{mode}-{suffix}",
            hostname=f"{mode}-{suffix}",
            network=network.name,
            environment={"SPARK_SECRET_FILE": "/input/secret", **environment},
            volumes={str(folder): {"bind": "/input", "mode": "ro"}},
            **HARDENED,
        )
        started.append(container)
        return container

    try:
        master = f"spark://master-{suffix}:7077"
        yield Modes(
            # Before its master is there.
            start("worker", SPARK_MASTER_URL=master, SPARK_MASTER_WAIT_SECONDS="240", CORES="1", MEMORY="1g"),
            start("zookeeper"),
            start("master", SPARK_RECOVERY_MODE="ZOOKEEPER", SPARK_ZOOKEEPER_URL=f"zookeeper-{suffix}:2181"),
            start("connect", SPARK_MASTER_URL="local[1]", SPARK_CONNECT_TOKEN_FILE="/input/token"),
            token,
        )
    finally:
        for container in started:
            container.remove(force=True, v=True)
        network.remove()
        client.close()


def await_health(container: Container) -> None:
    """Return once the image's own check is content."""

    def answers() -> bool:
        container.reload()
        assert container.status == "running", container.logs().decode()[-4000:]
        return bool(container.exec_run(["/opt/healthcheck.sh"]).exit_code == 0)

    wait_until(f"{container.attrs['Config']['Hostname']} to be healthy", answers, ANSWER_SECONDS)


def test_a_master_is_elected_through_zookeeper(modes: Modes) -> None:
    await_health(modes.zookeeper)
    await_health(modes.master)
    wait_until(
        "the master to be elected", lambda: b"elected leader! New state: ALIVE" in modes.master.logs(), ANSWER_SECONDS
    )


def test_a_worker_that_is_there_first_is_not_turned_away_by_a_master_that_does_not_listen(modes: Modes) -> None:
    """Spark would ask again only after 5 to 15 seconds."""
    await_health(modes.worker)
    log = modes.worker.logs().decode()
    assert "Successfully registered with master" in log
    assert "Failed to connect to master" not in log


def health(container: Container) -> dict[str, Any]:
    """What the engine found, which asks by itself."""
    container.reload()
    assert container.status == "running", container.logs().decode()[-4000:]
    found: dict[str, Any] = container.attrs["State"]["Health"]
    return found


def test_the_engine_itself_finds_a_worker_that_answers_healthy(modes: Modes) -> None:
    await_health(modes.worker)
    wait_until("the worker to be found healthy", lambda: health(modes.worker)["Status"] == "healthy", ANSWER_SECONDS)


def test_the_engine_itself_finds_a_worker_that_waits_for_its_master_unhealthy(
    engine: Engine, submit_image: str, tmp_path: Path
) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "secret").write_text(secrets.token_hex(32))
    (tmp_path / "secret").chmod(0o444)
    client = engine.client()
    container = client.containers.run(
        submit_image,
        ["worker"],
        detach=True,
        network_mode="none",
        hostname="lonely",
        environment={
            "SPARK_SECRET_FILE": "/input/secret",
            "SPARK_MASTER_URL": "spark://127.0.0.1:7077",
            "SPARK_MASTER_WAIT_SECONDS": "3600",
        },
        volumes={str(tmp_path): {"bind": "/input", "mode": "ro"}},
        # The image's own check, asked more often than every ten seconds for a minute.
        healthcheck={"interval": SECOND, "retries": 2, "start_period": SECOND},
        **HARDENED,
    )
    try:
        wait_until("it to be found unhealthy", lambda: health(container)["Status"] == "unhealthy", ANSWER_SECONDS)
        last = health(container)["Log"][-1]
        assert (last["ExitCode"], last["Output"]) == (1, "nothing answers on port 8081 of lonely\n")
    finally:
        container.remove(force=True, v=True)
        client.close()


def test_a_connect_server_answers_whoever_has_the_token(modes: Modes) -> None:
    await_health(modes.connect)
    ask = ["python3", "-c", CLIENT]
    # By this name alone, or under TLS, clients send a token.
    known = modes.connect.exec_run([*ask, f"sc://localhost:15002/;token={modes.token}"])
    stranger = modes.connect.exec_run([*ask, "sc://localhost:15002/;token=another"])
    assert (known.exit_code, str(known.output)[-4:]) == (0, r"5\n'"), known
    assert stranger.exit_code != 0
    assert "UNAUTHENTICATED" in str(stranger.output)
    assert modes.token not in str(modes.connect.attrs) + modes.connect.logs().decode()
