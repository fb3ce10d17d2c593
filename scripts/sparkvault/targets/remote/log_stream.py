"""A job's output as it comes: the stream that the hosts ship it to, read from its start to the job's end."""

import time
from collections.abc import Callable, Iterator
from typing import Any

from botocore.exceptions import ClientError

from sparkvault.errors import SparkvaultError

POLL_SECONDS = 1.0

#: CloudWatch Logs shows what was written a little later; so long is waited for the rest once a job has ended.
SETTLE_SECONDS = 3.0


def job_stream(job_id: str) -> str:
    """Name of a job's log stream."""
    return f"jobs/{job_id}"


def follow(
    logs: Any, group: str, stream: str, has_ended: Callable[[], bool], pause: float = POLL_SECONDS
) -> Iterator[str]:
    """Line by line, from the start until the job has ended and everything is read. Raises SparkvaultError."""
    token: str | None = None
    settled_at: float | None = None
    while True:
        ended = has_ended()
        lines, token = _more(logs, group, stream, token)
        yield from lines
        if lines:
            settled_at = None
            continue
        if ended:
            settled_at = settled_at or time.monotonic() + SETTLE_SECONDS
            if time.monotonic() >= settled_at:
                return
        time.sleep(pause)


def last_lines(logs: Any, group: str, stream: str, count: int) -> list[str]:
    """The last lines of a stream. Raises SparkvaultError."""
    if count == 0:
        return []
    try:
        found = logs.get_log_events(
            logGroupName=group, logStreamName=stream, limit=min(count, 10_000), startFromHead=False
        )
    except ClientError as error:
        if error.response["Error"]["Code"] == "ResourceNotFoundException":
            return []
        raise _cannot_read(group, error) from error
    return [str(event["message"]).rstrip("\n") for event in found["events"]]


def _more(logs: Any, group: str, stream: str, token: str | None) -> tuple[list[str], str | None]:
    where: dict[str, Any] = {"logGroupName": group, "logStreamName": stream, "startFromHead": True}
    if token:
        where["nextToken"] = token
    try:
        found = logs.get_log_events(**where)
    except ClientError as error:
        # The stream is made with the job's first line.
        if error.response["Error"]["Code"] == "ResourceNotFoundException":
            return [], token
        raise _cannot_read(group, error) from error
    return [str(event["message"]).rstrip("\n") for event in found["events"]], found["nextForwardToken"]


def _cannot_read(group: str, error: ClientError) -> SparkvaultError:
    return SparkvaultError(f"log group {group} cannot be read: {error}", "use a role with the submitter policy")
