"""The output of a Swarm service, as the engine hands it out: lines with their times, in order."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timezone

from sparkvault_host.engine_api import EngineApi

#: Longest line that is passed on in one piece, in bytes (CloudWatch Logs takes 256 KiB with 26 bytes of overhead).
MAX_LINE_BYTES = 200_000

_HEADER = 8
_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?Z")


@dataclass(frozen=True)
class Line:
    """One line: nanoseconds since 1970 (UTC), and its text without the line end."""

    at: int
    text: str


def read_log(engine: EngineApi, service: str, after: int) -> list[Line]:
    """What the service has written after a time (nanoseconds since 1970), sorted by time. Raises EngineError."""
    since = f"{after // 10**9}.{after % 10**9:09d}"
    pieces = engine.stream(
        f"/services/{service}/logs", silence_seconds=20.0, stdout=True, stderr=True, timestamps=True, since=since
    )
    found = [line for line in lines_of(messages(pieces)) if line.at > after]
    return sorted(found, key=lambda line: line.at)


def messages(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The frames of a multiplexed stream (Engine API, "Attach to a container": eight bytes of header, big-endian)."""
    data = b""
    for piece in pieces:
        data += piece
        while len(data) >= _HEADER:
            size = int.from_bytes(data[4:_HEADER], "big")
            if len(data) < _HEADER + size:
                break
            yield data[_HEADER : _HEADER + size]
            data = data[_HEADER + size :]


def lines_of(frames: Iterable[bytes]) -> Iterator[Line]:
    """Frames begin with their time; long lines come in several frames and stay several lines."""
    for frame in frames:
        stamp, _, rest = frame.partition(b" ")
        found = _TIME.fullmatch(stamp.decode("ascii", "replace"))
        if not found:
            continue
        text = rest[:MAX_LINE_BYTES].decode("utf-8", "replace")
        yield Line(_nanoseconds(found.group(1), found.group(2) or "0"), text.rstrip("\r\n"))


def _nanoseconds(seconds: str, fraction: str) -> int:
    moment = datetime.strptime(seconds, "%Y-%m-%dT%H:%M:%S").replace(tzinfo=timezone.utc)
    return int(moment.timestamp()) * 10**9 + int(fraction.ljust(9, "0"))
