"""Why hosts failed to boot: they say so in the log group before they signal, as a signal carries no reason."""

import json
from datetime import datetime

from botocore.exceptions import ClientError

from spark_constructs.naming import BOOT_STREAM_PREFIX, log_group_name
from sparkvault.account import Account

#: How many hosts an error names; the first failures tell what is wrong.
SHOWN_HOSTS = 5


def boot_failures(account: Account, target: str, since: datetime) -> list[str]:
    """``<instance>: <reason>`` of hosts of a target that have failed to boot since then, at most five, oldest first.

    Empty where the log group is not there, or none failed.
    """
    pages = account.client("logs").get_paginator("filter_log_events")
    found: list[str] = []
    try:
        for page in pages.paginate(
            logGroupName=log_group_name(account.deployment.cluster, target),
            logStreamNamePrefix=BOOT_STREAM_PREFIX,
            startTime=int(since.timestamp() * 1000),
        ):
            for event in page["events"]:
                report = _report(event["message"])
                if report.get("boot") == "FAILURE":
                    found.append(f"{report.get('instance')}: {report.get('reason')}")
    except ClientError as error:
        if error.response["Error"]["Code"] != "ResourceNotFoundException":
            raise
    return found[:SHOWN_HOSTS]


def _report(message: str) -> dict[str, object]:
    try:
        report = json.loads(message)
    except ValueError:
        return {}
    return report if isinstance(report, dict) else {}
