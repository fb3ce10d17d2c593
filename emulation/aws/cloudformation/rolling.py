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

    def run(self) -> None:
        """Replace all; raises `ResourceFailed` if a batch does not signal success."""
        obsolete = instances_of(self._record.physical_id, self._context)
        if not obsolete:
            return
        self._say(
            f"Rolling update initiated. Terminating {len(obsolete)} obsolete instance(s) in batches of {self._batch}."
        )
        for start in range(0, len(obsolete), self._batch):
            batch = obsolete[start : start + self._batch]
            replaced = set(instances_of(self._record.physical_id, self._context))
            self._say(f"Terminating instance(s) [{','.join(batch)}]; replacing with {len(batch)} new instance(s).")
            wait = SignalWait(len(batch), self._timeout, self._percent)
            if self._signals:
                self._signalling.open_wait(self._stack, self._record.logical_id, wait)
            try:
                for instance in batch:
                    self._context.call(
                        "autoscaling",
                        "terminate_instance_in_auto_scaling_group",
                        {"InstanceId": instance, "ShouldDecrementDesiredCapacity": False},
                    )
                if self._signals:
                    self._await(wait, len(batch), replaced)
            finally:
                self._signalling.close_wait(self._stack, self._record.logical_id)
            progress = 100 * (start + len(batch)) // len(obsolete)
            self._say(f"Successfully terminated instance(s) [{','.join(batch)}] (Progress {progress}%).")

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
    """Ids of the instances that an Auto Scaling group has now."""
    answer = context.call("autoscaling", "describe_auto_scaling_groups", {"AutoScalingGroupNames": [group]})
    if not answer["AutoScalingGroups"]:
        raise ResourceFailed(f"AutoScalingGroup {group} not found")
    return [instance["InstanceId"] for instance in answer["AutoScalingGroups"][0]["Instances"]]
