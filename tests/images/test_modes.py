"""Modes by themselves: ZooKeeper, a master that is elected through it, a worker that waits for it, a Connect server."""

import secrets
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from docker.models.containers import Container

from emulation.engine import Engine
from tests.images.conftest import HARDENED
from tests.support.local_cluster import wait_until

#: Room for the images to be built, where `make test` has not done so beforehand.
pytestmark = pytest.mark.timeout(600)
#: Seconds until a mode answers: about ten on an idle machine.
ANSWER_SECONDS = 300.0

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
