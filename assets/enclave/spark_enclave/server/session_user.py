"""A user id of its own for every session, and the certainty that nothing runs under it before it is used again."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from pathlib import Path
from typing import Final

_ROUNDS: Final = 100
_PAUSE_SECONDS: Final = 0.05


class UserStillBusy(Exception):
    """Processes of a session's user cannot be ended; its id is not given out again."""


class SessionUsers:
    """Hands out user ids from `first_uid` on; without one (not root) every session runs as the broker's user."""

    def __init__(self, first_uid: int | None, most: int) -> None:
        self.separate = first_uid is not None and os.geteuid() == 0
        self._free = [(first_uid or 0) + index for index in range(most)] if self.separate else []

    def take(self) -> int | None:
        """A user id that nothing runs under, or None where sessions have none of their own."""
        return self._free.pop() if self.separate else None

    async def give_back(self, uid: int | None) -> None:
        """End what still runs under it; raises UserStillBusy after some seconds."""
        if uid is None:
            return
        for _ in range(_ROUNDS):
            running = _processes_of(uid)
            if not running:
                self._free.append(uid)
                return
            for process in running:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
            await asyncio.sleep(_PAUSE_SECONDS)
        raise UserStillBusy(f"processes of uid {uid} do not end")


def _processes_of(uid: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            if entry.name.isdigit() and entry.stat().st_uid == uid and _lives(entry):
                found.append(int(entry.name))
    return found


def _lives(process: Path) -> bool:
    # A zombie holds no memory and waits for its parent only.
    return (process / "stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()[0] not in "ZX"
