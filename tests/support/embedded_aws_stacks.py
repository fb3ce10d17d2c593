"""Stacks by plain API calls: small templates, and waits that say what they wait for."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any, TypeVar

from emulation.aws import EmbeddedAws

TIMEOUT_SECONDS = 30.0
T = TypeVar("T")


def wait_for(what: str, probe: Callable[[], T | None]) -> T:
    """The first truthy answer of `probe`; fails after 30 seconds with `what` was awaited."""
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while time.monotonic() < deadline:
        found = probe()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"waited {TIMEOUT_SECONDS:.0f} s for {what}")


class Stacks:
    """CloudFormation of an embedded AWS, as a test wants to use it."""

    def __init__(self, aws: EmbeddedAws) -> None:
        self.api: Any = aws.client("cloudformation")

    def create(self, name: str, resources: dict[str, Any], **options: Any) -> None:
        """CreateStack with `resources`; `Outputs` and `Parameters` of the template may be among the options."""
        self.api.create_stack(StackName=name, **_call(resources, options))

    def update(self, name: str, resources: dict[str, Any], **options: Any) -> None:
        """UpdateStack."""
        self.api.update_stack(StackName=name, **_call(resources, options))

    def status(self, name: str) -> str:
        """The stack's status; `DELETE_COMPLETE` for one that is gone."""
        live = {stack["StackName"]: stack["StackStatus"] for stack in self.api.describe_stacks()["Stacks"]}
        return str(live.get(name, "DELETE_COMPLETE"))

    def settled(self, name: str) -> str:
        """The status when nothing is in progress any more."""

        def at_rest() -> str | None:
            status = self.status(name)
            return None if status.endswith("_IN_PROGRESS") else status

        return wait_for(f"stack {name} to settle", at_rest)

    def delete(self, name: str) -> str:
        """DeleteStack, and how that ended."""
        self.api.delete_stack(StackName=name)
        return self.settled(name)

    def reasons(self, name: str, logical_id: str) -> list[str]:
        """Reasons in the events of one resource, oldest first."""
        events = reversed(self.api.describe_stack_events(StackName=name)["StackEvents"])
        found = [event for event in events if event["LogicalResourceId"] == logical_id]
        return [event["ResourceStatusReason"] for event in found if event.get("ResourceStatusReason")]

    def history(self, name: str, logical_id: str) -> list[str]:
        """Statuses in the events of one resource, oldest first, repeats left out."""
        events = reversed(self.api.describe_stack_events(StackName=name)["StackEvents"])
        statuses = [event["ResourceStatus"] for event in events if event["LogicalResourceId"] == logical_id]
        return [status for index, status in enumerate(statuses) if index == 0 or statuses[index - 1] != status]

    def physical_id(self, name: str, logical_id: str) -> str:
        """What `Ref` gives for a resource."""
        answer = self.api.describe_stack_resource(StackName=name, LogicalResourceId=logical_id)
        return str(answer["StackResourceDetail"]["PhysicalResourceId"])


def _call(resources: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
    template: dict[str, Any] = {"Resources": resources}
    for section in ("Outputs", "Conditions", "Mappings"):
        if section in options:
            template[section] = options.pop(section)
    if "Declared" in options:
        template["Parameters"] = options.pop("Declared")
    return {"TemplateBody": json.dumps(template), "Capabilities": ["CAPABILITY_NAMED_IAM"], **options}


def parameter(name: str, value: Any = "value", **more: Any) -> dict[str, Any]:
    """The smallest resource there is: a parameter of Parameter Store."""
    return {"Type": "AWS::SSM::Parameter", "Properties": {"Name": name, "Type": "String", "Value": value}, **more}


def hosts(
    count: int, *, needed: int | None = None, timeout: str = "PT20S", boot: str = "first", policy: Any = None
) -> dict[str, Any]:
    """A launch template and an Auto Scaling group in two zones whose hosts must signal."""
    template = {"ImageId": "ami-12c6146b", "InstanceType": "m5.xlarge", "UserData": {"Fn::Base64": boot}}
    group: dict[str, Any] = {
        "Type": "AWS::AutoScaling::AutoScalingGroup",
        "CreationPolicy": {"ResourceSignal": {"Count": count if needed is None else needed, "Timeout": timeout}},
        "Properties": {
            "MinSize": "1",
            "MaxSize": "6",
            "DesiredCapacity": str(count),
            "AvailabilityZones": [{"Fn::Select": [index, {"Fn::GetAZs": ""}]} for index in (0, 1)],
            "LaunchTemplate": {
                "LaunchTemplateId": {"Ref": "Template"},
                "Version": {"Fn::GetAtt": ["Template", "LatestVersionNumber"]},
            },
        },
    }
    if policy is not None:
        group["UpdatePolicy"] = {"AutoScalingRollingUpdate": policy}
    return {
        "Template": {"Type": "AWS::EC2::LaunchTemplate", "Properties": {"LaunchTemplateData": template}},
        "Hosts": group,
    }
