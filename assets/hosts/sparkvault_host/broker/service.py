"""What the broker answers: to containers over HTTP, to root on this host over a Unix socket."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import socketserver
import struct
import sys
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from sparkvault_host.broker.keys import ClusterKeys
from sparkvault_host.broker.sessions import Sessions
from sparkvault_host.broker.sources import Source, Sources
from sparkvault_host.broker.tokens import LIFETIME_SECONDS, Claim, RefusedTokenError, key_id_of, sign, verify
from sparkvault_host.errors import HostError

#: SDKs take credentials over plain HTTP from this address (besides 169.254.170.2 and the loopback); it is on this host,
#: and packets to it never leave it. AWS SDK reference guide, "Container credential provider".
ADDRESS = "169.254.170.23"
PORT = 80
PATH = "/v1/credentials"

SOCKET = Path("/run/sparkvault/broker.sock")

#: Seconds that a client may take to say what it wants, and requests that are answered at once.
PATIENCE_SECONDS = 10.0
AT_ONCE = 64


class Broker:
    """Issues tokens, and gives credentials for them."""

    def __init__(
        self,
        keys: ClusterKeys,
        sources: Callable[[str], Source | None],
        sessions: Sessions,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._keys = keys
        self._source_at = sources
        self._sessions = sessions
        self._clock = clock

    def issue(self, job: str, tenant: str) -> str:
        """A token for a job of a tenant. Raises HostError: no such tenant, no key yet, AWS does not answer."""
        if self._keys.role(tenant) is None:
            raise RefusedTokenError(f"there is no tenant {tenant!r}")
        key_id, key = next(iter(self._keys.keys().items()))
        return sign(Claim(job, tenant, int(self._clock()) + LIFETIME_SECONDS), key_id, key)

    def credentials(self, token: str, address: str) -> dict[str, str]:
        """What the container at this address gets for this token. Raises HostError."""
        claim = verify(token, self._keys.keys(key_id_of(token)), self._clock())
        source = self._source_at(address)
        if source is None or not source.may_use(claim):
            raise RefusedTokenError(f"the token of job {claim.job} came from {address}, which is not its container")
        role = self._keys.role(claim.tenant)
        if role is None:
            raise RefusedTokenError(f"tenant {claim.tenant} is no more")
        return dict(self._sessions.credentials(claim, role))


class CredentialsServer(ThreadingHTTPServer):
    """The container credentials endpoint."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, broker: Broker, address: tuple[str, int] = (ADDRESS, PORT)) -> None:
        self.broker = broker
        self._turns = threading.BoundedSemaphore(AT_ONCE)
        super().__init__(address, _Credentials)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """One of a bounded number at once: a container that opens many connections waits for itself."""
        with self._turns:
            super().process_request_thread(request, client_address)


class _Credentials(BaseHTTPRequestHandler):
    timeout = PATIENCE_SECONDS
    server: CredentialsServer

    def do_GET(self) -> None:
        """200 with credentials; 401 for whoever should have none, without a word why; 503 where AWS is at fault."""
        token = (self.headers.get("Authorization") or "").strip()
        address = str(self.client_address[0])
        if self.path != PATH:
            self._answer(404, {"message": "there is nothing here"})
            return
        try:
            self._answer(200, self.server.broker.credentials(token, address))
        except RefusedTokenError as error:
            print(f"broker: refused {address}: {error}", flush=True)
            self._answer(401, {"message": "this token is not for this container"})
        except HostError as error:
            print(f"broker: {error}", flush=True)
            self._answer(503, {"message": "no credentials right now; try again"})

    def _answer(self, status: int, body: dict[str, str]) -> None:
        content = json.dumps(body).encode()
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # SDKs wait for a second, and ask again
            self._send(status, content)

    def _send(self, status: int, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: requests are many and alike; refusals are printed where they happen."""

    def version_string(self) -> str:
        """No word of what serves."""
        return "sparkvault"


class IssuingServer(socketserver.ThreadingUnixStreamServer):
    """Tokens for programs of root on this host: one line of JSON in, one out."""

    daemon_threads = True

    def __init__(self, broker: Broker, path: Path = SOCKET) -> None:
        self.broker = broker
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        # Nobody else may connect, from the first moment on.
        before = os.umask(0o177)
        try:
            super().__init__(str(path), _Issuing)
        finally:
            os.umask(before)


class _Issuing(socketserver.StreamRequestHandler):
    timeout = PATIENCE_SECONDS
    server: IssuingServer

    def handle(self) -> None:
        """``{"job": …, "tenant": …}`` → ``{"token": …}`` or ``{"error": …}``."""
        credentials = self.connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        if struct.unpack("3i", credentials)[1] not in (0, os.geteuid()):
            self._say({"error": "only root may have tokens issued"})
            return
        try:
            asked = json.loads(self.rfile.readline(4096))
            self._say({"token": self.server.broker.issue(str(asked["job"]), str(asked["tenant"]))})
        except HostError as error:
            self._say({"error": str(error)})
        except (ValueError, KeyError, TypeError, OSError):
            self._say({"error": "ask with one line of JSON: job and tenant"})

    def _say(self, answer: dict[str, str]) -> None:
        self.wfile.write(json.dumps(answer).encode() + b"\n")


def serve(broker: Broker, *, to_containers: bool) -> None:
    """Serve for good: the socket on every host, credentials where jobs run."""
    issuing = IssuingServer(broker)
    if to_containers:
        credentials = CredentialsServer(broker)
        threading.Thread(target=credentials.serve_forever, name="credentials", daemon=True).start()
    print("broker: ready", file=sys.stderr, flush=True)
    issuing.serve_forever()


def make_broker(keys: ClusterKeys, sources: Sources) -> Broker:
    """The broker of this host."""
    return Broker(keys, sources.at, Sessions())
