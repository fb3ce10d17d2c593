"""A host that cannot be what it should be says so, and its deployment fails with that reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from emulation.aws import EmbeddedAws, bootstrap
from emulation.ec2 import EmulatedEc2
from emulation.engine import Engine
from tests.cluster.deployed import CONFIGURATION, ROOT, DeployedCluster

pytestmark = [pytest.mark.timeout(1500), pytest.mark.campaign]


def test_a_deployment_fails_for_want_of_enclave_memory_and_says_so(engine: Engine, tmp_path: Path) -> None:
    configuration = tmp_path / "enclaves.yaml"
    configuration.write_text(CONFIGURATION.read_text() + "enclaves:\n  enabled: true\n  memory_mib: 3072\n")
    with EmbeddedAws(hosts="external") as aws:
        bootstrap(aws, [ROOT / "node_modules" / ".bin" / "cdk"])
        with EmulatedEc2(aws, engine, enclave_memory_mib=256) as ec2:
            cluster = DeployedCluster(aws, ec2, engine, configuration, tmp_path / "work")
            done = cluster.sparkvault("deploy", "--config", str(configuration), "--yes", "--without-images")
            stack = aws.client("cloudformation").describe_stacks(StackName="demo-swarm")["Stacks"][0]
    assert done.returncode == 1
    assert "huge pages" in done.stdout or "MiB" in done.stdout, done.stdout
    assert stack["StackStatus"].startswith("ROLLBACK"), stack
