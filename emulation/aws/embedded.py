"""`EmbeddedAws`: starts the emulated account as a process of its own, and leaves none behind."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from emulation.aws import client as clients
from emulation.aws.absent_engine import write_command
from emulation.aws.environment import sealed_environment
from sparkvault.errors import SparkvaultError

ACCOUNT_ID = "123456789012"  # the one account that moto has unless told otherwise
START_TIMEOUT_SECONDS = 60.0
STOP_TIMEOUT_SECONDS = 5.0
SIMULATED_NSM_ROOT = "simulated-nsm-root.pem"
NOT_RUNNING = "the embedded AWS is not running: use `with EmbeddedAws() as aws:` or call start()"
_ROOT = Path(__file__).resolve().parents[2]

Hosts = Literal["absent", "external"]


class EmbeddedAwsError(SparkvaultError):
    """The emulated account could not be started, or was used while it was not running."""


class EmbeddedAws:
    """An AWS account on a free loopback port.

    `hosts` says who sends the creation signals of Auto Scaling groups. With `"absent"` nothing boots the instances, and
    a stand-in inside the server reports success for each of them (and says so in its log and in the stack's events).
    With `"external"` nobody does but who calls `SignalResource`.

        with EmbeddedAws() as aws:
            subprocess.run([...], env=aws.environment())
            aws.client("ec2").describe_vpcs()
    """

    def __init__(self, *, region: str = "eu-central-1", hosts: Hosts = "absent", port: int = 0) -> None:
        if hosts not in ("absent", "external"):
            raise ValueError(f"hosts is {hosts!r}: it must be 'absent' or 'external'")
        self.region = region
        self.hosts: Hosts = hosts
        self.account_id = ACCOUNT_ID
        self._wanted_port = port
        self._port = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._private: Path | None = None
        self._session: Any = None

    # ------------------------------------------------------------------ life
    def start(self) -> EmbeddedAws:
        """Start the server and return when it answers; raises `EmbeddedAwsError` after 60 s or if it ends."""
        if self._process is not None:
            raise EmbeddedAwsError("the embedded AWS is already running: stop it first")
        self._private = Path(tempfile.mkdtemp(prefix="embedded-aws-"))
        write_command(self._private, _ROOT)
        # The child watches its standard input: the pipe closes when this process ends, however it ends.
        with (self._private / "server.log").open("wb") as log:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "emulation.aws.server"),
                    *("--port", str(self._wanted_port)),
                    *("--private", str(self._private)),
                    *("--hosts", self.hosts),
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=self._server_environment(),
                cwd=self._private,
                start_new_session=True,  # Ctrl-C in a terminal is ours to handle, not the server's
            )
        try:
            self._port = self._announced_port(self._process)
            self._wait_until_it_answers(self._process)
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """End the server and remove its folder; harmless when it is not running."""
        process, self._process = self._process, None
        self._session = None
        if process is not None:
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    with contextlib.suppress(OSError):
                        pipe.close()
            try:
                process.wait(STOP_TIMEOUT_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(STOP_TIMEOUT_SECONDS)
        if self._private is not None:
            shutil.rmtree(self._private, ignore_errors=True)
            self._private = None

    def __enter__(self) -> EmbeddedAws:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    # ------------------------------------------------------------------- use
    @property
    def endpoint(self) -> str:
        """`http://localhost:PORT`; the name matters: moto reads template addresses by it."""
        self._require_running()
        return f"http://localhost:{self._port}"

    @property
    def pid(self) -> int:
        """Process id of the server."""
        return self._require_running().pid

    @property
    def private_folder(self) -> Path:
        """The server's own folder (log, CDK cache); removed by `stop`."""
        if self._private is None:
            raise EmbeddedAwsError(NOT_RUNNING)
        return self._private

    def log(self) -> str:
        """What the server has logged so far."""
        return (self.private_folder / "server.log").read_text(errors="replace")

    def images_not_pushed(self) -> list[str]:
        """Names of the images that `cdk deploy` would have pushed if there were a container engine."""
        record = self.private_folder / "images-not-pushed"
        return sorted(set(record.read_text().split())) if record.exists() else []

    def trust_simulated_nsm(self, root_pem: bytes) -> None:
        """Let this account's KMS take documents under that root of `emulation.nsm`; by default it takes none."""
        (self.private_folder / SIMULATED_NSM_ROOT).write_bytes(root_pem)

    def environment(self, base: Mapping[str, str] | None = None) -> dict[str, str]:
        """Environment for a child process (default base: ours) from which no real AWS can be reached."""
        return sealed_environment(os.environ if base is None else base, self.endpoint, self.region, self.private_folder)

    def exports(self) -> dict[str, str]:
        """Only the variables that `environment` adds, for people who want to `export` them."""
        return self.environment({})

    def client(self, service: str, region: str | None = None) -> Any:
        """A boto3 client of this account, whatever credentials and profiles the caller has."""
        self._require_running()
        if self._session is None:
            self._session = clients.session(self.region)
        return clients.client(self._session, service, self.endpoint, region or self.region)

    # -------------------------------------------------------------- internals
    def _server_environment(self) -> dict[str, str]:
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "MOTO_"))}
        environment["PYTHONPATH"] = os.pathsep.join([str(_ROOT), environment.get("PYTHONPATH", "")]).rstrip(os.pathsep)
        environment["PYTHONUNBUFFERED"] = "1"
        return environment

    def _announced_port(self, process: subprocess.Popen[bytes]) -> int:
        pipe = process.stdout
        readable = select.select([pipe], [], [], START_TIMEOUT_SECONDS)[0] if pipe is not None else []
        line = pipe.readline().strip() if pipe is not None and readable else b""
        if not line.isdigit():
            raise self._did_not_start("announce its port")
        return int(line)

    def _wait_until_it_answers(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        while time.monotonic() < deadline and process.poll() is None:
            try:
                with opener.open(f"http://localhost:{self._port}/moto-api/", timeout=START_TIMEOUT_SECONDS) as answer:
                    if answer.status == 200:
                        return
            except OSError:
                time.sleep(0.05)
        raise self._did_not_start(f"answer at http://localhost:{self._port}")

    def _did_not_start(self, what: str) -> EmbeddedAwsError:
        tail = "\n".join(self.log().splitlines()[-15:])
        return EmbeddedAwsError(
            f"waited up to {START_TIMEOUT_SECONDS:.0f} s for the embedded AWS to {what}, in vain. Its log ends:\n{tail}"
        )

    def _require_running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise EmbeddedAwsError(NOT_RUNNING)
        return self._process
