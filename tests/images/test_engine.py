"""The engine for tests runs as long as anybody holds a lease, and no longer."""

import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from emulation.engine import Engine, engine_lease
from emulation.engine.home import EngineHome

LESSEE = """
import sys, time
from pathlib import Path
from emulation.engine import engine_lease
from emulation.engine.home import EngineHome
with engine_lease(EngineHome(Path(sys.argv[1]))):
    print("leased", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def home(engine: Engine) -> Iterator[EngineHome]:
    """Another engine's folder; a short path, as sockets lie in it. It asks for `engine` to be skipped with it."""
    root = Path(tempfile.mkdtemp(prefix="engine-"))
    yield EngineHome(root)
    shutil.rmtree(root, ignore_errors=True)


def test_it_ends_after_its_last_lessee_even_one_that_was_killed(home: EngineHome) -> None:
    with subprocess.Popen([sys.executable, "-c", LESSEE, str(home.root)], stdout=subprocess.PIPE, text=True) as lessee:
        assert lessee.stdout is not None
        assert lessee.stdout.readline() == "leased\n"
        with engine_lease(home) as engine:
            assert engine.client().ping()
            lessee.send_signal(signal.SIGKILL)
            lessee.wait(20)
            assert engine.client().ping()
        assert home.keeper_alive()
    ended = [
        process for process in psutil.process_iter(["cmdline"]) if str(home.data) in (process.info["cmdline"] or [])
    ]
    _, left = psutil.wait_procs(ended, timeout=90)
    assert left == []
    deadline = time.monotonic() + 30
    while home.keeper_alive() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not home.keeper_alive()
    assert not home.live_lessees()
