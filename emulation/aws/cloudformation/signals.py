"""Creation and update policies: counting the signals that instances send."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from emulation.aws.cloudformation.errors import ResourceFailed, ValidationError

_DURATION = re.compile(r"PT(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)S)?")
SIGNALLED_TYPES = ("AWS::AutoScaling::AutoScalingGroup", "AWS::EC2::Instance", "AWS::CloudFormation::WaitCondition")


def seconds(duration: str) -> int:
    """Seconds of an ISO 8601 duration such as `PT15M`; at most 12 hours, as CloudFormation allows."""
    match = _DURATION.fullmatch(duration)
    if not match or not any(match.groups()):
        raise ValidationError(f"Template format error: {duration!r} is not a duration such as PT15M")
    hours, minutes, rest = (int(part or 0) for part in match.groups())
    return min(hours * 3600 + minutes * 60 + rest, 12 * 3600)


@dataclass
class SignalWait:
    """`count` signals awaited until `deadline` (monotonic); `statuses` by unique id, so that repeats count once."""

    count: int
    timeout: int
    percent: int = 100
    statuses: dict[str, str] = field(default_factory=dict)
    cancelled: bool = False
    deadline: float = field(init=False)

    def __post_init__(self) -> None:
        self.deadline = time.monotonic() + self.timeout

    @property
    def needed(self) -> int:
        """Successes without which the resource fails."""
        return math.ceil(self.count * self.percent / 100)

    def receive(self, unique_id: str, status: str) -> bool:
        """Count a signal; False if that id has signalled before."""
        if unique_id in self.statuses:
            return False
        self.statuses[unique_id] = status
        return True

    def settled(self) -> bool:
        """True when enough has succeeded; raises `ResourceFailed` when that cannot be any more."""
        successes = sum(status == "SUCCESS" for status in self.statuses.values())
        failures = len(self.statuses) - successes
        requirement = f"Unable to satisfy {self.percent}% MinSuccessfulInstancesPercent requirement"
        if failures > self.count - self.needed:
            raise ResourceFailed(f"Received {failures} FAILURE signal(s) out of {self.count}. {requirement}")
        if len(self.statuses) >= self.count:
            return True
        if time.monotonic() < self.deadline:
            return False
        if successes >= self.needed:
            return True
        if not self.statuses:
            raise ResourceFailed(f"Failed to receive {self.count} resource signal(s) within the specified duration")
        raise ResourceFailed(f"Received {successes} SUCCESS signal(s) out of {self.count}. {requirement}")


def creation_wait(definition: Mapping[str, Any], policy: Mapping[str, Any]) -> SignalWait | None:
    """The wait that a resource's evaluated `CreationPolicy` asks for, if any."""
    if definition["Type"] not in SIGNALLED_TYPES or "ResourceSignal" not in policy:
        return None
    signal = policy["ResourceSignal"] or {}
    success = policy.get("AutoScalingCreationPolicy") or {}
    return SignalWait(
        count=int(signal.get("Count", 1)),
        timeout=seconds(str(signal.get("Timeout", "PT5M"))),
        percent=int(success.get("MinSuccessfulInstancesPercent", 100)),
    )
