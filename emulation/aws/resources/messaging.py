"""Topics, queues and event rules."""

from __future__ import annotations

import json
from typing import Any

from emulation.aws.resources.provider import (
    Context,
    Made,
    NeedsReplacement,
    Properties,
    Provider,
    as_json,
    tag_list,
    tag_map,
    updatable,
    without,
)


class Topic(Provider):
    """An SNS topic."""

    type_name = "AWS::SNS::Topic"

    def create(self, context: Context, properties: Properties) -> Made:
        """CreateTopic."""
        name = properties.get("TopicName") or context.name(200)
        wanted = {"Name": name, "Attributes": _topic_attributes(properties), "Tags": tag_list(properties)}
        arn = context.call("sns", "create_topic", wanted)["TopicArn"]
        return Made(arn, {"TopicArn": arn, "TopicName": name})

    def configure(self, context: Context, made: Made, old: Properties, new: Properties) -> Made:
        """Subscriptions named in the topic itself."""
        for one in new.get("Subscription") or []:
            if one not in (old.get("Subscription") or []):
                context.call("sns", "subscribe", {"TopicArn": made.physical_id} | one)
        return made

    def update(self, context: Context, made: Made, old: Properties, new: Properties) -> Made:
        """SetTopicAttributes."""
        if any(old.get(name) != new.get(name) for name in ("TopicName", "FifoTopic")):
            raise NeedsReplacement
        before = _topic_attributes(old)
        after = dict.fromkeys(before, "") | _topic_attributes(new)
        for name, value in after.items():
            if before.get(name) != value:
                attribute = {"AttributeName": name, "AttributeValue": value}
                context.call("sns", "set_topic_attributes", {"TopicArn": made.physical_id} | attribute)
        return self.configure(context, made, old, new)

    def delete(self, context: Context, made: Made, properties: Properties) -> None:
        """DeleteTopic."""
        context.try_delete("sns", "delete_topic", {"TopicArn": made.physical_id})


def _topic_attributes(properties: Properties) -> dict[str, str]:
    names = ("DisplayName", "KmsMasterKeyId", "FifoTopic", "SignatureVersion", "TracingConfig")
    return {name: _text(properties[name]) for name in names if name in properties}


class Subscription(Provider):
    """A subscription to a topic."""

    type_name = "AWS::SNS::Subscription"

    def create(self, context: Context, properties: Properties) -> Made:
        """Subscribe."""
        wanted = {name: properties[name] for name in ("TopicArn", "Protocol", "Endpoint") if name in properties}
        wanted["ReturnSubscriptionArn"] = True
        return Made(context.call("sns", "subscribe", wanted)["SubscriptionArn"])

    def delete(self, context: Context, made: Made, properties: Properties) -> None:
        """Unsubscribe."""
        context.try_delete("sns", "unsubscribe", {"SubscriptionArn": made.physical_id})


class TopicPolicy(Provider):
    """The policy of topics."""

    type_name = "AWS::SNS::TopicPolicy"

    def create(self, context: Context, properties: Properties) -> Made:
        """SetTopicAttributes."""
        for topic in properties["Topics"]:
            attribute = {"AttributeName": "Policy", "AttributeValue": as_json(properties["PolicyDocument"])}
            context.call("sns", "set_topic_attributes", {"TopicArn": topic} | attribute)
        return Made(context.name(100))

    def update(self, context: Context, made: Made, old: Properties, new: Properties) -> Made:
        """Set it again."""
        self.create(context, new)
        return made

    def delete(self, context: Context, made: Made, properties: Properties) -> None:
        """It goes with its topic."""


_QUEUE_DEFAULTS = {
    "DelaySeconds": "0",
    "KmsMasterKeyId": "",
    "MessageRetentionPeriod": "345600",
    "ReceiveMessageWaitTimeSeconds": "0",
    "VisibilityTimeout": "30",
}


class Queue(Provider):
    """An SQS queue."""

    type_name = "AWS::SQS::Queue"

    def create(self, context: Context, properties: Properties) -> Made:
        """CreateQueue."""
        name = properties.get("QueueName") or context.name(75)
        wanted = {"QueueName": name, "Attributes": _queue_attributes(properties), "tags": tag_map(properties)}
        url = context.call("sqs", "create_queue", wanted)["QueueUrl"]
        return Made(url, {"Arn": context.arn("sqs", name), "QueueName": name, "QueueUrl": url})

    def update(self, context: Context, made: Made, old: Properties, new: Properties) -> Made:
        """SetQueueAttributes."""
        if any(old.get(name) != new.get(name) for name in ("QueueName", "FifoQueue")):
            raise NeedsReplacement
        gone = {name: value for name, value in _QUEUE_DEFAULTS.items() if name in old}
        wanted = {"QueueUrl": made.physical_id, "Attributes": gone | _queue_attributes(new)}
        context.call("sqs", "set_queue_attributes", wanted)
        return made

    def delete(self, context: Context, made: Made, properties: Properties) -> None:
        """DeleteQueue."""
        context.try_delete("sqs", "delete_queue", {"QueueUrl": made.physical_id})


def _queue_attributes(properties: Properties) -> dict[str, str]:
    return {name: _text(value) for name, value in without(properties, "QueueName", "Tags").items()}


class QueuePolicy(Provider):
    """The policy of queues."""

    type_name = "AWS::SQS::QueuePolicy"

    def create(self, context: Context, properties: Properties) -> Made:
        """SetQueueAttributes."""
        for queue in properties["Queues"]:
            attributes = {"Policy": as_json(properties["PolicyDocument"])}
            context.call("sqs", "set_queue_attributes", {"QueueUrl": queue, "Attributes": attributes})
        return Made(context.name(100))

    def update(self, context: Context, made: Made, old: Properties, new: Properties) -> Made:
        """Set it again."""
        self.create(context, new)
        return made

    def delete(self, context: Context, made: Made, properties: Properties) -> None:
        """It goes with its queue."""


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return json.dumps(value) if isinstance(value, dict | list) else str(value)


class EventRule(Provider):
    """An EventBridge rule with its targets."""

    type_name = "AWS::Events::Rule"

    def create(self, context: Context, properties: Properties) -> Made:
        """PutRule."""
        name = properties.get("Name") or context.name()
        return Made(name, {"Arn": self._put(context, name, properties)})

    def configure(self, context: Context, made: Made, old: Properties, new: Properties) -> Made:
        """PutTargets and RemoveTargets."""
        place = {"Rule": made.physical_id} | _bus(new or old)
        ids = [target["Id"] for target in new.get("Targets") or []]
        gone = [target["Id"] for target in old.get("Targets") or [] if target["Id"] not in ids]
        if gone:
            context.try_delete("events", "remove_targets", place | {"Ids": gone})
        if ids:
            context.call("events", "put_targets", place | {"Targets": new["Targets"]})
        return made

    def update(self, context: Context, made: Made, old: Properties, new: Properties) -> Made:
        """PutRule again."""
        updatable(old, new, "Description", "EventPattern", "ScheduleExpression", "State", "Targets", "RoleArn", "Tags")
        self._put(context, made.physical_id, new)
        return self.configure(context, made, old, new)

    def delete(self, context: Context, made: Made, properties: Properties) -> None:
        """RemoveTargets, then DeleteRule."""
        self.configure(context, made, properties, {})
        context.try_delete("events", "delete_rule", {"Name": made.physical_id} | _bus(properties))

    def _put(self, context: Context, name: str, properties: Properties) -> str:
        wanted = without(properties, "Targets", "EventPattern", "Name", "Tags") | {"Name": name}
        if "EventPattern" in properties:
            wanted["EventPattern"] = as_json(properties["EventPattern"])
        if properties.get("Tags"):
            wanted["Tags"] = tag_list(properties)
        return str(context.call("events", "put_rule", wanted)["RuleArn"])


def _bus(properties: Properties) -> dict[str, str]:
    return {"EventBusName": properties["EventBusName"]} if "EventBusName" in properties else {}
