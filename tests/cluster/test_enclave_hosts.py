"""An enclave on an emulated host: the deployment brings the image, the host runs it, a laptop asks it through SSM.

The hypervisor and the security module are simulated (emulation/hypervisor); image, host programs and client are real.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from emulation.aws import EmbeddedAws, bootstrap
from emulation.ec2 import EmulatedEc2
from emulation.ec2.booter import wait_until
from emulation.engine import Engine
from spark_enclave.attestation import MeasurementPolicy
from spark_enclave_image import trust_lock
from spark_enclave_image.image_build import BuiltImage
from tests.cluster.deployed import CONFIGURATION, ROOT, DeployedCluster, clone_project
from tests.enclave.built_image import build_test_image, require_image_tools, require_vm
from tests.enclave.running_enclave import CSV
from tests.support.session_plugin import plugin_folder

SQL = "SELECT region, sum(amount) AS total FROM sales GROUP BY region ORDER BY region"

pytestmark = [pytest.mark.timeout(1800), pytest.mark.campaign]


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> BuiltImage:
    require_image_tools()
    require_vm()
    return build_test_image(tmp_path_factory.mktemp("image"))


@pytest.fixture(scope="module")
def project(image: BuiltImage, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone whose lock file of trust has the image for tests: no other place says what hosts may run."""
    root = clone_project(tmp_path_factory.mktemp("project") / "sparkvault")
    entry = {"id": "emulated", "platform": "nitro-x86_64", "status": "current"}
    measured = json.dumps([entry | {"pcrs": image.measurements.to_json()}])
    (root / "assets" / "enclave" / "measurements.json").write_text(measured)
    return root


@pytest.fixture(scope="module")
def cluster(
    engine: Engine, image: BuiltImage, project: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[DeployedCluster]:
    folder = tmp_path_factory.mktemp("cluster")
    configuration = folder / "enclaves.yaml"
    enclaves = f"enclaves:\n  enabled: true\n  memory_mib: 4096\n  image: {image.eif}\n"
    configuration.write_text(CONFIGURATION.read_text() + "hosts:\n  workers:\n    count: 1\n" + enclaves)
    with EmbeddedAws(hosts="external") as aws:
        bootstrap(aws, [ROOT / "node_modules" / ".bin" / "cdk"])
        with EmulatedEc2(aws, engine, enclaves="vm") as ec2, pytest.MonkeyPatch.context() as patch:
            patch.setenv("PATH", f"{os.environ['PATH']}:{plugin_folder()}")
            found = DeployedCluster(aws, ec2, engine, configuration, folder / "work")
            found.deploy("--without-images", clone=project)
            yield found


def test_a_laptop_asks_the_enclave_of_a_host(cluster: DeployedCluster, image: BuiltImage, tmp_path: Path) -> None:
    assert "1 of 1 running" in wait_for_enclaves(cluster)
    keys, table, trusted = tmp_path / "keys.json", tmp_path / "sales", tmp_path / "trusted.json"
    (tmp_path / "sales.csv").write_text(CSV, encoding="utf-8")
    reviewed = trust_lock.with_entry(MeasurementPolicy(()), image, "vm", "current")
    trusted.write_text(reviewed.model_dump_json())
    said(cluster, "keys", "new", "--key", str(keys))
    said(cluster, "encrypt", str(tmp_path / "sales.csv"), "--out", str(table), "--key", str(keys))

    to_it = ["--enclave", "swarm", "--config", str(cluster.configuration), "--measurements", str(trusted)]
    asked = ["query", SQL, "--table", f"sales={table}", "--key", str(keys), "--format", "json", *to_it]
    refused = cluster.sparkvault(*asked)
    assert refused.returncode == 1
    assert "a root other than that of the AWS Nitro Enclaves PKI" in refused.stdout
    answer = said(
        cluster,
        *asked,
        "--simulated",
        str(cluster.ec2.enclave_root),
        "--wait",
        "900",
        "--out",
        str(tmp_path / "answer"),
    )
    assert "SIMULATED" in answer
    assert json.loads((tmp_path / "answer").read_text()) == [
        {"region": "north", "total": sum(n for n in range(1000) if n % 3)},
        {"region": "south", "total": sum(n for n in range(1000) if not n % 3)},
    ]


def test_a_host_whose_enclave_ends_says_so_and_runs_it_again(cluster: DeployedCluster) -> None:
    (host,) = cluster.workers()
    (running,) = json.loads(host.run(["nitro-cli", "describe-enclaves"]).stdout)
    host.run(["nitro-cli", "terminate-enclave", "--enclave-id", running["EnclaveID"]])
    wait_until("status to tell that none runs", lambda: "0 of 1 running" in status(cluster) or None, 120)
    assert "1 of 1 running" in wait_for_enclaves(cluster)
    (again,) = json.loads(host.run(["nitro-cli", "describe-enclaves"]).stdout)
    assert again["EnclaveID"] != running["EnclaveID"]
    assert again["Measurements"] == running["Measurements"]


def status(cluster: DeployedCluster) -> str:
    return cluster.sparkvault("status", "--target", "swarm", "--config", str(cluster.configuration)).stdout


def wait_for_enclaves(cluster: DeployedCluster) -> str:
    def check() -> str | None:
        found = status(cluster)
        return found if "1 of 1 running" in found else None

    return str(wait_until("the host to report its enclave", check, 400))


def said(cluster: DeployedCluster, *arguments: str) -> str:
    done = cluster.sparkvault(*arguments)
    assert done.returncode == 0, done.stdout
    return done.stdout
