"""Sessions of Systems Manager on this terminal and on local ports, by AWS's own session-manager-plugin."""

import socket
import subprocess
import time
from contextlib import suppress
from typing import Any

from botocore.exceptions import ClientError

from sparkvault.account import Account
from sparkvault.errors import NotAvailable, SparkvaultError, WaitTimeout
from sparkvault.targets.interruption import run_on_terminal
from sparkvault.targets.remote.terminal_session import PLUGIN, find_plugin, plugin_command

#: How long a forwarded port may take to accept connections, in seconds.
FORWARD_SECONDS = 30.0


class Sessions:
    """Starts sessions with the cluster's session documents, on hosts and in tasks."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._ssm = account.client("ssm")

    def terminal(self, instance: str, document: str, parameters: dict[str, list[str]]) -> int:
        """A session on this terminal; returns when it ends. Raises NotAvailable, SparkvaultError."""
        find_plugin()
        command, environment, session = self._started(instance, document, parameters)
        try:
            return run_on_terminal(command, environment)
        finally:
            self._end(session)

    def forward(
        self, instance: str, document: str, port: int, local: int | None = None
    ) -> tuple[int, subprocess.Popen[bytes]]:
        """A local port that leads to a port of the host's loopback, and the process that keeps it.

        ``instance``: a host's id, or a task's as Systems Manager names it. ``local``: a certain port of this machine,
        any by default. Raises NotAvailable, SparkvaultError, WaitTimeout.
        """
        find_plugin()
        local = local or free_port()
        parameters = {"portNumber": [str(port)], "localPortNumber": [str(local)]}
        command, environment, session = self._started(instance, document, parameters)
        process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            _wait_for(local, process)
        except SparkvaultError:
            process.terminate()
            self._end(session)
            raise
        return local, process

    def _started(
        self, instance: str, document: str, parameters: dict[str, list[str]]
    ) -> tuple[list[str], dict[str, str], str]:
        """The plugin's command line and environment, and the session's id."""
        request: dict[str, Any] = {"Target": instance, "DocumentName": document, "Parameters": parameters}
        try:
            answer: dict[str, Any] = self._ssm.start_session(**request)
        except ClientError as error:
            code, message = error.response["Error"]["Code"], error.response["Error"]["Message"]
            if code == "TargetNotConnected":
                raise NotAvailable(f"{instance} is not connected to Systems Manager", "try again shortly") from error
            raise SparkvaultError(f"no session with document {document}: {message}") from error
        answer.pop("ResponseMetadata", None)
        command, environment = plugin_command(self._account, answer, request, self._ssm.meta.endpoint_url)
        return command, environment, str(answer["SessionId"])

    def _end(self, session: str) -> None:
        with suppress(ClientError):
            self._ssm.terminate_session(SessionId=session)


def free_port() -> int:
    """A port of the loopback that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + FORWARD_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise SparkvaultError(f"{PLUGIN} ended with exit code {process.returncode} before the port was open")
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.1)
    raise WaitTimeout(f"the forwarded port {port}", FORWARD_SECONDS)
