"""One container of the submit image in which all features run, one after the other, in one Spark session."""

import secrets
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from docker.models.containers import Container

from emulation.engine import Engine
from tests.support.docker_engine import leased_engine

APPLICATION = Path(__file__).parent / "features.py"
HARDENED: dict[str, Any] = {
    "read_only": True,
    "cap_drop": ["ALL"],
    "security_opt": ["no-new-privileges"],
    "tmpfs": {"/tmp": "exec", "/opt/spark/work-dir": "exec"},
}


@dataclass(frozen=True)
class Session:
    """What one run of `features.py` in the submit image showed."""

    output: str
    exit_code: int
    inspected: str
    processes: str
    secret: str

    def passed(self, feature: str) -> bool:
        """Whether the feature worked."""
        return f"FEATURE {feature} works" in self.output

    def account_of(self, feature: str) -> str:
        """What was said while that feature was tried."""
        before, ended, _ = self.output.partition(f"FEATURE {feature} ")
        return (before.rpartition("FEATURE ")[2] if ended else self.output)[-8000:]


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    yield from leased_engine()


@pytest.fixture(scope="session")
def submit_image(engine: Engine) -> str:
    return engine.spark_image("submit", print)


@pytest.fixture(scope="session")
def session(engine: Engine, submit_image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    folder = tmp_path_factory.mktemp("session")
    folder.chmod(0o755)
    secret = secrets.token_hex(32)
    (folder / "secret").write_text(secret)
    (folder / "secret").chmod(0o444)
    (folder / "features.py").write_bytes(APPLICATION.read_bytes())
    client = engine.client(timeout=900)
    container = client.containers.run(
        submit_image,
        ["submit", "--driver-memory", "1g", "--conf", "spark.log.level=WARN", "/input/features.py"],
        detach=True,
        network_mode="none",
        # Without a network no other name resolves: each look-up of its own would wait for name servers in vain.
        hostname="localhost",
        environment={
            "SPARK_MASTER_URL": "local[2]",
            "SPARK_LOCAL_IP": "127.0.0.1",
            "SPARK_SECRET_FILE": "/input/secret",
            "AWS_REGION": "us-east-1",
            "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9797",
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://127.0.0.1:9797/credentials",
        },
        volumes={str(folder): {"bind": "/input", "mode": "ro"}},
        **HARDENED,
    )
    try:
        inspected, processes = _seen_from_outside(container)
        code = container.wait(timeout=900)["StatusCode"]
        output = container.logs().decode()
        yield Session(output, code, inspected, processes, secret)
    finally:
        container.remove(force=True, v=True)
        client.close()


def _seen_from_outside(container: Container) -> tuple[str, str]:
    """What `inspect` and `ps` show once Spark runs."""
    for line in container.logs(stream=True, follow=True):
        if b"FEATURE session" in line:
            break
    container.reload()
    listed = subprocess.run(["ps", "axww", "-o", "args"], capture_output=True, text=True, check=True, timeout=30).stdout
    return str(container.attrs), listed
