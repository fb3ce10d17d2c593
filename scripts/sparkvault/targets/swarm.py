"""Target `swarm`: Spark on the deployed EC2 hosts. So far: what is there against what should be."""

from collections.abc import Iterator
from typing import NoReturn

from spark_constructs.config import Deployment
from sparkvault.account import Account
from sparkvault.errors import NotAvailable
from sparkvault.jobs import JobRecord, JobSpec
from sparkvault.lifecycle import resources_of
from sparkvault.targets.protocol import ClusterStatus, Component, Language, UiName


def create(deployment: Deployment) -> "SwarmTarget":
    """The swarm of that deployment."""
    return SwarmTarget(deployment)


class SwarmTarget:
    """The deployed swarm."""

    name = "swarm"

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        self._stack = f"{deployment.cluster}-swarm"

    def status(self) -> ClusterStatus:
        """The Auto Scaling groups and their hosts: wanted, in service, healthy."""
        account = Account(self._deployment)
        stack = account.stack(self._stack)
        if stack is None:
            raise NotAvailable(f"stack {self._stack} is not deployed", "run `sparkvault deploy`")
        components = [Component(self._stack, "stack", stack.status.lower(), not stack.failed)]
        groups = resources_of(account, self._stack, "AWS::AutoScaling::AutoScalingGroup")
        found = account.client("autoscaling").describe_auto_scaling_groups(AutoScalingGroupNames=groups)
        for group in found["AutoScalingGroups"]:
            hosts = group["Instances"]
            serving = sum(host["LifecycleState"] == "InService" for host in hosts)
            wanted = group["DesiredCapacity"]
            components.append(
                Component(
                    group["AutoScalingGroupName"],
                    "group",
                    f"{serving} of {wanted} in service",
                    serving == wanted,
                    f"{group['MinSize']} to {group['MaxSize']} hosts",
                )
            )
            components += [
                Component(
                    host["InstanceId"],
                    "host",
                    host["LifecycleState"],
                    host["HealthStatus"].lower() == "healthy",
                    f"{host.get('InstanceType', '')} in {host['AvailabilityZone']}".strip(),
                )
                for host in hosts
            ]
        healthy = all(component.healthy for component in components)
        hosts_found = sum(component.kind == "host" for component in components)
        return ClusterStatus(self.name, f"{hosts_found} hosts in {len(groups)} groups", healthy, components)

    def submit(self, spec: JobSpec) -> JobRecord:
        """Not there yet."""
        self._missing("run jobs")

    def follow(self, job_id: str) -> Iterator[str]:
        """Not there yet."""
        self._missing("run jobs")

    def job(self, job_id: str) -> JobRecord:
        """Not there yet."""
        self._missing("run jobs")

    def jobs(self) -> list[JobRecord]:
        """Not there yet."""
        self._missing("run jobs")

    def cancel(self, job_id: str) -> JobRecord:
        """Not there yet."""
        self._missing("run jobs")

    def logs(self, component: str | None, *, follow: bool, lines: int) -> Iterator[str]:
        """Not there yet."""
        self._missing("show logs")

    def shell(self, language: Language, spark_arguments: list[str]) -> int:
        """Not there yet."""
        self._missing("open shells")

    def ui(self, which: UiName) -> str:
        """Not there yet."""
        self._missing("open web UIs")

    def scale(self, workers: int) -> ClusterStatus:
        """Not there yet."""
        self._missing("scale")

    def _missing(self, ability: str) -> NoReturn:
        state = Account(self._deployment).stack(self._stack)
        if state is None:
            raise NotAvailable(f"stack {self._stack} is not deployed", "run `sparkvault deploy`")
        raise NotAvailable(
            f"the hosts of {self._stack} are deployed, but this version cannot {ability} there",
            "use --target local",
        )
