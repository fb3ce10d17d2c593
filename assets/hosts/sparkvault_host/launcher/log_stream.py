"""Streams of the cluster's log group: what a job's driver writes, what a host said last."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sparkvault_host.aws_cli import AwsError, aws

#: Longest line that is passed on in one piece, in bytes (CloudWatch Logs takes 256 KiB with 26 bytes of overhead).
MAX_LINE_BYTES = 200_000

#: Limits of one PutLogEvents (CloudWatch Logs API reference).
MAX_EVENTS = 10_000
MAX_BATCH_BYTES = 1_000_000
EVENT_OVERHEAD_BYTES = 26


def stream_name(job_id: str) -> str:
    """Name of a job's stream."""
    return f"jobs/{job_id}"


@dataclass(frozen=True)
class Line:
    """One line: nanoseconds since 1970 (UTC), and its text without the line end."""

    at: int
    text: str


class LogStream:
    """One stream of the log group, made when there is something to write. Methods raise AwsError."""

    def __init__(self, group: str, name: str) -> None:
        self._group = group
        self._name = name
        self._made = False

    def write(self, lines: list[Line]) -> None:
        """Append the lines."""
        if lines and not self._made:
            self._make()
        for batch in batches(lines):
            events = [{"timestamp": line.at // 10**6, "message": line.text or " "} for line in batch]
            aws(
                "logs",
                "put-log-events",
                secret_input={"logGroupName": self._group, "logStreamName": self._name, "logEvents": events},
            )

    def _make(self) -> None:
        try:
            aws("logs", "create-log-stream", "--log-group-name", self._group, "--log-stream-name", self._name)
        except AwsError as error:
            if error.code != "ResourceAlreadyExistsException":
                raise
        self._made = True


def batches(lines: list[Line]) -> Iterator[list[Line]]:
    """The lines in as few calls as the limits allow."""
    batch: list[Line] = []
    size = 0
    for line in lines:
        weight = len((line.text or " ").encode("utf-8")) + EVENT_OVERHEAD_BYTES
        if batch and (len(batch) == MAX_EVENTS or size + weight > MAX_BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(line)
        size += weight
    if batch:
        yield batch
