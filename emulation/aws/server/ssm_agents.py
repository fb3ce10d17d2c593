"""Hands Run Command and sessions to the process that has the hosts, as Systems Manager hands them to its agents."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from typing import Any

from werkzeug.wrappers import Response

#: What is handed on; everything else of Systems Manager is answered here.
ACTIONS = frozenset(
    (
        "DescribeSessions",
        "GetCommandInvocation",
        "ListCommandInvocations",
        "ListCommands",
        "SendCommand",
        "StartSession",
        "TerminateSession",
    )
)

_TIMEOUT_SECONDS = 60.0
_KEY = re.compile(r"Credential=(\w+)/")
#: What Systems Manager says while no agent is connected.
_NOT_CONNECTED = {
    "SendCommand": ("InvalidInstanceId", "Instances not in a valid state for account"),
    "StartSession": ("TargetNotConnected", "The target is not connected."),
    "GetCommandInvocation": ("InvocationDoesNotExist", "No such invocation"),
    "TerminateSession": ("DoesNotExistException", "No such session"),
}


class SsmAgents:
    """Where the agents are."""

    def __init__(self) -> None:
        self.endpoint: str | None = None
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def takes(self, environ: dict[str, Any]) -> bool:
        """Whether this request is for the agents."""
        service, _, action = str(environ.get("HTTP_X_AMZ_TARGET", "")).partition(".")
        return service == "AmazonSSM" and action in ACTIONS

    def answer(self, environ: dict[str, Any], account: str) -> Response:
        """Their answer."""
        target, caller = str(environ["HTTP_X_AMZ_TARGET"]), _caller(environ, account)
        if self.endpoint is None:
            return self._unconnected(target.partition(".")[2])
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        headers = {"X-Amz-Target": target, "X-Emulation-Caller": caller, "X-Emulation-Key": _access_key(environ)}
        request = urllib.request.Request(self.endpoint, body, headers, method="POST")  # noqa: S310 - on loopback
        try:
            with self._opener.open(request, timeout=_TIMEOUT_SECONDS) as found:
                return Response(found.read(), content_type="application/x-amz-json-1.1")
        except urllib.error.HTTPError as error:
            return Response(error.read(), status=error.code, content_type="application/x-amz-json-1.1")
        except OSError:
            return self._unconnected(target.partition(".")[2])

    def _unconnected(self, action: str) -> Response:
        if action not in _NOT_CONNECTED:
            return Response("{}", content_type="application/x-amz-json-1.1")
        code, message = _NOT_CONNECTED[action]
        body = json.dumps({"__type": code, "message": message})
        return Response(body, status=400, content_type="application/x-amz-json-1.1")


def _caller(environ: dict[str, Any], account: str) -> str:
    """The name that sessions' ids begin with: that of the role's session."""
    from moto.sts.models import sts_backends

    key = _access_key(environ)
    session = sts_backends[account]["aws"].get_assumed_role_from_access_key(key) if key else None
    return str(session.session_name) if session else "deployer"


def _access_key(environ: dict[str, Any]) -> str:
    key = _KEY.search(environ.get("HTTP_AUTHORIZATION", ""))
    return key[1] if key else ""


AGENTS = SsmAgents()
