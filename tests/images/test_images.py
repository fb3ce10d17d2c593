"""The images do what they promise, and show nothing that they must not."""

import json
import tomllib
from importlib.metadata import version

import pytest

from emulation.engine import Engine
from sparkvault.spark_images import context
from tests.images.conftest import HARDENED, Session

SPARK_VERSION = version("pyspark")
#: Where each image has its bill of materials.
BILL = "/usr/share/sparkvault/sbom.json"
FEATURES = (*("unprivileged", "pandas_udfs", "sql", "mllib", "rocksdb", "hive", "s3a", "connect", "tls"),)

#: Whoever comes first runs the session; room for the images to be built, where `make test` has not done so.
pytestmark = pytest.mark.timeout(600)


@pytest.mark.parametrize("feature", FEATURES)
def test_a_feature_works_in_the_image(session: Session, feature: str) -> None:
    assert session.passed(feature), session.account_of(feature)


def test_an_application_that_ends_well_ends_with_0(session: Session) -> None:
    assert session.exit_code == 0, session.output[-6000:]


def test_the_secret_is_seen_by_nobody_outside(session: Session) -> None:
    assert session.passed("session"), "Spark has not run with the secret:\n" + session.output[-6000:]
    for seen in (session.inspected, session.processes, session.output):
        assert session.secret not in seen


@pytest.mark.parametrize(
    ("environment", "command", "code", "reason"),
    [
        ({}, ["master"], 78, "no RPC secret in /run/secrets/spark-rpc-secret"),
        ({"SPARK_RPC_AUTHENTICATION_SECRET": "s"}, ["master"], 78, "holds a secret in the environment"),
        ({}, ["submit", "--conf", "spark.authenticate.secret=s", "a.py"], 78, "an argument holds the RPC secret"),
        ({"SPARK_MODE": "cook"}, [], 64, "cook was asked for; there are master, worker"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_starts(
    engine: Engine, submit_image: str, environment: dict[str, str], command: list[str], code: int, reason: str
) -> None:
    client = engine.client()
    # Without a mode the image's own would be the command.
    entrypoint = None if command else ["/opt/entrypoint.sh"]
    container = client.containers.run(
        submit_image,
        command,
        entrypoint=entrypoint,
        environment=environment,
        network_mode="none",
        detach=True,
        **HARDENED,
    )
    try:
        assert container.wait(timeout=60)["StatusCode"] == code
        assert reason in container.logs().decode()
    finally:
        container.remove(force=True)
        client.close()


def test_every_component_is_in_the_bill_of_materials(engine: Engine, submit_image: str) -> None:
    client = engine.client()
    script = f"cat {BILL}; echo; ls /opt/spark/jars | wc -l; dpkg-query -W | wc -l"
    container = client.containers.run(
        submit_image, ["-c", script], entrypoint="/bin/bash", network_mode="none", detach=True, **HARDENED
    )
    try:
        # Asked for at its end: what is followed while it runs may lose its last lines.
        assert container.wait(timeout=60)["StatusCode"] == 0
        told = container.logs()
    finally:
        container.remove(force=True)
        client.close()
    text, _, rest = told.decode().partition("\n}\n")
    bill = json.loads(text + "\n}")
    jars, packages = map(int, rest.split())
    purls = [component["purl"] for component in bill["components"]]
    assert (bill["bomFormat"], len(purls)) == ("CycloneDX", len(set(purls)))
    assert sum(purl.startswith("pkg:maven/") for purl in purls) == jars
    assert sum(purl.startswith("pkg:deb/") for purl in purls) == packages
    assert {"pkg:maven/org.apache.hadoop/hadoop-aws@3.5.0", "pkg:pypi/pyspark@4.2.0"} <= set(purls)


@pytest.mark.parametrize(
    ("name", "ports"),
    [("master", {"7077/tcp", "8080/tcp"}), ("worker", {"8081/tcp"}), ("submit", {"4040/tcp"})],
)
def test_an_image_is_labelled_healthy_when_asked_and_runs_as_nobody_special(
    engine: Engine, name: str, ports: set[str]
) -> None:
    client = engine.client()
    configuration = client.images.get(engine.spark_image(name, print)).attrs["Config"]
    client.close()
    assert configuration["User"] == "185:185"
    assert configuration["Entrypoint"] == ["/usr/bin/tini", "--", "/opt/entrypoint.sh"]
    assert (configuration["Cmd"], set(configuration["ExposedPorts"])) == ([name], ports)
    assert configuration["Healthcheck"]["Test"] == ["CMD", "/opt/healthcheck.sh"]
    assert 0 < configuration["Healthcheck"]["Timeout"] < configuration["Healthcheck"]["Interval"]
    labels = configuration["Labels"]
    assert labels["org.opencontainers.image.title"] == "sparkvault"
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"
    assert labels["org.opencontainers.image.version"] == SPARK_VERSION
    assert labels["io.sparkvault.sbom"] == BILL
    # All tests here mount these two over a root that cannot be written, and no other.
    assert set(labels["io.sparkvault.writable"].split()) == set(HARDENED["tmpfs"])
    assert not any("secret" in one.lower() for one in configuration["Env"])


def test_every_rule_of_what_is_left_out_says_why() -> None:
    rules = tomllib.loads((context() / "build" / "left_out.toml").read_text())
    assert set(rules) == {"spark", "native", "python"}
    assert all(rule["why"] for part in rules.values() for rule in part)
