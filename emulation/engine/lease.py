"""Leases on the engine: the first one starts it, the others join, and after the last one it ends."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from filelock import Timeout

from emulation.engine.capability import check_machine
from emulation.engine.daemon import Engine
from emulation.engine.errors import EngineError
from emulation.engine.home import EngineHome

#: Seconds until a dockerd that starts answers: about one on an idle machine.
START_TIMEOUT_SECONDS = 90.0
#: Seconds that another start or stop may take.
LOCK_TIMEOUT_SECONDS = 180.0


@contextlib.contextmanager
def engine_lease(home: EngineHome | None = None) -> Iterator[Engine]:
    """The machine's engine, running as long as anybody is in here.

    A process that dies gives its leases back. When the last one is gone, all containers end with the engine; images
    stay. Raises EngineMissing where this machine cannot run one, EngineError where it does not start.
    """
    home = home or EngineHome.default()
    lessee = acquire(home)
    try:
        yield Engine(home)
    finally:
        lessee.unlink(missing_ok=True)


def acquire(home: EngineHome, *, held: bool = False) -> Path:
    """Take a lease: the file whose removal gives it back. Raises EngineMissing, EngineError."""
    check_machine()
    home.prepare()
    with _locked(home):
        lessee = home.add_lessee(held=held)
        try:
            if not home.keeper_alive():
                _start(home)
        except BaseException:
            lessee.unlink(missing_ok=True)
            raise
    return lessee


@contextlib.contextmanager
def _locked(home: EngineHome) -> Iterator[None]:
    try:
        with home.lock().acquire(timeout=LOCK_TIMEOUT_SECONDS):
            yield
    except Timeout as error:
        raise EngineError(
            f"the engine of {home.root} has been starting or stopping for {LOCK_TIMEOUT_SECONDS:.0f} s",
            f"look into {home.log}",
        ) from error


def _start(home: EngineHome) -> None:
    """Start the keeper, which starts dockerd; returns when it answers."""
    home.keeper.unlink(missing_ok=True)
    root = Path(__file__).resolve().parents[2]
    with home.log.open("wb") as log:
        keeper = subprocess.Popen(
            [sys.executable, "-P", "-m", "emulation.engine.keeper", str(home.root)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=root,
            env=_keeper_environment(root),
            start_new_session=True,
        )
    deadline = time.monotonic() + START_TIMEOUT_SECONDS
    while not home.keeper.exists():
        if keeper.poll() is not None:
            raise EngineError(f"dockerd did not start: {_last_words(home)}", f"its log is {home.log}")
        if time.monotonic() > deadline:
            keeper.terminate()
            raise EngineError(f"dockerd did not answer within {START_TIMEOUT_SECONDS:.0f} s", f"its log is {home.log}")
        time.sleep(0.05)


def _keeper_environment(root: Path) -> dict[str, str]:
    """Nothing of the first lessee's environment: the engine outlives it and serves others."""
    return {
        "PATH": "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin",
        "HOME": str(Path.home()),
        "PYTHONPATH": f"{root}:{root / 'scripts'}:{root / 'constructs'}",
    }


def _last_words(home: EngineHome) -> str:
    lines = home.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    telling = [line for line in lines if "level=fatal" in line or "failed" in line or "Error" in line]
    return (telling or lines or ["it said nothing"])[-1]
