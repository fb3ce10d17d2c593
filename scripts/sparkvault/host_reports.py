"""What hosts say of themselves in the log group, as nobody can log in to them to look: JSON lines in their streams."""

import json
from collections.abc import Iterator

from botocore.exceptions import ClientError

from spark_constructs.naming import log_group_name
from sparkvault.account import Account


def host_reports(account: Account, target: str, stream_prefix: str, since: float) -> Iterator[dict[str, object]]:
    """The reports in those streams since then (Unix time), oldest first in each answer; none without the log group."""
    pages = account.client("logs").get_paginator("filter_log_events")
    try:
        for page in pages.paginate(
            logGroupName=log_group_name(account.deployment.cluster, target),
            logStreamNamePrefix=stream_prefix,
            startTime=int(since * 1000),
        ):
            for event in sorted(page["events"], key=lambda one: int(one["timestamp"])):
                yield _report(event["message"])
    except ClientError as error:
        if error.response["Error"]["Code"] != "ResourceNotFoundException":
            raise


def _report(message: str) -> dict[str, object]:
    try:
        report = json.loads(message)
    except ValueError:
        return {}
    return report if isinstance(report, dict) else {}
