"""What a host that is given up has said last, sent to where people find it once the host is gone."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable

from sparkvault_host.aws_cli import AwsError
from sparkvault_host.identity import HostIdentity
from sparkvault_host.launcher.log_stream import Line, LogStream

#: Whose journals, and how many of their newest lines together.
UNITS = ("sparkvault-agent", "sparkvault-broker", "sparkvault-jobs", "docker", "containerd")
JOURNAL_LINES = 300
_JOURNAL_SECONDS = 20.0


def stream_name(instance: str) -> str:
    """Name of a host's stream."""
    return f"hosts/{instance}"


def journal() -> list[str]:
    """The newest lines of those units, oldest first; none where there is no journal."""
    units = [f"--unit={unit}" for unit in UNITS]
    command = ["journalctl", "--boot", "--no-pager", "--output=short-iso", f"--lines={JOURNAL_LINES}", *units]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_JOURNAL_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return done.stdout.splitlines()


def leave(identity: HostIdentity, reason: str, read: Callable[[], list[str]] = journal) -> None:
    """Send the reason and the journals. What fails here keeps nobody from being replaced."""
    if not identity.log_group:
        return
    now = time.time_ns()
    lines = [f"{identity.instance} is given up: {reason}", *read()]
    try:
        LogStream(identity.log_group, stream_name(identity.instance)).write([Line(now, text) for text in lines])
    except AwsError as error:
        print(f"agent: the journals were not sent: {error}", flush=True)
