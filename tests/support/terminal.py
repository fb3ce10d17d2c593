"""A program on a terminal of its own, which can be typed at, read, and closed as a window is."""

import fcntl
import os
import re
import select
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path
from types import TracebackType
from typing import Self

ROWS, COLUMNS = 40, 200


class Terminal:
    """Runs a program with a pseudo-terminal as its controlling terminal."""

    def __init__(
        self, command: list[str], environment: dict[str, str] | None = None, folder: Path | None = None
    ) -> None:
        self.shown = ""
        self._ours, theirs = os.openpty()
        # A window has a size; line editors do not work in one of none.
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        self.process = subprocess.Popen(
            command,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            cwd=folder,
            env={"PYTHONPATH": os.pathsep.join(sys.path), **os.environ, "TERM": "dumb", **(environment or {})},
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(theirs)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(timeout=30)

    def write(self, text: str) -> None:
        """Type."""
        os.write(self._ours, text.encode())

    def read_until(self, text: str, seconds: float = 90.0) -> None:
        """Read until the text has been shown."""
        deadline = time.monotonic() + seconds
        while text not in self.shown:
            assert time.monotonic() < deadline, f"waited for {text!r}; so far: {self.shown}"
            assert self._read(), f"the terminal was closed before {text!r}; so far: {self.shown}"

    def exit_code(self, seconds: float = 90.0) -> int:
        """Read on until the program ends."""
        deadline = time.monotonic() + seconds
        while self.process.poll() is None:
            assert time.monotonic() < deadline, f"waited for the end; so far: {self.shown}"
            self._read()
        while self._read():
            pass
        return self.process.returncode

    def close(self) -> None:
        """Close the window: the kernel sends SIGHUP to what runs in it."""
        if self._ours >= 0:
            os.close(self._ours)
            self._ours = -1

    def _read(self) -> bool:
        ready, _, _ = select.select([self._ours], [], [], 0.1)
        if not ready:
            return self.process.poll() is None
        try:
            data = os.read(self._ours, 65536)
        except OSError:
            return False
        # Terminals behind terminals add carriage returns of their own; one alone draws a line again.
        self.shown = re.sub("\r+\n", "\n", self.shown + data.decode(errors="replace"))
        return bool(data)
