"""RPC authentication and encryption are really on: clients with less are refused, and the wire cannot be read."""

import os
import subprocess
from pathlib import Path

import psutil
import pytest

from sparkvault.targets.local.spark_conf import daemon_settings
from sparkvault.targets.local.target import LocalTarget
from tests.support.local_cluster import secret_of, wait_until
from tests.support.tcp_relay import Relay

#: In the first message of a client that talks openly (org.apache.spark.rpc.netty.RpcEndpointVerifier).
_READABLE = b"CheckExistence"

#: What a client has that is not what the cluster asks for.
_WEAKER = {
    "no authentication": {"spark.authenticate": "false", "spark.network.crypto.enabled": "false"},
    "another secret": {"spark.authenticate.secret": "0" * 64},
    "no encryption": {"spark.network.crypto.enabled": "false"},
    "encryption that does not notice changes": {"spark.network.crypto.cipher": "AES/CTR/NoPadding"},
}


def client(target: LocalTarget, relay: Relay, output: Path, settings: dict[str, str]) -> "subprocess.Popen[bytes]":
    """Spark's own client, which asks the master to end a driver it does not have, through the relay."""
    state = target.cluster.running()
    secret = settings.pop("spark.authenticate.secret")
    options = " ".join(f"-D{key}={value}" for key, value in settings.items())
    environment = {
        "PATH": os.environ["PATH"],
        "JAVA_HOME": state.java_home,
        "SPARK_HOME": state.spark_home,
        "SPARK_CONF_DIR": str(output.parent),
        "SPARK_LOCAL_IP": "127.0.0.1",
        "JDK_JAVA_OPTIONS": f"-XX:TieredStopAtLevel=1 -XX:+UseSerialGC {options}",
        "_SPARK_AUTH_SECRET": secret,
    }
    program = str(Path(state.spark_home) / "bin" / "spark-class")
    with output.open("wb") as file:
        return subprocess.Popen(
            [program, "org.apache.spark.deploy.Client", "kill", f"spark://127.0.0.1:{relay.port}", "driver-0"],
            env=environment,
            stdout=file,
            stderr=subprocess.STDOUT,
        )


def end(process: "subprocess.Popen[bytes]") -> None:
    if process.poll() is None:
        for one in psutil.Process(process.pid).children(recursive=True):
            one.kill()
        process.kill()
    process.wait(timeout=30)


def asked(target: LocalTarget) -> int:
    """How often the master took such a request."""
    return sum("Asked to kill driver driver-0" in line for line in target.logs("master", follow=False, lines=10_000))


@pytest.mark.parametrize("weaker", _WEAKER)
def test_a_client_with_less_is_refused(target: LocalTarget, tmp_path: Path, weaker: str) -> None:
    port = int(target.cluster.running().master_url.rpartition(":")[2])
    settings = daemon_settings(secret_of(target.folder)) | _WEAKER[weaker]
    before = asked(target)
    with Relay(port) as relay:
        refused = client(target, relay, tmp_path / "output", settings)
        try:
            wait_until("the connection to be closed", relay.closed.is_set)
        finally:
            end(refused)
        assert relay.sent, "it has tried"
        if weaker == "no authentication":
            assert _READABLE in relay.sent, "the relay sees what is not encrypted"
    assert asked(target) == before, "the master took no request"


def test_a_client_with_all_of_it_is_answered_and_cannot_be_overheard(target: LocalTarget, tmp_path: Path) -> None:
    port = int(target.cluster.running().master_url.rpartition(":")[2])
    before = asked(target)
    with Relay(port) as relay:
        accepted = client(target, relay, tmp_path / "output", daemon_settings(secret_of(target.folder)))
        try:
            wait_until("the master to take the request", lambda: asked(target) == before + 1)
        finally:
            end(accepted)
        for readable in (_READABLE, b"RequestKillDriver", b"org.apache.spark", b"driver-0"):
            assert readable not in relay.sent + relay.answered
        assert len(relay.sent) > 500
