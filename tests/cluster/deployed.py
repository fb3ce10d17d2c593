"""A cluster that was deployed onto emulated hosts, as tests use it."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from emulation.aws import EmbeddedAws
from emulation.command_line import sparkvault
from emulation.ec2 import Ec2EmulationError, EmulatedEc2, Host
from emulation.engine import Engine
from sparkvault.project import WORK_FOLDER_VARIABLE
from sparkvault.toolchain import tool_environment

ROOT = Path(__file__).resolve().parents[2]
CONFIGURATION = ROOT / "emulation" / "demo" / "deployment.yaml"
DEPLOYMENT_TIMEOUT_SECONDS = 1400

#: What a deployment takes from a clone of the project.
_CLONED = ("app.py", "cdk.json", "package.json", "requirements.txt", "assets", "constructs", "scripts", "stacks")
_PYTHON = ("", "scripts", "constructs", "assets/enclave")


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
        return sparkvault(*arguments, environment=self.environment(), seconds=timeout)

    def deploy(self, *options: str, clone: Path = ROOT, configuration: Path | None = None) -> None:
        """Deploy its configuration or another one, as that clone of the project has it.

        Raises `Ec2EmulationError` with what the command and the hosts said.
        """
        done = sparkvault(
            *("deploy", "--yes", *options, "--config", str(configuration or self.configuration)),
            environment=self.environment() | {"PYTHONPATH": os.pathsep.join(str(clone / part) for part in _PYTHON)},
            seconds=DEPLOYMENT_TIMEOUT_SECONDS,
            clone=clone,
        )
        if done.returncode != 0:
            logs = "\n".join(f"{one.instance_id} {one.role}:\n{one.boot_log()[-2000:]}" for one in self.ec2.hosts())
            raise Ec2EmulationError(f"the cluster was not deployed:\n{done.stdout}\n{logs}")


def clone_project(folder: Path) -> Path:
    """A clone of the project, as it lies here: what a test changes in it, it deploys."""
    for part in _CLONED:
        if (ROOT / part).is_dir():
            shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"), symlinks=True)
        else:
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / part, folder / part)
    (folder / "node_modules").symlink_to(ROOT / "node_modules")
    return folder


def newer_release(folder: Path) -> Path:
    """A clone of the project whose Spark images are others than this one's, by a label: the same, and yet not."""
    recipe = clone_project(folder) / "assets" / "spark-images" / "Dockerfile"
    stages = recipe.read_text().splitlines()
    assert "FROM base AS worker" in stages
    labelled = (f"{line}\nLABEL release=newer" if line.startswith("FROM base AS ") else line for line in stages)
    recipe.write_text("\n".join(labelled) + "\n")
    return folder
