"""Buckets with all that protects them, and bucket policies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from emulation.aws.cloudformation.errors import ResourceFailed
from emulation.aws.resources.provider import (
    Context,
    Made,
    NeedsReplacement,
    Properties,
    Provider,
    as_json,
    tag_list,
    without,
)


def _encryption(value: Any) -> dict[str, Any]:
    rules = []
    for rule in value["ServerSideEncryptionConfiguration"]:
        default = rule.get("ServerSideEncryptionByDefault")
        rules.append(
            without(rule, "ServerSideEncryptionByDefault")
            | ({"ApplyServerSideEncryptionByDefault": default} if default else {})
        )
    return {"ServerSideEncryptionConfiguration": {"Rules": rules}}


def _lifecycle(value: Any) -> dict[str, Any]:
    return {"LifecycleConfiguration": {"Rules": [_lifecycle_rule(rule) for rule in value["Rules"]]}}


def _lifecycle_rule(rule: Properties) -> dict[str, Any]:
    """CloudFormation's flat rule as the API nests it."""
    wanted: dict[str, Any] = {"Status": rule["Status"]}
    if "Id" in rule:
        wanted["ID"] = rule["Id"]
    expiration = {
        api: rule[name]
        for name, api in (
            ("ExpirationInDays", "Days"),
            ("ExpirationDate", "Date"),
            ("ExpiredObjectDeleteMarker", "ExpiredObjectDeleteMarker"),
        )
        if name in rule
    }
    if expiration:
        wanted["Expiration"] = expiration
    if "NoncurrentVersionExpirationInDays" in rule:
        wanted["NoncurrentVersionExpiration"] = {"NoncurrentDays": rule["NoncurrentVersionExpirationInDays"]}
    if "NoncurrentVersionExpiration" in rule:
        wanted["NoncurrentVersionExpiration"] = rule["NoncurrentVersionExpiration"]
    if "AbortIncompleteMultipartUpload" in rule:
        wanted["AbortIncompleteMultipartUpload"] = rule["AbortIncompleteMultipartUpload"]
    if "Transitions" in rule:
        wanted["Transitions"] = [_transition(one, "Days") for one in rule["Transitions"]]
    if "NoncurrentVersionTransitions" in rule:
        transitions = rule["NoncurrentVersionTransitions"]
        wanted["NoncurrentVersionTransitions"] = [_transition(one, "NoncurrentDays") for one in transitions]
    tags = list(rule.get("TagFilters") or [])
    if tags:
        both = {"Tags": tags} | ({"Prefix": rule["Prefix"]} if "Prefix" in rule else {})
        wanted["Filter"] = {"And": both} if len(tags) > 1 or "Prefix" in rule else {"Tag": tags[0]}
    else:
        wanted["Filter"] = {"Prefix": rule.get("Prefix", "")}
    known = {
        "AbortIncompleteMultipartUpload",
        "ExpirationDate",
        "ExpirationInDays",
        "ExpiredObjectDeleteMarker",
        "Id",
        "NoncurrentVersionExpiration",
        "NoncurrentVersionExpirationInDays",
        "NoncurrentVersionTransitions",
        "Prefix",
        "Status",
        "TagFilters",
        "Transitions",
    }
    if rule.keys() - known:
        raise ResourceFailed(f"Encountered unsupported property LifecycleConfiguration/{sorted(rule.keys() - known)}")
    return wanted


def _transition(one: Properties, days: str) -> dict[str, Any]:
    wanted = without(one, "TransitionInDays")
    return wanted | ({days: one["TransitionInDays"]} if "TransitionInDays" in one else {})


def _logging(value: Any) -> dict[str, Any]:
    target = {"TargetBucket": value["DestinationBucketName"], "TargetPrefix": value.get("LogFilePrefix", "")}
    return {"BucketLoggingStatus": {"LoggingEnabled": target}}


def _notification(value: Any) -> dict[str, Any]:
    if value.keys() - {"EventBridgeConfiguration"}:
        raise ResourceFailed("Encountered unsupported property NotificationConfiguration other than EventBridge")
    return {"NotificationConfiguration": {"EventBridgeConfiguration": {}}}


# Property → operation, its parameters, the operation that takes it away again.
_SETTINGS: dict[str, tuple[str, Callable[[Any], dict[str, Any]], str | None]] = {
    "OwnershipControls": (
        "put_bucket_ownership_controls",
        lambda value: {"OwnershipControls": value},
        "delete_bucket_ownership_controls",
    ),
    "BucketEncryption": ("put_bucket_encryption", _encryption, "delete_bucket_encryption"),
    "VersioningConfiguration": ("put_bucket_versioning", lambda value: {"VersioningConfiguration": value}, None),
    "PublicAccessBlockConfiguration": (
        "put_public_access_block",
        lambda value: {"PublicAccessBlockConfiguration": value},
        "delete_public_access_block",
    ),
    "LifecycleConfiguration": ("put_bucket_lifecycle_configuration", _lifecycle, "delete_bucket_lifecycle"),
    "LoggingConfiguration": ("put_bucket_logging", _logging, None),
    "CorsConfiguration": (
        "put_bucket_cors",
        lambda value: {"CORSConfiguration": {"CORSRules": value["CorsRules"]}},
        "delete_bucket_cors",
    ),
    "NotificationConfiguration": ("put_bucket_notification_configuration", _notification, None),
}


class Bucket(Provider):
    """A bucket."""

    type_name = "AWS::S3::Bucket"

    def create(self, context: Context, properties: Properties) -> Made:
        """CreateBucket."""
        name = properties.get("BucketName") or context.name(63, lower=True)
        wanted: dict[str, Any] = {"Bucket": name}
        if context.region != "us-east-1":
            wanted["CreateBucketConfiguration"] = {"LocationConstraint": context.region}
        if "ObjectLockEnabled" in properties:
            wanted["ObjectLockEnabledForBucket"] = properties["ObjectLockEnabled"]
        if "AccessControl" in properties:
            wanted["ACL"] = _kebab(properties["AccessControl"])
        unknown = properties.keys() - {"BucketName", "ObjectLockEnabled", "AccessControl", "Tags", *_SETTINGS}
        if unknown:
            raise ResourceFailed(f"Encountered unsupported property {', '.join(sorted(unknown))}")
        context.call("s3", "create_bucket", wanted)
        domain = f"{name}.s3.{context.region}.amazonaws.com"
        return Made(
            name,
            {
                "Arn": f"arn:aws:s3:::{name}",
                "DomainName": f"{name}.s3.amazonaws.com",
                "RegionalDomainName": domain,
                "DualStackDomainName": f"{name}.s3.dualstack.{context.region}.amazonaws.com",
                "WebsiteURL": f"http://{name}.s3-website.{context.region}.amazonaws.com",
            },
        )

    def configure(self, context: Context, made: Made, old: Properties, new: Properties) -> Made:
        """Every setting that differs."""
        bucket = {"Bucket": made.physical_id}
        for name, (operation, parameters, undo) in _SETTINGS.items():
            if old.get(name) == new.get(name):
                continue
            if name in new:
                context.call("s3", operation, bucket | parameters(new[name]))
            elif undo is not None:
                context.try_delete("s3", undo, bucket)
            elif name == "VersioningConfiguration":
                context.call("s3", operation, bucket | {"VersioningConfiguration": {"Status": "Suspended"}})
        if old.get("Tags") != new.get("Tags"):
            if new.get("Tags"):
                context.call("s3", "put_bucket_tagging", bucket | {"Tagging": {"TagSet": tag_list(new)}})
            else:
                context.try_delete("s3", "delete_bucket_tagging", bucket)
        return made

    def update(self, context: Context, made: Made, old: Properties, new: Properties) -> Made:
        """All but the name changes in place."""
        if any(old.get(name) != new.get(name) for name in ("BucketName", "ObjectLockEnabled", "AccessControl")):
            raise NeedsReplacement
        return self.configure(context, made, old, new)

    def delete(self, context: Context, made: Made, properties: Properties) -> None:
        """DeleteBucket, which S3 refuses while anything is in it."""
        context.try_delete("s3", "delete_bucket", {"Bucket": made.physical_id})


def _kebab(name: str) -> str:
    return "".join(f"-{letter.lower()}" if letter.isupper() else letter for letter in name).lstrip("-")


class BucketPolicy(Provider):
    """The policy of a bucket."""

    type_name = "AWS::S3::BucketPolicy"

    def create(self, context: Context, properties: Properties) -> Made:
        """PutBucketPolicy."""
        wanted = {"Bucket": properties["Bucket"], "Policy": as_json(properties["PolicyDocument"])}
        context.call("s3", "put_bucket_policy", wanted)
        return Made(properties["Bucket"])

    def update(self, context: Context, made: Made, old: Properties, new: Properties) -> Made:
        """Another document, in place."""
        if old["Bucket"] != new["Bucket"]:
            raise NeedsReplacement
        self.create(context, new)
        return made

    def delete(self, context: Context, made: Made, properties: Properties) -> None:
        """DeleteBucketPolicy."""
        context.try_delete("s3", "delete_bucket_policy", {"Bucket": properties["Bucket"]})
