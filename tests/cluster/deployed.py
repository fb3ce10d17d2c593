"""A cluster that was deployed onto emulated hosts, as tests use it."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from emulation.aws import EmbeddedAws
from emulation.ec2 import Ec2EmulationError, EmulatedEc2, Host
from emulation.engine import Engine
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

    def deploy(self) -> None:
        """Deploy its configuration. Raises `Ec2EmulationError` with what the command and the hosts said."""
        done = self.sparkvault("deploy", "--config", str(self.configuration), "--yes")
        if done.returncode != 0:
            logs = "\n".join(f"{one.instance_id} {one.role}:\n{one.boot_log()[-2000:]}" for one in self.ec2.hosts())
            raise Ec2EmulationError(f"the cluster was not deployed:\n{done.stdout}\n{logs}")
