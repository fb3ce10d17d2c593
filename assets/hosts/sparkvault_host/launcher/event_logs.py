"""Hands event logs of ended jobs to the history server: jobs write their own folder, and read nobody else's."""

from __future__ import annotations

import re
from urllib.parse import quote

from sparkvault_host.agent.services import EVENT_LOGS as PUBLISHED
from sparkvault_host.aws_cli import aws
from sparkvault_host.launcher.cluster import EVENT_LOGS

#: Most files of one job that are taken: each holds 128 MiB (``spark.eventLog.rolling.maxFileSize``).
MAX_FILES = 1000

#: A file of a rolling log, as Spark names it: events in order, and the state of its application.
_FILE = re.compile(
    r"eventlog_v2_(?P<log>[A-Za-z0-9._-]{1,128})/(?P<file>(events_[0-9]{1,6}_|appstatus_)[A-Za-z0-9._-]{1,160})"
)


def publish(bucket: str, job_id: str) -> int:
    """Copy what the job has left to the history server's folder; returns how many files. Raises AwsError.

    Names get the job's id: whatever a job calls its logs, they are never those of another job.
    """
    folder = f"jobs/{job_id}/{EVENT_LOGS}/"
    query = ("--bucket", bucket, "--prefix", folder, "--max-items", str(MAX_FILES))
    found = (aws("s3api", "list-objects-v2", *query) or {}).get("Contents") or []
    copied = 0
    for each in found:
        match = _FILE.fullmatch(str(each["Key"])[len(folder) :])
        if match is None:
            continue
        key = f"{PUBLISHED}/eventlog_v2_{job_id}-{match['log']}/{match['file']}"
        source = quote(f"{bucket}/{each['Key']}")
        # No tags are copied: reading them would be one more thing that managers may do.
        aws(
            *("s3api", "copy-object", "--bucket", bucket, "--key", key),
            *("--copy-source", source, "--tagging-directive", "REPLACE"),
        )
        copied += 1
    return copied
