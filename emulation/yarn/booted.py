"""The YARN stacks deployed into an emulated account whose instances boot by their own user data, on emulated EC2.

Hadoop's archive is a stand-in (distribution.py), gVisor's is Debian's program; both come from a mirror on loopback by
their SHA-512, as they would from anywhere.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import yaml

from emulation.aws import EmbeddedAws, bootstrap
from emulation.command_line import sparkvault
from emulation.ec2 import EmulatedEc2, Host
from emulation.engine import Engine
from emulation.yarn import downloads
from emulation.yarn.archive_mirror import archive_mirror
from emulation.yarn.cluster import TENANTS
from emulation.yarn.distribution import distribution
from emulation.yarn.errors import YarnEmulationError
from sparkvault.project import WORK_FOLDER_VARIABLE, project_root
from sparkvault.toolchain import tool_environment

CLUSTER = "hadoop"
NODES = 2
_DEPLOY_SECONDS = 1700
_COMMAND_SECONDS = 900


@dataclass(frozen=True)
class BootedYarn:
    """A deployed cluster with its hosts. Made by `booted_yarn`."""

    aws: EmbeddedAws
    ec2: EmulatedEc2
    configuration: Path
    environment: dict[str, str]

    def master(self) -> Host:
        """The host of ResourceManager, NameNode and KDC."""
        (host,) = self.ec2.hosts("yarn-master")
        return host

    def nodes(self) -> list[Host]:
        """Hosts with NodeManager and DataNode."""
        return self.ec2.hosts("yarn-node")

    def run(self, *arguments: str, seconds: float = _COMMAND_SECONDS) -> subprocess.CompletedProcess[str]:
        """`sparkvault VERB … --config FILE` to its end, both outputs together."""
        verb, *rest = arguments
        words = (verb, "--config", str(self.configuration), *rest)
        return sparkvault(*words, environment=self.environment, seconds=seconds)


@contextmanager
def booted_yarn(
    engine: Engine,
    work: Path,
    *,
    runtime: Literal["runc", "runsc"] = "runsc",
    tenants: Sequence[str] = TENANTS,
    deploy: bool = True,
    progress: Callable[[str], None] = lambda text: None,
) -> Iterator[BootedYarn]:
    """Deploy, and wait for the hosts' own signals as CloudFormation does. Raises YarnEmulationError with their logs.

    Without ``deploy`` there is the account, and who uses it deploys.
    """
    hadoop, served = distribution(progress), work / "archives"
    served.mkdir()
    shutil.copy(hadoop.file, served / hadoop.file.name)
    shutil.copy(downloads.runsc(progress), served / "runsc")
    with (
        archive_mirror(served, work) as mirror,
        EmbeddedAws(hosts="external") as aws,
        EmulatedEc2(aws, engine, state_file=work / "emulated-ec2.json") as ec2,
    ):
        runsc = hashlib.sha512((served / "runsc").read_bytes()).hexdigest()
        configuration = work / "yarn.yaml"
        wanted = configured(runtime, tenants, mirror.url, hadoop.sha512, runsc)
        configuration.write_text(yaml.safe_dump(wanted), encoding="utf-8")
        bootstrap(aws, [project_root() / "node_modules" / ".bin" / "cdk"])
        more = {WORK_FOLDER_VARIABLE: str(work / "work"), "SSL_CERT_FILE": str(mirror.authority)}
        found = BootedYarn(aws, ec2, configuration, ec2.environment(tool_environment()) | more)
        if deploy:
            progress("deploying the YARN stacks; their hosts boot")
            done = found.run("deploy", "--yes", seconds=_DEPLOY_SECONDS)
            if done.returncode:
                logs = "\n".join(f"{one.instance_id} {one.role}:\n{one.boot_log()[-2000:]}" for one in ec2.hosts())
                raise YarnEmulationError(f"the stacks were not deployed: {done.stdout[-3000:]}\n{logs}", "see above")
        yield found


def configured(
    runtime: str, tenants: Sequence[str], mirror: str, hadoop_sha512: str, runsc_sha512: str
) -> dict[str, object]:
    """Small hosts, which share this machine."""
    return {
        "cluster": CLUSTER,
        "targets": ["yarn"],
        "tenants": [{"name": name} for name in tenants],
        # A dead host keeps its place until this is over.
        "hosts": {"drain_timeout_seconds": 240},
        "storage": {"on_destroy": "delete", "delete_data_of": CLUSTER},
        "yarn": {
            "runtime": runtime,
            "master": {"count": 1, "instance_types": ["m5.large"]},
            "nodes": {"count": NODES, "instance_types": ["m5.large"]},
            "container_max_memory": "3g",
            "container_max_cores": 2,
            "hadoop": {"version": downloads.HADOOP_VERSION, "mirror": mirror, "sha512": hadoop_sha512},
            "gvisor": {"version": "20240729.0", "mirror": mirror, "sha512": runsc_sha512},
        },
    }
