"""Log groups, metric filters and resource policies."""

from __future__ import annotations

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


class LogGroup(Provider):
    """A log group with key and retention."""

    type_name = "AWS::Logs::LogGroup"

    def create(self, context: Context, properties: Properties) -> Made:
        """CreateLogGroup."""
        name = properties.get("LogGroupName") or context.name(512)
        wanted = without(properties, "RetentionInDays", "Tags", "LogGroupName") | {"LogGroupName": name}
        if properties.get("Tags"):
            wanted["Tags"] = tag_map(properties)
        context.call("logs", "create_log_group", wanted)
        return Made(name, {"Arn": context.arn("logs", f"log-group:{name}:*")})

    def configure(self, context: Context, made: Made, old: Properties, new: Properties) -> Made:
        """Retention."""
        group = {"LogGroupName": made.physical_id}
        if old.get("RetentionInDays") != new.get("RetentionInDays"):
            if "RetentionInDays" in new:
                days = {"RetentionInDays": new["RetentionInDays"]}
                context.call("logs", "put_retention_policy", group | days)
            else:
                context.call("logs", "delete_retention_policy", group)
        return made

    def update(self, context: Context, made: Made, old: Properties, new: Properties) -> Made:
        """Retention, key and tags change in place."""
        updatable(old, new, "RetentionInDays", "KmsKeyId", "Tags")
        group = {"LogGroupName": made.physical_id}
        if old.get("KmsKeyId") != new.get("KmsKeyId"):
            if "KmsKeyId" in new:
                context.call("logs", "associate_kms_key", group | {"KmsKeyId": new["KmsKeyId"]})
            else:
                context.call("logs", "disassociate_kms_key", group)
        before, after = tag_map(old), tag_map(new)
        gone = [key for key in before if key not in after]
        if gone:
            context.call("logs", "untag_log_group", group | {"Tags": gone})
        if after != before and after:
            context.call("logs", "tag_log_group", group | {"Tags": after})
        return self.configure(context, made, old, new)

    def delete(self, context: Context, made: Made, properties: Properties) -> None:
        """DeleteLogGroup."""
        context.try_delete("logs", "delete_log_group", {"LogGroupName": made.physical_id})


class MetricFilter(Provider):
    """A metric filter."""

    type_name = "AWS::Logs::MetricFilter"

    def create(self, context: Context, properties: Properties) -> Made:
        """PutMetricFilter."""
        name = properties.get("FilterName") or context.name(512)
        wanted = dict(properties) | {"FilterName": name}
        context.call("logs", "put_metric_filter", wanted)
        return Made(name)

    def update(self, context: Context, made: Made, old: Properties, new: Properties) -> Made:
        """PutMetricFilter again."""
        updatable(old, new, "FilterPattern", "MetricTransformations")
        context.call("logs", "put_metric_filter", dict(new) | {"FilterName": made.physical_id})
        return made

    def delete(self, context: Context, made: Made, properties: Properties) -> None:
        """DeleteMetricFilter."""
        place = {"FilterName": made.physical_id, "LogGroupName": properties["LogGroupName"]}
        context.try_delete("logs", "delete_metric_filter", place)


class ResourcePolicy(Provider):
    """A resource policy of CloudWatch Logs."""

    type_name = "AWS::Logs::ResourcePolicy"

    def create(self, context: Context, properties: Properties) -> Made:
        """PutResourcePolicy."""
        document = {"PolicyDocument": as_json(properties["PolicyDocument"])}
        context.call("logs", "put_resource_policy", {"PolicyName": properties["PolicyName"]} | document)
        return Made(properties["PolicyName"])

    def update(self, context: Context, made: Made, old: Properties, new: Properties) -> Made:
        """PutResourcePolicy again."""
        updatable(old, new, "PolicyDocument")
        return self.create(context, new)

    def delete(self, context: Context, made: Made, properties: Properties) -> None:
        """DeleteResourcePolicy."""
        context.try_delete("logs", "delete_resource_policy", {"PolicyName": made.physical_id})
