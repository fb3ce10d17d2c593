"""Keys and aliases."""

from __future__ import annotations

from typing import Any

from emulation.aws.resources.provider import (
    Context,
    Made,
    Properties,
    Provider,
    as_json,
    tag_map,
    updatable,
    without,
)

_LATER = ("EnableKeyRotation", "RotationPeriodInDays", "Enabled", "KeyPolicy", "PendingWindowInDays", "Tags")


class Key(Provider):
    """A key with policy and rotation; deletion schedules its end, as KMS has no other."""

    type_name = "AWS::KMS::Key"

    def create(self, context: Context, properties: Properties) -> Made:
        """CreateKey."""
        wanted = without(properties, *_LATER)
        if "KeyPolicy" in properties:
            wanted["Policy"] = as_json(properties["KeyPolicy"])
        key = context.call("kms", "create_key", wanted | {"Tags": _tags(properties)})["KeyMetadata"]
        return Made(key["KeyId"], {"Arn": key["Arn"], "KeyId": key["KeyId"]})

    def configure(self, context: Context, made: Made, old: Properties, new: Properties) -> Made:
        """Rotation and whether it is enabled."""
        key = {"KeyId": made.physical_id}
        wanted = (_is_true(new.get("EnableKeyRotation")), new.get("RotationPeriodInDays"))
        if wanted != (_is_true(old.get("EnableKeyRotation")), old.get("RotationPeriodInDays")):
            if wanted[0]:
                period = {} if wanted[1] is None else {"RotationPeriodInDays": wanted[1]}
                context.call("kms", "enable_key_rotation", key | period)
            else:
                context.call("kms", "disable_key_rotation", key)
        if _is_true(new.get("Enabled", True)) != _is_true(old.get("Enabled", True)):
            context.call("kms", "enable_key" if _is_true(new.get("Enabled", True)) else "disable_key", key)
        return made

    def update(self, context: Context, made: Made, old: Properties, new: Properties) -> Made:
        """Policy, description, rotation and tags change in place."""
        updatable(old, new, "Description", *_LATER)
        key = {"KeyId": made.physical_id}
        if old.get("KeyPolicy") != new.get("KeyPolicy") and "KeyPolicy" in new:
            policy = {"PolicyName": "default", "Policy": as_json(new["KeyPolicy"])}
            context.call("kms", "put_key_policy", key | policy)
        if old.get("Description") != new.get("Description"):
            context.call("kms", "update_key_description", key | {"Description": new.get("Description", "")})
        before, after = tag_map(old), tag_map(new)
        gone = [name for name in before if name not in after]
        if gone:
            context.call("kms", "untag_resource", key | {"TagKeys": gone})
        if after and before != after:
            context.call("kms", "tag_resource", key | {"Tags": _tags(new)})
        return self.configure(context, made, old, new)

    def delete(self, context: Context, made: Made, properties: Properties) -> None:
        """ScheduleKeyDeletion."""
        window = {"PendingWindowInDays": properties.get("PendingWindowInDays", 30)}
        context.try_delete("kms", "schedule_key_deletion", {"KeyId": made.physical_id} | window)


def _tags(properties: Properties) -> list[dict[str, str]]:
    return [{"TagKey": key, "TagValue": value} for key, value in tag_map(properties).items()]


def _is_true(value: Any) -> bool:
    return str(value).lower() == "true"


class Alias(Provider):
    """An alias of a key."""

    type_name = "AWS::KMS::Alias"

    def create(self, context: Context, properties: Properties) -> Made:
        """CreateAlias."""
        context.call("kms", "create_alias", _alias(properties))
        return Made(properties["AliasName"])

    def update(self, context: Context, made: Made, old: Properties, new: Properties) -> Made:
        """Its key changes in place."""
        updatable(old, new, "TargetKeyId")
        context.call("kms", "update_alias", _alias(new))
        return made

    def delete(self, context: Context, made: Made, properties: Properties) -> None:
        """DeleteAlias."""
        context.try_delete("kms", "delete_alias", {"AliasName": made.physical_id})


def _alias(properties: Properties) -> dict[str, Any]:
    target = str(properties["TargetKeyId"])
    return dict(properties) | {"TargetKeyId": target.rsplit("/", 1)[-1]}
