"""How many enclaves run on each host, as hosts report it."""

import time
from collections.abc import Iterable

from sparkvault.account import Account
from sparkvault.host_reports import host_reports
from sparkvault.targets.protocol import Component

#: Streams, one a host (assets/hosts/bin/report-enclaves).
STREAM_PREFIX = "enclaves/"
#: Hosts report every five minutes: whoever has been silent for three times as long is not well.
SILENT_SECONDS = 900


def enclave_components(account: Account, target: str, instances: Iterable[str]) -> list[Component]:
    """One component for each of these hosts: enclaves that run against those that should."""
    newest: dict[str, dict[str, object]] = {}
    for report in host_reports(account, target, STREAM_PREFIX, time.time() - SILENT_SECONDS):
        newest[str(report.get("instance"))] = report
    return [_component(instance, newest.get(instance)) for instance in instances]


def _component(instance: str, report: dict[str, object] | None) -> Component:
    if report is None:
        minutes = SILENT_SECONDS // 60
        return Component(instance, "enclave", "unknown", False, f"the host has said nothing for {minutes} minutes")
    wanted, running = report.get("wanted"), report.get("running")
    return Component(
        instance, "enclave", f"{running} of {wanted} running", running == wanted, str(report.get("last") or "")
    )
