"""The Docker Engine API over its Unix socket, with nothing but the standard library."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import socket
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlencode

from sparkvault_host.errors import HostError

#: Where the engine listens.
SOCKET = "/var/run/docker.sock"

#: The newest version of the API that this code was written against (Docker 25, which Amazon Linux 2023 carries).
NEWEST_VERSION = (1, 44)

#: How long one answer may take, in seconds. Streams may be silent for longer.
TIMEOUT_SECONDS = 60.0

#: What an engine says, as 500, when the leader that it gave a request to was lost before it answered: gRPC's words for
#: a call that was given up, and those of a leader that leads no more (swarmkit, manager/state/raft/raft.go).
_LEADER_LOST = re.compile(r"deadline exceeded|code = Canceled|raft: failed to process the request", re.IGNORECASE)


class EngineError(HostError):
    """The engine refused a request, or did not answer (``status`` 0)."""

    def __init__(self, status: int, message: str) -> None:
        self.status = status
        self.message = message
        super().__init__("the Docker engine {}: {}".format(f"says {status}" if status else "is silent", message))

    @property
    def not_ready(self) -> bool:
        """Whether the engine is not up, belongs to no swarm, or to one whose leader is missing: as after a boot."""
        return self.status == 503 or self.in_doubt

    @property
    def in_doubt(self) -> bool:
        """Whether what was asked for may have been done all the same: the answer is what is missing."""
        return self.status == 0 or (self.status == 500 and _LEADER_LOST.search(self.message) is not None)


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, socket_path: str, timeout: float | None) -> None:
        super().__init__("docker", timeout=timeout if timeout is not None else TIMEOUT_SECONDS)
        self._socket_path = socket_path
        self._seconds = timeout

    def connect(self) -> None:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(self._seconds)
        connection.connect(self._socket_path)
        self.sock = connection


class EngineApi:
    """Requests to one engine.

    Query values may be bool, int, str, or a mapping (sent as JSON, as ``filters`` wants it). Answers are parsed JSON;
    None where there is no body. Every method raises EngineError.

    Example::

        engine = EngineApi()
        engine.get("/services", filters={"name": ["spark-master"]})
    """

    def __init__(self, socket_path: str = SOCKET, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        self._socket_path = socket_path
        self._timeout = timeout_seconds
        self._prefix: str | None = None

    def get(self, path: str, **query: Any) -> Any:
        """GET."""
        return self._request("GET", path, None, {}, query)

    def post(self, path: str, body: Any = None, *, headers: Mapping[str, str] | None = None, **query: Any) -> Any:
        """POST of a JSON body."""
        return self._request("POST", path, body, headers or {}, query)

    def delete(self, path: str, **query: Any) -> Any:
        """DELETE."""
        return self._request("DELETE", path, None, {}, query)

    def stream(
        self,
        path: str,
        *,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        silence_seconds: float | None = None,
        **query: Any,
    ) -> Iterator[bytes]:
        """The pieces of an endless answer (logs, events, a pull) as they come.

        ``silence_seconds`` is the longest pause between two pieces; None waits for as long as the engine lives.
        """
        connection = _UnixConnection(self._socket_path, silence_seconds)
        with contextlib.closing(connection):
            try:
                connection.request(method, self._versioned(path) + _query(query), headers=dict(headers or {}))
                answer = connection.getresponse()
                if answer.status >= 400:
                    raise EngineError(answer.status, _message(answer.read()))
                while True:
                    piece = answer.read1(65536)
                    if not piece:
                        return
                    yield piece
            except (OSError, http.client.HTTPException) as error:
                raise EngineError(0, f"{method} {path}: {error}") from error

    def _request(self, method: str, path: str, body: Any, headers: Mapping[str, str], query: Mapping[str, Any]) -> Any:
        return self._send(method, self._versioned(path) + _query(query), body, headers)

    def _send(self, method: str, target: str, body: Any, headers: Mapping[str, str]) -> Any:
        sent = dict(headers)
        content = None
        if body is not None:
            content = json.dumps(body).encode()
            sent["Content-Type"] = "application/json"
        connection = _UnixConnection(self._socket_path, self._timeout)
        with contextlib.closing(connection):
            try:
                connection.request(method, target, content, sent)
                answer = connection.getresponse()
                data = answer.read()
            except (OSError, http.client.HTTPException) as error:
                raise EngineError(0, f"{method} {target}: {error}") from error
        if answer.status >= 400:
            raise EngineError(answer.status, _message(data))
        if not data.strip():
            return None
        try:
            return json.loads(data)
        except ValueError:
            return data.decode(errors="replace")

    def _versioned(self, path: str) -> str:
        """The path with the version that both sides know; asked once for each engine."""
        if self._prefix is None:
            version = self._send("GET", "/version", None, {})
            newest = tuple(int(part) for part in str(version["ApiVersion"]).split("."))
            self._prefix = "/v{}.{}".format(*min(newest, NEWEST_VERSION))
        return self._prefix + path


def _query(values: Mapping[str, Any]) -> str:
    pairs = {name: _query_value(value) for name, value in values.items() if value is not None}
    return "?" + urlencode(pairs) if pairs else ""


def _query_value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (dict, list)):
        return json.dumps(value)
    return str(value)


def _message(data: bytes) -> str:
    try:
        return str(json.loads(data)["message"])
    except (ValueError, KeyError, TypeError):
        return data.decode(errors="replace").strip()
