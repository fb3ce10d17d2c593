"""One cluster on emulated hosts for all tests of this folder: a manager, two workers, deployed by the real CDK CLI."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from emulation.aws import EmbeddedAws, bootstrap
from emulation.ec2 import Ec2EmulationError, EmulatedEc2, Host
from emulation.engine import Engine, EngineMissing, engine_lease
from sparkvault.project import WORK_FOLDER_VARIABLE
from sparkvault.toolchain import tool_environment

ROOT = Path(__file__).resolve().parents[2]
CONFIGURATION = ROOT / "emulation" / "demo" / "deployment.yaml"
DEPLOYMENT_TIMEOUT_SECONDS = 1400


@dataclass(frozen=True)
class DeployedCluster:
    """A cluster as it was deployed, the account it is in and the hosts it runs on."""

    aws: EmbeddedAws
    ec2: EmulatedEc2
    engine: Engine
    configuration: Path
    work: Path
    """Work folder of the command line: this cluster's own."""

    def managers(self) -> list[Host]:
        """Hosts that are managers."""
        return self.ec2.hosts("manager")

    def workers(self) -> list[Host]:
        """Hosts that are workers."""
        return self.ec2.hosts("worker")

    def environment(self) -> dict[str, str]:
        """For the command line: this account and no other, images really pushed."""
        return self.ec2.environment(tool_environment()) | {WORK_FOLDER_VARIABLE: str(self.work)}

    def sparkvault(
        self, *arguments: str, timeout: float = DEPLOYMENT_TIMEOUT_SECONDS
    ) -> subprocess.CompletedProcess[str]:
        """Run `sparkvault` against this cluster's account; its output is kept, standard error with it."""
        return subprocess.run(
            ["sparkvault", *arguments],
            cwd=ROOT,
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout,
            check=False,
        )


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    """The machine's own Docker engine; skips where there cannot be one, fails there under CI."""
    try:
        with engine_lease() as leased:
            yield leased
    except EngineMissing as missing:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(f"emulated hosts need root and a Docker engine: {missing}")


@pytest.fixture(scope="session")
def emulated(engine: Engine) -> Iterator[tuple[EmbeddedAws, EmulatedEc2]]:
    """An account whose instances come to life; nothing is deployed in it."""
    with EmbeddedAws(hosts="external") as aws:
        bootstrap(aws, [ROOT / "node_modules" / ".bin" / "cdk"])
        with EmulatedEc2(aws, engine) as ec2:
            yield aws, ec2


@pytest.fixture(scope="session")
def cluster(
    engine: Engine, emulated: tuple[EmbeddedAws, EmulatedEc2], tmp_path_factory: pytest.TempPathFactory
) -> DeployedCluster:
    """The demo's cluster, deployed: its creation has waited for the hosts' own signals."""
    aws, ec2 = emulated
    found = DeployedCluster(aws, ec2, engine, CONFIGURATION, tmp_path_factory.mktemp("work"))
    done = found.sparkvault("deploy", "--config", str(CONFIGURATION), "--yes")
    if done.returncode != 0:
        logs = "\n".join(f"{host.instance_id} {host.role}:\n{host.boot_log()[-2000:]}" for host in ec2.hosts())
        raise Ec2EmulationError(f"the cluster was not deployed:\n{done.stdout}\n{logs}")
    return found
