"""A simulated enclave for the length of a `with` block, or from `up` to `down`."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

import psutil

if TYPE_CHECKING:
    from spark_enclave.client import Trust

_START_SECONDS: Final = 900.0
_STOP_SECONDS: Final = 30.0
#: In memory, as an enclave's whole file system is, and reachable by the sessions' own users.
_MEMORY: Final = Path("/dev/shm")  # noqa: S108
#: In that folder: which process it belongs to.
_OWNER: Final = "owner.json"


class EnclaveDidNotStart(Exception):
    """The server ended before it listened; the message says where its log lies."""


class SimulatedEnclave:
    """One server process. `folder` holds its socket, its simulated root and what it measures as; it is made if missing.

    `worker`: another command than the session JVM (for tests); `settings`: fields of `Settings` that differ.
    `stays`: whether it goes on after this process. `code`: a folder with another `spark_enclave` to run and measure.
    """

    def __init__(
        self,
        folder: Path,
        *,
        heap_mib: int = 1024,
        sessions: int = 1,
        worker: Sequence[str] | None = None,
        settings: Mapping[str, object] | None = None,
        debug_mode: bool = False,
        stays: bool = False,
        code: Path | None = None,
    ) -> None:
        self.folder = folder
        self.address = f"unix:{folder / 'enclave.sock'}"
        self.root = folder / "nsm" / "root.pem"
        self.measurements = folder / "measurements.json"
        self.log = folder / "enclave.log"
        self.parent = folder / "parent"
        """Where the host's side of it (`parent_host.HostSide`) listens, if there is one."""
        self.scratch = _MEMORY / f"sparkvault-{os.getpid()}-{id(self):x}"
        self._options = [
            *("--folder", str(folder), "--heap-mib", str(heap_mib), "--sessions", str(sessions)),
            *("--scratch", str(self.scratch), "--settings", json.dumps(dict(settings or {}))),
            *(("--worker", json.dumps(list(worker))) if worker else ()),
            *(("--debug-mode",) if debug_mode else ()),
        ]
        self._stays, self._code = stays, code
        if not stays:
            self._options.append("--with-parent")
        self.process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Returns when it listens; raises EnclaveDidNotStart."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _remove_what_killed_ones_left()
        with self.log.open("a", encoding="utf-8") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "emulation.enclave", "serve", *self._options],
                stdin=subprocess.DEVNULL if self._stays else subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
                env=self._environment(),
            )
        values = {"pid": self.process.pid, "started": psutil.Process(self.process.pid).create_time()}
        self.scratch.mkdir(mode=0o755, exist_ok=True)
        (self.scratch / _OWNER).write_text(json.dumps(values), encoding="utf-8")
        watchdog = threading.Timer(_START_SECONDS, self.process.kill)
        watchdog.start()
        assert self.process.stdout is not None  # noqa: S101 (asked for as a pipe)
        line = self.process.stdout.readline()
        watchdog.cancel()
        if line != "ready\n":
            self.process.wait(_STOP_SECONDS)
            last = self.log.read_text(encoding="utf-8").strip().splitlines()[-1:]
            raise EnclaveDidNotStart(f"The simulated enclave did not start: {''.join(last)} (see {self.log}).")
        (self.folder / "enclave.json").write_text(
            json.dumps({**values, "scratch": str(self.scratch)}), encoding="utf-8"
        )

    def stop(self) -> None:
        """End it and all of its sessions."""
        if self.process is not None:
            _end(psutil.Process(self.process.pid) if self.process.poll() is None else None)
            self.process.wait(_STOP_SECONDS)
            for pipe in (self.process.stdin, self.process.stdout):
                if pipe is not None:
                    pipe.close()
        shutil.rmtree(self.scratch, ignore_errors=True)
        (self.folder / "enclave.json").unlink(missing_ok=True)

    def _environment(self) -> dict[str, str]:
        environment = {**os.environ, "GRPC_ENABLE_FORK_SUPPORT": "false"}
        if self._code is not None:
            environment["PYTHONPATH"] = str(self._code)
        return environment

    def trust(self) -> Trust:
        """What a client must say explicitly to believe this simulation."""
        # Here, so that the server's own process has nothing of the client in its memory.
        from spark_enclave.attestation import MeasurementPolicy, TrustAnchor
        from spark_enclave.client import Trust

        return Trust(MeasurementPolicy.from_file(self.measurements), TrustAnchor.simulated(self.root.read_bytes()))


def stop(folder: Path) -> None:
    """End the one that `up` started in that folder, if it runs."""
    record = folder / "enclave.json"
    with contextlib.suppress(OSError, ValueError, KeyError, psutil.NoSuchProcess):
        values = json.loads(record.read_text(encoding="utf-8"))
        process = psutil.Process(values["pid"])
        if process.create_time() == values["started"]:
            _end(process)
        shutil.rmtree(values["scratch"], ignore_errors=True)
    record.unlink(missing_ok=True)


def _remove_what_killed_ones_left() -> None:
    """A process that is killed removes nothing, and what it left takes memory."""
    for owner in _MEMORY.glob(f"sparkvault-*/{_OWNER}"):
        with contextlib.suppress(OSError, ValueError, KeyError):
            values = json.loads(owner.read_text(encoding="utf-8"))
            try:
                alive = psutil.Process(values["pid"]).create_time() == values["started"]
            except psutil.NoSuchProcess:
                alive = False
            if not alive:
                shutil.rmtree(owner.parent, ignore_errors=True)


def _end(process: psutil.Process | None) -> None:
    if process is None:
        return
    children = process.children(recursive=True)
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(_STOP_SECONDS)
    except psutil.TimeoutExpired:
        process.kill()
    _, alive = psutil.wait_procs(children, timeout=5)
    for child in alive:
        with contextlib.suppress(psutil.NoSuchProcess):
            child.kill()
