"""Why hosts failed to boot: they say so in the log group before they signal, as a signal carries no reason."""

from datetime import datetime

from spark_constructs.naming import BOOT_STREAM_PREFIX
from sparkvault.account import Account
from sparkvault.host_reports import host_reports

#: How many hosts an error names; the first failures tell what is wrong.
SHOWN_HOSTS = 5


def boot_failures(account: Account, target: str, since: datetime) -> list[str]:
    """``<instance>: <reason>`` of hosts of a target that have failed to boot since then, at most five, oldest first.

    Empty where the log group is not there, or none failed.
    """
    failed = (
        f"{report.get('instance')}: {report.get('reason')}"
        for report in host_reports(account, target, BOOT_STREAM_PREFIX, since.timestamp())
        if report.get("boot") == "FAILURE"
    )
    return list(failed)[:SHOWN_HOSTS]
