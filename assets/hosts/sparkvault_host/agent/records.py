"""What the agent writes down on its host: which swarm it is in, and how far it is in leaving."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sparkvault_host.agent.model import Drain, Membership

#: Survives reboots, as the engine's own state does.
LASTING = Path("/var/lib/sparkvault")
#: Gone after a reboot: then leaving begins anew, which does no harm.
PASSING = Path("/run/sparkvault")


class Records:
    """Small files, each replaced in one step, so that none is ever half written."""

    def __init__(self, lasting: Path = LASTING, passing: Path = PASSING) -> None:
        self._membership = lasting / "swarm.json"
        self._drain = passing / "drain.json"
        self._unhealthy = passing / "unhealthy"

    def membership(self) -> Membership | None:
        """Which swarm this host joined or is about to join."""
        found = _read(self._membership)
        return Membership(int(found["epoch"]), str(found["swarm_id"])) if found else None

    def write_membership(self, membership: Membership) -> None:
        """Before joining, so that a host never is in a swarm that it knows nothing of."""
        _write(self._membership, asdict(membership))

    def drain(self) -> Drain | None:
        """How far leaving has come; None while the host stays."""
        found = _read(self._drain)
        if not found:
            return None
        signalled = tuple(str(each) for each in found["signalled"])
        return Drain(float(found["started"]), float(found["deadline"]), signalled, bool(found["completed"]))

    def write_drain(self, drain: Drain) -> None:
        """After each step of leaving."""
        _write(self._drain, asdict(drain))

    def marked_unhealthy(self) -> bool:
        """Whether Auto Scaling was told to replace this host."""
        return self._unhealthy.exists()

    def mark_unhealthy(self, reason: str) -> None:
        """Auto Scaling was told."""
        _write(self._unhealthy, {"reason": reason})


def _read(file: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _write(file: Path, content: dict[str, Any]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    new = file.with_suffix(".new")
    with new.open("w", encoding="utf-8") as stream:
        json.dump(content, stream)
        stream.flush()
        os.fsync(stream.fileno())
    new.replace(file)
