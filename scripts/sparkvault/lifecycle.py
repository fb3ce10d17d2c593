"""What deploy and destroy do around the CDK: data, protection, what stays behind."""

from collections.abc import Iterable
from contextlib import suppress

from sparkvault.account import Account
from sparkvault.console import Progress


def lift_protection(account: Account, names: Iterable[str]) -> None:
    """Switch termination protection off, which a confirmed destroy may do and a slip in a console may not."""
    for name in names:
        if account.stack(name) is not None:
            account.client("cloudformation").update_termination_protection(
                StackName=name, EnableTerminationProtection=False
            )


def empty_buckets(account: Account, names: Iterable[str], progress: Progress) -> None:
    """Delete all objects, versions and markers in the buckets of these stacks, so that the buckets can be deleted."""
    s3 = account.client("s3")
    buckets = [bucket for stack in names for bucket in resources_of(account, stack, "AWS::S3::Bucket")]
    for bucket in buckets:
        # Emptying a bucket is an access that is logged, into a bucket that is to be emptied too.
        with suppress(s3.exceptions.NoSuchBucket):
            s3.put_bucket_logging(Bucket=bucket, BucketLoggingStatus={})
    for bucket in buckets:
        progress(f"emptying bucket {bucket}")
        with suppress(s3.exceptions.NoSuchBucket):
            for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
                found = [*page.get("Versions", []), *page.get("DeleteMarkers", [])]
                keys = [{"Key": item["Key"], "VersionId": item["VersionId"]} for item in found]
                if keys:
                    s3.delete_objects(Bucket=bucket, Delete={"Objects": keys, "Quiet": True})


def resources_of(account: Account, stack: str, kind: str) -> list[str]:
    """Physical names of a deployed stack's resources of one type; none where the stack is not there."""
    if account.stack(stack) is None:
        return []
    pages = account.client("cloudformation").get_paginator("list_stack_resources").paginate(StackName=stack)
    return [
        summary["PhysicalResourceId"]
        for page in pages
        for summary in page["StackResourceSummaries"]
        if summary["ResourceType"] == kind and summary["ResourceStatus"] != "DELETE_COMPLETE"
    ]
