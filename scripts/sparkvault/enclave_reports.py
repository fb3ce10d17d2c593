"""How many enclaves run on each host: hosts say so in the log group, as nobody can log in to them to look."""

import json
import time
from collections.abc import Iterable

from botocore.exceptions import ClientError

from spark_constructs.naming import log_group_name
from sparkvault.account import Account
from sparkvault.targets.protocol import Component

#: Streams, one a host (assets/hosts/bin/report-enclaves).
STREAM_PREFIX = "enclaves/"
#: Hosts report every five minutes: whoever has been silent for three times as long is not well.
SILENT_SECONDS = 900


def enclave_components(account: Account, target: str, instances: Iterable[str]) -> list[Component]:
    """One component for each of these hosts: enclaves that run against those that should."""
    newest: dict[str, dict[str, object]] = {}
    pages = account.client("logs").get_paginator("filter_log_events")
    try:
        for page in pages.paginate(
            logGroupName=log_group_name(account.deployment.cluster, target),
            logStreamNamePrefix=STREAM_PREFIX,
            startTime=int((time.time() - SILENT_SECONDS) * 1000),
        ):
            for event in sorted(page["events"], key=lambda one: int(one["timestamp"])):
                report = _report(event["message"])
                newest[str(report.get("instance"))] = report
    except ClientError as error:
        if error.response["Error"]["Code"] != "ResourceNotFoundException":
            raise
    return [_component(instance, newest.get(instance)) for instance in instances]


def _component(instance: str, report: dict[str, object] | None) -> Component:
    if report is None:
        minutes = SILENT_SECONDS // 60
        return Component(instance, "enclave", "unknown", False, f"the host has said nothing for {minutes} minutes")
    wanted, running = report.get("wanted"), report.get("running")
    return Component(
        instance, "enclave", f"{running} of {wanted} running", running == wanted, str(report.get("last") or "")
    )


def _report(message: str) -> dict[str, object]:
    try:
        report = json.loads(message)
    except ValueError:
        return {}
    return report if isinstance(report, dict) else {}
