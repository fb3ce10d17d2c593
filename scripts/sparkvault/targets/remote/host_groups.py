"""The Auto Scaling groups of the hosts: what is there against what should be, and how many workers there are to be."""

import time
from typing import Any

from botocore.exceptions import ClientError

from spark_constructs.config import Deployment
from spark_constructs.naming import auto_scaling_group_name, stack_name
from sparkvault.account import Account
from sparkvault.console import Progress
from sparkvault.errors import NotAvailable, SparkvaultError, UsageError, WaitTimeout
from sparkvault.targets.protocol import Component

POLL_SECONDS = 2.0


class HostGroups:
    """Managers and workers of one deployment; or those of another target by the names of its stack and groups."""

    def __init__(
        self,
        account: Account,
        deployment: Deployment,
        *,
        target: str = "swarm",
        kinds: tuple[str, str] = ("managers", "workers"),
    ) -> None:
        self._account = account
        self._deployment = deployment
        self._target = target
        self._names = [auto_scaling_group_name(deployment.cluster, kind) for kind in kinds]

    def components(self) -> list[Component]:
        """The stack, each group, each host. Raises NotAvailable where nothing is deployed."""
        stack = stack_name(self._deployment.cluster, self._target)
        state = self._stack_status(stack)
        found = [
            Component(stack, "stack", state.lower(), not state.endswith("_FAILED") and state != "ROLLBACK_COMPLETE")
        ]
        for group in self._describe(self._names):
            hosts = group["Instances"]
            serving = sum(host["LifecycleState"] == "InService" for host in hosts)
            wanted = group["DesiredCapacity"]
            found.append(
                Component(
                    group["AutoScalingGroupName"],
                    "group",
                    f"{serving} of {wanted} in service",
                    serving == wanted,
                    f"{group['MinSize']} to {group['MaxSize']} hosts",
                )
            )
            found += [
                Component(
                    host["InstanceId"],
                    "host",
                    host["LifecycleState"].lower(),
                    host["LifecycleState"] == "InService" and host["HealthStatus"].lower() == "healthy",
                    f"{host.get('InstanceType', '')} in {host['AvailabilityZone']}".strip(),
                )
                for host in hosts
            ]
        return found

    def scale(self, workers: int, progress: Progress) -> None:
        """Ask for that many workers and wait until they are in service, and those that go have drained and gone.

        Raises UsageError beyond the group's bounds, NotAvailable, WaitTimeout.
        """
        name = self._names[1]
        group = self._workers(name)
        least, most = group["MinSize"], group["MaxSize"]
        if not least <= workers <= most:
            raise UsageError(
                f"{workers} workers: group {name} takes {least} to {most}",
                "change hosts.workers.min or max, and deploy" if self._target == "swarm" else "ask for one of these",
            )
        try:
            self._account.client("autoscaling").set_desired_capacity(
                AutoScalingGroupName=name, DesiredCapacity=workers, HonorCooldown=False
            )
        except ClientError as error:
            raise SparkvaultError(
                f"group {name} cannot be scaled: {error}", "use a role with the operator policy"
            ) from error
        hosts = self._deployment.hosts
        seconds = float(hosts.boot_timeout_seconds + hosts.drain_timeout_seconds)
        deadline = time.monotonic() + seconds
        told = ""
        while time.monotonic() < deadline:
            there = self._workers(name)["Instances"]
            serving = sum(host["LifecycleState"] == "InService" for host in there)
            if serving == workers == len(there):
                return
            leaving = sum(host["LifecycleState"].startswith("Terminating") for host in there)
            text = f"{serving} of {workers} workers in service" + (f", {leaving} draining" if leaving else "")
            if text != told:
                progress(text)
                told = text
            time.sleep(POLL_SECONDS)
        raise WaitTimeout(f"{workers} workers in service ({told})", seconds, "`sparkvault status` shows the hosts")

    def workers(self) -> list[str]:
        """Ids of the workers' instances that are in service."""
        there = self._workers(self._names[1])["Instances"]
        return sorted(str(host["InstanceId"]) for host in there if host["LifecycleState"] == "InService")

    def _workers(self, name: str) -> dict[str, Any]:
        groups = self._describe([name])
        if not groups:
            raise NotAvailable(f"group {name} is not deployed", "run `sparkvault deploy`")
        return groups[0]

    def _describe(self, names: list[str]) -> list[dict[str, Any]]:
        found = self._account.client("autoscaling").describe_auto_scaling_groups(AutoScalingGroupNames=names)
        groups: list[dict[str, Any]] = found["AutoScalingGroups"]
        return groups

    def _stack_status(self, name: str) -> str:
        """Its status; only with what operators and submitters may ask."""
        try:
            stacks = self._account.client("cloudformation").describe_stacks(StackName=name)["Stacks"]
        except ClientError as error:
            if "does not exist" not in str(error):
                raise
            stacks = []
        if not stacks or stacks[0]["StackStatus"] == "DELETE_COMPLETE":
            raise NotAvailable(f"stack {name} is not deployed", "run `sparkvault deploy`")
        return str(stacks[0]["StackStatus"])
