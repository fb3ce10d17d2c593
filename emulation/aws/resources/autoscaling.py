"""Auto Scaling groups, their lifecycle hooks, policies and schedules."""

from __future__ import annotations

import time
from typing import Any

from emulation.aws.cloudformation.errors import ResourceFailed
from emulation.aws.resources.provider import (
    Context,
    Made,
    NeedsReplacement,
    Properties,
    Provider,
    changed_only,
    without,
)

_ELSEWHERE = (
    "AutoScalingGroupName",
    "Cooldown",
    "LifecycleHookSpecificationList",
    "MetricsCollection",
    "NotificationConfigurations",
    "Tags",
    "VPCZoneIdentifier",
)
_DEFAULTS: dict[str, Any] = {
    "CapacityRebalance": False,
    "DefaultCooldown": 300,
    "DefaultInstanceWarmup": -1,
    "HealthCheckGracePeriod": 0,
    "HealthCheckType": "EC2",
    "MaxInstanceLifetime": 0,
    "NewInstancesProtectedFromScaleIn": False,
    "TerminationPolicies": ["Default"],
}
_DELETION_SECONDS = 300
_SIZES = ("MinSize", "MaxSize", "DesiredCapacity")


class AutoScalingGroup(Provider):
    """A group; its instances exist in EC2 as soon as it does."""

    type_name = "AWS::AutoScaling::AutoScalingGroup"

    def create(self, context: Context, properties: Properties) -> Made:
        """CreateAutoScalingGroup."""
        name = properties.get("AutoScalingGroupName") or context.name(255)
        wanted = _group(properties) | {"AutoScalingGroupName": name, "Tags": _tags(context, name, properties)}
        wanted.setdefault("DesiredCapacity", wanted.get("MinSize"))
        context.call("autoscaling", "create_auto_scaling_group", wanted)
        return Made(name, {"AutoScalingGroupARN": context.arn("autoscaling", f"autoScalingGroup::{name}")})

    def configure(self, context: Context, made: Made, old: Properties, new: Properties) -> Made:
        """Hooks, metrics and notifications."""
        group = {"AutoScalingGroupName": made.physical_id}
        hooks = {hook["LifecycleHookName"]: hook for hook in new.get("LifecycleHookSpecificationList") or []}
        for hook in old.get("LifecycleHookSpecificationList") or []:
            if hook["LifecycleHookName"] not in hooks:
                gone = group | {"LifecycleHookName": hook["LifecycleHookName"]}
                context.try_delete("autoscaling", "delete_lifecycle_hook", gone)
        for hook in hooks.values():
            context.call("autoscaling", "put_lifecycle_hook", group | hook)
        for collection in new.get("MetricsCollection") or []:
            context.call("autoscaling", "enable_metrics_collection", group | collection)
        topics = {one["TopicARN"]: one for one in new.get("NotificationConfigurations") or []}
        for one in old.get("NotificationConfigurations") or []:
            if one["TopicARN"] not in topics:
                gone = group | {"TopicARN": one["TopicARN"]}
                context.call("autoscaling", "delete_notification_configuration", gone)
        for one in topics.values():
            context.call("autoscaling", "put_notification_configuration", group | one)
        return made

    def update(self, context: Context, made: Made, old: Properties, new: Properties) -> Made:
        """UpdateAutoScalingGroup; sizes that the template did not change are left as they are now."""
        if old.get("AutoScalingGroupName") != new.get("AutoScalingGroupName"):
            raise NeedsReplacement
        before, after = _group(old), _group(new)
        after = {name: default for name, default in _DEFAULTS.items() if name in before and name not in after} | after
        change = {key: value for key, value in after.items() if key not in _SIZES or before.get(key) != value}
        context.call("autoscaling", "update_auto_scaling_group", change | {"AutoScalingGroupName": made.physical_id})
        tags, gone = _tags(context, made.physical_id, new), _tags(context, made.physical_id, old)
        kept = {tag["Key"] for tag in tags}
        obsolete = [tag for tag in gone if tag["Key"] not in kept]
        if obsolete:
            context.call("autoscaling", "delete_tags", {"Tags": obsolete})
        if tags != gone:
            context.call("autoscaling", "create_or_update_tags", {"Tags": tags})
        return self.configure(context, made, old, new)

    def delete(self, context: Context, made: Made, properties: Properties) -> None:
        """Lifecycle hooks go with the group; its instances are terminated."""
        group = {"AutoScalingGroupName": made.physical_id}
        hooks = context.call("autoscaling", "describe_lifecycle_hooks", group)["LifecycleHooks"]
        for hook in hooks:
            gone = group | {"LifecycleHookName": hook["LifecycleHookName"]}
            context.try_delete("autoscaling", "delete_lifecycle_hook", gone)
        context.try_delete("autoscaling", "delete_auto_scaling_group", group | {"ForceDelete": True})
        named = {"AutoScalingGroupNames": [made.physical_id]}
        deadline = time.monotonic() + _DELETION_SECONDS
        # What its instances use can be deleted only when they are gone.
        while context.call("autoscaling", "describe_auto_scaling_groups", named)["AutoScalingGroups"]:
            if time.monotonic() > deadline:
                raise ResourceFailed(f"Group {made.physical_id} still has instances after {_DELETION_SECONDS} s")
            time.sleep(0.5)


def _group(properties: Properties) -> dict[str, Any]:
    wanted = without(properties, *_ELSEWHERE)
    if "Cooldown" in properties:
        wanted["DefaultCooldown"] = properties["Cooldown"]
    if "VPCZoneIdentifier" in properties:
        wanted["VPCZoneIdentifier"] = ",".join(properties["VPCZoneIdentifier"])
    return wanted


def _tags(context: Context, group: str, properties: Properties) -> list[dict[str, Any]]:
    own = [
        {"Key": "aws:cloudformation:stack-name", "Value": context.stack_name, "PropagateAtLaunch": True},
        {"Key": "aws:cloudformation:stack-id", "Value": context.stack_id, "PropagateAtLaunch": True},
        {"Key": "aws:cloudformation:logical-id", "Value": context.logical_id, "PropagateAtLaunch": True},
    ]
    place = {"ResourceId": group, "ResourceType": "auto-scaling-group"}
    return [place | tag for tag in [*(properties.get("Tags") or []), *own]]


class LifecycleHook(Provider):
    """A lifecycle hook."""

    type_name = "AWS::AutoScaling::LifecycleHook"

    def create(self, context: Context, properties: Properties) -> Made:
        """PutLifecycleHook."""
        name = properties.get("LifecycleHookName") or context.name(255)
        context.call("autoscaling", "put_lifecycle_hook", dict(properties) | {"LifecycleHookName": name})
        return Made(name, {"LifecycleHookName": name})

    def update(self, context: Context, made: Made, old: Properties, new: Properties) -> Made:
        """PutLifecycleHook again."""
        if {"AutoScalingGroupName", "LifecycleHookName"} & changed_only(old, new).keys():
            raise NeedsReplacement
        context.call("autoscaling", "put_lifecycle_hook", dict(new) | {"LifecycleHookName": made.physical_id})
        return made

    def delete(self, context: Context, made: Made, properties: Properties) -> None:
        """DeleteLifecycleHook."""
        place = {"AutoScalingGroupName": properties["AutoScalingGroupName"], "LifecycleHookName": made.physical_id}
        context.try_delete("autoscaling", "delete_lifecycle_hook", place)


class ScalingPolicy(Provider):
    """A scaling policy."""

    type_name = "AWS::AutoScaling::ScalingPolicy"

    def create(self, context: Context, properties: Properties) -> Made:
        """PutScalingPolicy."""
        name = properties.get("PolicyName") or context.name(255)
        context.call("autoscaling", "put_scaling_policy", dict(properties) | {"PolicyName": name})
        # moto misspells the ARN in its answer to PutScalingPolicy.
        described = context.call("autoscaling", "describe_policies", {"PolicyNames": [name]})
        arn = described["ScalingPolicies"][0]["PolicyARN"]
        return Made(arn, {"Arn": arn, "PolicyName": name})

    def delete(self, context: Context, made: Made, properties: Properties) -> None:
        """DeletePolicy."""
        context.try_delete("autoscaling", "delete_policy", {"PolicyName": made.attributes["PolicyName"]})


class ScheduledAction(Provider):
    """A scheduled change of size."""

    type_name = "AWS::AutoScaling::ScheduledAction"

    def create(self, context: Context, properties: Properties) -> Made:
        """PutScheduledUpdateGroupAction."""
        name = context.name(255)
        wanted = dict(properties) | {"ScheduledActionName": name}
        context.call("autoscaling", "put_scheduled_update_group_action", wanted)
        return Made(name, {"ScheduledActionName": name})

    def delete(self, context: Context, made: Made, properties: Properties) -> None:
        """DeleteScheduledAction."""
        place = {"AutoScalingGroupName": properties["AutoScalingGroupName"], "ScheduledActionName": made.physical_id}
        context.try_delete("autoscaling", "delete_scheduled_action", place)
