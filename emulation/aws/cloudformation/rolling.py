"""`AutoScalingRollingUpdate`: obsolete instances are replaced in batches, each of which may have to signal."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Any, Protocol

from emulation.aws.cloudformation.errors import ResourceFailed
from emulation.aws.cloudformation.records import ResourceRecord, Stack
from emulation.aws.cloudformation.signals import SignalWait, seconds
from emulation.aws.resources.provider import Context

# Properties whose change makes instances obsolete (AWS documentation of the UpdatePolicy attribute).
CAUSES = ("AvailabilityZones", "LaunchConfigurationName", "LaunchTemplate", "MixedInstancesPolicy", "VPCZoneIdentifier")

#: The least that instances may take to go; their hooks may take longer than a batch may pause.
GONE_SECONDS = 900


class _Signalling(Protocol):
    changed: threading.Condition

    def open_wait(self, stack: Stack, logical_id: str, wait: SignalWait) -> None: ...

    def close_wait(self, stack: Stack, logical_id: str) -> None: ...

    def expect_signals(self, stack: Stack, logical_id: str, instances: list[str]) -> None: ...


class RollingUpdate:
    """Replaces every instance that the group had, `MaxBatchSize` at a time."""

    def __init__(
        self, stack: Stack, record: ResourceRecord, policy: Mapping[str, Any], context: Context, signalling: _Signalling
    ) -> None:
        self._stack = stack
        self._record = record
        self._context = context
        self._signalling = signalling
        self._batch = int(policy.get("MaxBatchSize", 1))
        self._percent = int(policy.get("MinSuccessfulInstancesPercent", 100))
        self._signals = str(policy.get("WaitOnResourceSignals", "false")).lower() == "true"
        self._timeout = seconds(str(policy.get("PauseTime", "PT5M" if self._signals else "PT0S")))
        self._pause_text = str(policy.get("PauseTime", "PT5M"))
        self._in_service = int(policy.get("MinInstancesInService", 0))
        self._suspended = [str(process) for process in policy.get("SuspendProcesses") or []]

    def run(self) -> None:
        """Replace all; raises `ResourceFailed` if a batch does not signal success."""
        obsolete = instances_of(self._record.physical_id, self._context)
        if not obsolete:
            return
        self._say(
            f"Rolling update initiated. Terminating {len(obsolete)} obsolete instance(s) in batches of {self._batch}."
        )
        processes = {"AutoScalingGroupName": self._record.physical_id, "ScalingProcesses": self._suspended}
        if self._suspended:
            self._context.call("autoscaling", "suspend_processes", processes)
        try:
            for start in range(0, len(obsolete), self._batch):
                batch = obsolete[start : start + self._batch]
                self._replace(batch)
                progress = 100 * (start + len(batch)) // len(obsolete)
                self._say(f"Successfully terminated instance(s) [{','.join(batch)}] (Progress {progress}%).")
        finally:
            if self._suspended:
                self._context.call("autoscaling", "resume_processes", processes)

    def _replace(self, batch: list[str]) -> None:
        """New instances in place of these; first, where fewer than `MinInstancesInService` would be left."""
        before = set(instances_of(self._record.physical_id, self._context))
        first = len(before) - len(batch) < self._in_service
        wait = SignalWait(len(batch), self._timeout, self._percent)
        if self._signals:
            self._signalling.open_wait(self._stack, self._record.logical_id, wait)
        try:
            if first:
                self._set_size(len(before) + len(batch))
                self._say(f"Temporarily setting desired capacity to {len(before) + len(batch)}.")
            else:
                self._terminate(batch, decrement=False)
            if self._signals:
                self._await(wait, len(batch), before)
        except ResourceFailed:
            if first:
                self._set_size(len(before))
            raise
        finally:
            self._signalling.close_wait(self._stack, self._record.logical_id)
        if first:
            self._terminate(batch, decrement=True)
        self._await_gone(batch)

    def _terminate(self, batch: list[str], *, decrement: bool) -> None:
        self._say(f"Terminating instance(s) [{','.join(batch)}]; replacing with {len(batch)} new instance(s).")
        for instance in batch:
            wanted = {"InstanceId": instance, "ShouldDecrementDesiredCapacity": decrement}
            self._context.call("autoscaling", "terminate_instance_in_auto_scaling_group", wanted)

    def _set_size(self, size: int) -> None:
        wanted = {"AutoScalingGroupName": self._record.physical_id, "DesiredCapacity": size}
        self._context.call("autoscaling", "set_desired_capacity", wanted)

    def _await_gone(self, batch: list[str]) -> None:
        """Until the old ones have left: their lifecycle hooks, which end by themselves, come first."""
        deadline = time.monotonic() + max(self._timeout, GONE_SECONDS)
        while time.monotonic() < deadline:
            group = described(self._record.physical_id, self._context)
            if not {one["InstanceId"] for one in group["Instances"]} & set(batch):
                return
            time.sleep(0.5)
        raise ResourceFailed(f"Instance(s) [{','.join(batch)}] did not terminate")

    def _await(self, wait: SignalWait, count: int, before: set[str]) -> None:
        self._say(
            f"New instance(s) added to autoscaling group - Waiting on {count} resource signal(s) "
            f"with a timeout of {self._pause_text}."
        )
        new = [one for one in instances_of(self._record.physical_id, self._context) if one not in before]
        self._signalling.expect_signals(self._stack, self._record.logical_id, new)
        seen = 0
        while not wait.settled():
            with self._signalling.changed:
                if not wait.statuses or len(wait.statuses) == seen:
                    self._signalling.changed.wait(max(0.0, wait.deadline - time.monotonic()))
                seen = len(wait.statuses)

    def _say(self, reason: str) -> None:
        self._stack.record_resource(self._record, "UPDATE_IN_PROGRESS", reason)


def instances_of(group: str, context: Context) -> list[str]:
    """Ids of the instances that an Auto Scaling group has now, without those that it is letting go."""
    instances = described(group, context)["Instances"]
    return [one["InstanceId"] for one in instances if not one["LifecycleState"].startswith("Terminating")]


def described(group: str, context: Context) -> dict[str, Any]:
    """An Auto Scaling group as its API describes it; raises `ResourceFailed` where there is none."""
    answer = context.call("autoscaling", "describe_auto_scaling_groups", {"AutoScalingGroupNames": [group]})
    if not answer["AutoScalingGroups"]:
        raise ResourceFailed(f"AutoScalingGroup {group} not found")
    found: dict[str, Any] = answer["AutoScalingGroups"][0]
    return found
