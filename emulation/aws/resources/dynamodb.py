"""DynamoDB tables."""

from __future__ import annotations

from typing import Any

from emulation.aws.resources.provider import (
    Context,
    Made,
    NeedsReplacement,
    Properties,
    Provider,
    changed_only,
    tag_list,
    tag_map,
    without,
)

_LATER = (
    "ContributorInsightsSpecification",
    "KinesisStreamSpecification",
    "PointInTimeRecoverySpecification",
    "ResourcePolicy",
    "SSESpecification",
    "StreamSpecification",
    "TableName",
    "Tags",
    "TimeToLiveSpecification",
)
_FIXED = ("TableName", "KeySchema", "LocalSecondaryIndexes")


class Table(Provider):
    """A table with encryption, time to live and recovery."""

    type_name = "AWS::DynamoDB::Table"

    def create(self, context: Context, properties: Properties) -> Made:
        """CreateTable."""
        name = properties.get("TableName") or context.name(255)
        wanted = without(properties, *_LATER) | {"TableName": name, "Tags": tag_list(properties)} | _nested(properties)
        wanted.setdefault("BillingMode", "PROVISIONED")
        table = context.call("dynamodb", "create_table", wanted)["TableDescription"]
        return Made(name, {"Arn": table["TableArn"], "StreamArn": table.get("LatestStreamArn", "")})

    def configure(self, context: Context, made: Made, old: Properties, new: Properties) -> Made:
        """Time to live and point-in-time recovery."""
        table = {"TableName": made.physical_id}
        if "TimeToLiveSpecification" in new and old.get("TimeToLiveSpecification") != new["TimeToLiveSpecification"]:
            wanted = {"TimeToLiveSpecification": new["TimeToLiveSpecification"]}
            context.call("dynamodb", "update_time_to_live", table | wanted)
        recovery = new.get("PointInTimeRecoverySpecification")
        if recovery and recovery != old.get("PointInTimeRecoverySpecification"):
            wanted = {"PointInTimeRecoverySpecification": recovery}
            context.call("dynamodb", "update_continuous_backups", table | wanted)
        return made

    def update(self, context: Context, made: Made, old: Properties, new: Properties) -> Made:
        """All but name, keys and local indexes change in place."""
        if any(old.get(name) != new.get(name) for name in _FIXED):
            raise NeedsReplacement
        change = changed_only(without(old, *_LATER), without(new, *_LATER))
        change |= changed_only(_nested(old), _nested(new))
        if "GlobalSecondaryIndexes" in change:
            raise NeedsReplacement
        if "DeletionProtectionEnabled" in old and "DeletionProtectionEnabled" not in new:
            change["DeletionProtectionEnabled"] = False
        if change:
            context.call("dynamodb", "update_table", change | {"TableName": made.physical_id})
        arn = {"ResourceArn": made.attributes["Arn"]}
        gone = [key for key in tag_map(old) if key not in tag_map(new)]
        if gone:
            context.call("dynamodb", "untag_resource", arn | {"TagKeys": gone})
        if new.get("Tags") and old.get("Tags") != new.get("Tags"):
            context.call("dynamodb", "tag_resource", arn | {"Tags": tag_list(new)})
        return self.configure(context, made, old, new)

    def delete(self, context: Context, made: Made, properties: Properties) -> None:
        """DeleteTable, which DynamoDB refuses under deletion protection."""
        context.try_delete("dynamodb", "delete_table", {"TableName": made.physical_id})


def _nested(properties: Properties) -> dict[str, Any]:
    """The two specifications that the API spells otherwise."""
    wanted: dict[str, Any] = {}
    if "SSESpecification" in properties:
        given = properties["SSESpecification"]
        wanted["SSESpecification"] = without(given, "SSEEnabled") | {"Enabled": given["SSEEnabled"]}
    if "StreamSpecification" in properties:
        wanted["StreamSpecification"] = dict(properties["StreamSpecification"]) | {"StreamEnabled": True}
    return wanted
