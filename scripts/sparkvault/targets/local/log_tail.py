"""The end of a log, the log as it grows, and the line in it that says what went wrong."""

import re
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

POLL_SECONDS = 0.1

#: `ValueError: no such column`, `java.net.BindException: …`, `Caused by: …`, `ERROR Master: …`
_FAILURE = re.compile(
    r"^(?:Caused by: |Exception in thread \"[^\"]*\" )?(?:[\w$]+\.)*[A-Z][\w$]*(?:Error|Exception|Interrupt|Exit)\b.*"
    r"|^(?:Error|error|ERROR|Exception)\b.*"
)
_LOGGED_FAILURE = re.compile(r"^[-0-9/]+ [0-9:]+ (?:ERROR|FATAL) .*")
_WARNING = re.compile(r"^WARNING: |^[-0-9/]+ [0-9:]+ WARN ")
_MAX_REASON = 400
#: Bytes at a log's end in which its reason for ending is looked for.
_TAIL_BYTES = 64 * 1024


def reason_in(path: Path) -> str:
    """The line of a log that says best why its program ended."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _TAIL_BYTES))
            lines = [line.rstrip() for line in file.read().decode("utf-8", errors="replace").splitlines()]
    except OSError:
        return "it left no log"
    for pattern in (_FAILURE, _LOGGED_FAILURE):
        failures = [line for line in lines if pattern.match(line)]
        if failures:
            return failures[-1][:_MAX_REASON]
    spoken = [line for line in lines if line.strip() and not _WARNING.match(line)]
    return spoken[-1].strip()[:_MAX_REASON] if spoken else "it said nothing"


def grow(path: Path, ended: Callable[[], bool]) -> Iterator[str]:
    """The lines of a file from its start and as they are written, until ``ended`` and all of it is read."""
    while not path.exists():
        if ended():
            return
        time.sleep(POLL_SECONDS)
    with path.open("rb") as file:
        reader = _LineReader(file)
        while True:
            last = ended()  # asked before reading: what was written before it ended is still read
            yield from reader.complete()
            if last:
                yield from reader.rest()
                return
            time.sleep(POLL_SECONDS)


def tail(logs: Mapping[str, Path], lines: int, ended: Callable[[], bool]) -> Iterator[tuple[str, str]]:
    """The last lines of several files, then those written later until ``ended``: pairs of name and line."""
    readers: dict[str, _LineReader] = {}
    with ExitStack() as stack:
        for name, path in logs.items():
            file = stack.enter_context(path.open("rb"))
            readers[name] = _LineReader(file)
            # Read up to the end of now, so that no line falls between this part and the next.
            for line in deque(readers[name].complete(), maxlen=lines):
                yield name, line
        while True:
            last = ended()
            for name, reader in readers.items():
                for line in reader.complete():
                    yield name, line
            if last:
                for name, reader in readers.items():
                    yield from ((name, line) for line in reader.rest())
                return
            time.sleep(POLL_SECONDS)


class _LineReader:
    """Cuts what a file holds by now into lines."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._begun = b""

    def complete(self) -> Iterator[str]:
        """Lines that are there with their end."""
        while chunk := self._file.read(64 * 1024):
            *whole, self._begun = (self._begun + chunk).split(b"\n")
            for line in whole:
                yield _text(line)

    def rest(self) -> Iterator[str]:
        """The last line, if it has no end."""
        if self._begun:
            yield _text(self._begun)
            self._begun = b""


def _text(line: bytes) -> str:
    return line.rstrip(b"\r").decode("utf-8", errors="replace")
