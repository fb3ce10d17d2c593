"""The SSM agents of emulated hosts: a process that has hosts says so to the embedded AWS, which then asks it."""

from __future__ import annotations

import contextlib
import json
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Protocol

from botocore.exceptions import ClientError

from emulation.ssm_sessions.errors import SsmError
from emulation.ssm_sessions.run_command import FindMachine, Machine, RunCommand
from emulation.ssm_sessions.sessions import Sessions

__all__ = ["Machine", "SsmAgents"]

_TIMEOUT_SECONDS = 30.0

#: Raises SsmError where IAM does not let the owner of an access key start a session, for what only it can judge.
Authorise = Callable[[str, Mapping[str, Any]], None]


class Aws(Protocol):
    """What is needed of `emulation.aws.EmbeddedAws`."""

    @property
    def endpoint(self) -> str:
        """Address of the server."""

    def client(self, service: str, region: str | None = None) -> Any:
        """A boto3 client of the account."""


class SsmAgents:
    """Run Command and sessions for the machines that ``find`` knows, for as long as the context lasts.

    ``find`` returns the machine of an instance id, None where it is not connected. ``authorise`` is asked for each
    session, where IAM needs to know more of the target than the embedded AWS does.

        with SsmAgents(aws, ec2.machine):
            boto3.client("ssm", endpoint_url=aws.endpoint).send_command(...)
    """

    def __init__(self, aws: Aws, find: FindMachine, authorise: Authorise = lambda key, given: None) -> None:
        self._aws = aws
        self._authorise = authorise
        self.commands = RunCommand(find, self._document)
        self._find = find
        self._sessions: Sessions | None = None
        self._server: ThreadingHTTPServer | None = None

    def start(self) -> SsmAgents:
        """Listen, and say where to the embedded AWS."""
        self._sessions = Sessions(self._find, self._document)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True, name="SSM agents").start()
        self._register(f"http://127.0.0.1:{self._server.server_address[1]}/")
        return self

    def stop(self) -> None:
        """End sessions, and be connected no longer."""
        server, self._server = self._server, None
        if server is None:
            return
        with contextlib.suppress(OSError):  # the embedded AWS may have ended before us
            self._register(None)
        server.shutdown()
        server.server_close()
        if self._sessions is not None:
            self._sessions.stop()

    def __enter__(self) -> SsmAgents:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def answer(self, action: str, given: dict[str, Any], caller: str, key: str = "") -> dict[str, Any]:
        """One action of the API, called with that access key. Raises SsmError."""
        if self._sessions is None:
            raise SsmError("InternalServerError", "the agents are not running")
        if action == "StartSession":
            self._authorise(key, given)
            return self._sessions.start_session(given, caller)
        actions = {
            "SendCommand": self.commands.send_command,
            "GetCommandInvocation": self.commands.get_command_invocation,
            "ListCommandInvocations": self.commands.list_command_invocations,
            "ListCommands": self.commands.list_commands,
            "TerminateSession": self._sessions.terminate_session,
            "DescribeSessions": self._sessions.describe_sessions,
        }
        if action not in actions:
            raise SsmError("InvalidAction", f"{action} is not emulated")
        return actions[action](given)

    def _document(self, name: str) -> dict[str, Any]:
        try:
            found: dict[str, Any] = self._aws.client("ssm").get_document(Name=name)
        except ClientError as error:
            raise SsmError("InvalidDocument", f"Document with name {name} does not exist.") from error
        return found

    def _register(self, endpoint: str | None) -> None:
        request = urllib.request.Request(  # noqa: S310 - the embedded AWS, on loopback
            f"{self._aws.endpoint}/emulation/ssm-agents", json.dumps({"endpoint": endpoint}).encode(), method="POST"
        )
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        opener.open(request, timeout=_TIMEOUT_SECONDS).close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        agents = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
                action = self.headers.get("X-Amz-Target", "").rpartition(".")[2]
                caller = self.headers.get("X-Emulation-Caller") or "deployer"
                key = self.headers.get("X-Emulation-Key", "")
                try:
                    status, answer = 200, agents.answer(action, json.loads(body or b"{}"), caller, key)
                except SsmError as error:
                    status, answer = 400, {"__type": error.code, "message": str(error)}
                except KeyError as error:
                    status, answer = 400, {"__type": "ValidationException", "message": f"{error} is missing"}
                data = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/x-amz-json-1.1")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, format: str, *args: Any) -> None:
                return

        return Handler
