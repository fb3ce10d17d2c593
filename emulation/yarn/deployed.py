"""A deployed YARN cluster: the real stacks in an embedded AWS, and the emulated cluster in place of their hosts.

The master's instance is the one that the stack's Auto Scaling group has; documents that are sent to it run the
product's launcher on the emulated cluster's master. Hosts do not boot here: that is what this stands in for.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

from emulation.aws import EmbeddedAws, bootstrap
from emulation.command_line import sparkvault
from emulation.ssm_sessions import SsmAgents
from emulation.yarn.cluster import YarnCluster
from emulation.yarn.errors import YarnEmulationError
from emulation.yarn.master_machine import MasterMachine
from sparkvault.project import project_root
from sparkvault.toolchain import tool_environment

CLUSTER = "hadoop"
_DEPLOY_SECONDS = 600
_COMMAND_SECONDS = 600


class DeployedYarn:
    """The command line against such a cluster. Made by `deployed_yarn`."""

    def __init__(self, aws: EmbeddedAws, cluster: YarnCluster, configuration: Path) -> None:
        self.aws = aws
        self.cluster = cluster
        self.configuration = configuration
        self.environment = aws.environment(tool_environment())

    def run(self, *arguments: str, seconds: float = _COMMAND_SECONDS) -> subprocess.CompletedProcess[str]:
        """`sparkvault VERB … --config FILE` to its end, both outputs together."""
        verb, *rest = arguments
        words = (verb, "--config", str(self.configuration), *rest)
        return sparkvault(*words, environment=self.environment, seconds=seconds)


@contextmanager
def deployed_yarn(
    cluster: YarnCluster, work: Path, progress: Callable[[str], None] = lambda text: None
) -> Iterator[DeployedYarn]:
    """Deploy the stacks for a cluster that is up. Raises YarnEmulationError."""
    configuration = work / "yarn.yaml"
    configuration.write_text(yaml.safe_dump(configured(cluster)), encoding="utf-8")
    with EmbeddedAws() as aws:
        found = DeployedYarn(aws, cluster, configuration)
        bootstrap(aws, [project_root() / "node_modules" / ".bin" / "cdk"])
        progress("deploying the YARN stacks into an emulated AWS account")
        done = found.run("deploy", "--yes", "--without-images", seconds=_DEPLOY_SECONDS)
        if done.returncode:
            raise YarnEmulationError(f"the stacks were not deployed: {done.stdout[-3000:]}", "see above")
        group = aws.client("autoscaling").describe_auto_scaling_groups(
            AutoScalingGroupNames=[f"{CLUSTER}-yarn-masters"]
        )
        (instance,) = [each["InstanceId"] for each in group["AutoScalingGroups"][0]["Instances"]]
        master = MasterMachine(cluster, identity(aws), aws.environment(dict(os.environ)), progress)
        with SsmAgents(aws, {instance: master}.get):
            yield found


def configured(cluster: YarnCluster) -> dict[str, object]:
    """A configuration of the emulated cluster's tenants and runtime; nothing is installed by these pins here."""
    unused = {"sha512": "0" * 128}
    return {
        "cluster": CLUSTER,
        "targets": ["yarn"],
        "tenants": [{"name": tenant.name} for tenant in cluster.tenants],
        "yarn": {
            "runtime": cluster.runtime,
            "hadoop": {"version": "3.5.0", **unused},
            "gvisor": {"version": "20240729.0", **unused},
        },
    }


def identity(aws: EmbeddedAws) -> dict[str, str]:
    """What the master's user data writes to host.json, as far as the launcher reads it: from the deployed template."""
    name = f"{CLUSTER}-yarn-masters"
    ec2 = aws.client("ec2")
    versions = ec2.describe_launch_template_versions(LaunchTemplateName=name, Versions=["$Latest"])
    data = versions["LaunchTemplateVersions"][0]["LaunchTemplateData"]
    return host_file(base64.b64decode(data["UserData"]).decode())


def host_file(user_data: str) -> dict[str, str]:
    """host.json in user data."""
    _, _, after = user_data.partition("cat > /etc/sparkvault/host.json <<'END'\n")
    found: dict[str, str] = json.loads(after.partition("\nEND")[0])
    return found
