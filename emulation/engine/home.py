"""Where the engine keeps what it has, and who holds a lease on it."""

from __future__ import annotations

import contextlib
import json
import os
import uuid
from dataclasses import dataclass
from pathlib import Path

import psutil
from filelock import FileLock

from emulation.engine.errors import EngineError

#: Names another folder than `~/.cache/sparkvault/engine`.
HOME_VARIABLE = "SPARKVAULT_ENGINE_HOME"
#: Longest path of a Unix socket, unix(7); containerd's own is `run/exec/containerd/containerd.sock.ttrpc`.
_LONGEST_HOME = 107 - len("/run/exec/containerd/containerd.sock.ttrpc")


@dataclass(frozen=True)
class EngineHome:
    """The folder of one engine."""

    root: Path

    @classmethod
    def default(cls) -> EngineHome:
        """The folder that `SPARKVAULT_ENGINE_HOME` names, or the one in the user's cache. Raises EngineError."""
        given = os.environ.get(HOME_VARIABLE)
        root = Path(given).resolve() if given else Path.home() / ".cache" / "sparkvault" / "engine"
        if len(str(root)) > _LONGEST_HOME:
            raise EngineError(
                f"{root} is too long a path for the engine's sockets (at most {_LONGEST_HOME} characters)",
                f"set {HOME_VARIABLE} to a shorter one",
            )
        return cls(root)

    @property
    def run(self) -> Path:
        """What lasts as long as the engine runs."""
        return self.root / "run"

    @property
    def socket(self) -> Path:
        """The Engine API."""
        return self.run / "docker.sock"

    @property
    def data(self) -> Path:
        """Images, containers and volumes."""
        return self.root / "data"

    @property
    def log(self) -> Path:
        """What dockerd says."""
        return self.root / "dockerd.log"

    @property
    def keeper(self) -> Path:
        """Which process keeps the engine."""
        return self.run / "keeper.json"

    @property
    def lessees(self) -> Path:
        """One file for each lease."""
        return self.root / "lessees"

    def prepare(self) -> None:
        """Make the folders; only their owner may look into them: who reaches the socket is root."""
        for folder in (self.root, self.run, self.lessees, self.data):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def lock(self, what: str = "engine") -> FileLock:
        """Held by whoever starts, stops or counts leases, or makes the image named ``what``."""
        return FileLock(self.root / f"{what}.lock")

    def add_lessee(self, *, held: bool = False) -> Path:
        """Put a lease of this process on record, or with ``held`` one that lasts until it is given back by name."""
        path = self.held if held else self.lessees / f"{os.getpid()}-{uuid.uuid4().hex[:8]}.json"
        path.write_text("{}" if held else json.dumps(process_identity(os.getpid())), encoding="utf-8")
        return path

    @property
    def held(self) -> Path:
        """The lease that belongs to no process: `python -m emulation.engine up`."""
        return self.lessees / "held.json"

    def live_lessees(self) -> list[str]:
        """Names of the leases whose holder still runs; those of the dead are removed."""
        alive = []
        for path in sorted(self.lessees.glob("*.json")):
            if path == self.held or is_alive(_read(path)):
                alive.append(path.stem)
            else:
                path.unlink(missing_ok=True)
        return alive

    def keeper_alive(self) -> bool:
        """Whether the process that keeps the engine runs."""
        return is_alive(_read(self.keeper))


def process_identity(pid: int) -> dict[str, float]:
    """What tells this process from a later one with its number."""
    return {"pid": pid, "created": psutil.Process(pid).create_time()}


def is_alive(identity: dict[str, float] | None) -> bool:
    """Whether the process of that identity runs."""
    if not identity:
        return False
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(int(identity["pid"]))
        same = abs(process.create_time() - identity["created"]) < 1
        return same and process.status() != psutil.STATUS_ZOMBIE
    return False


def _read(path: Path) -> dict[str, float] | None:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and {"pid", "created"} <= found.keys() else None
