"""How the launcher has a token issued, and what a container must know to use it."""

from __future__ import annotations

import json
import socket
from pathlib import Path

from sparkvault_host.broker.service import ADDRESS, PATH, SOCKET
from sparkvault_host.errors import HostError

#: Name of the file that holds a token, in a container's /run/secrets.
TOKEN_FILE = "sparkvault-credentials-token"  # noqa: S105 - the name of a file

_TIMEOUT_SECONDS = 90.0


class BrokerError(HostError):
    """The broker of this host issues no token; the message says why."""


def issue(job_id: str, tenant: str, path: Path = SOCKET) -> str:
    """A token for a job. Only for root. Raises BrokerError."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(_TIMEOUT_SECONDS)
            connection.connect(str(path))
            connection.sendall(json.dumps({"job": job_id, "tenant": tenant}).encode() + b"\n")
            with connection.makefile("rb") as answers:
                answer = json.loads(answers.readline())
    except (OSError, ValueError) as error:
        raise BrokerError(f"the credentials broker does not answer: {error}; see its journal") from error
    if "token" not in answer:
        raise BrokerError(f"the credentials broker issues no token: {answer.get('error')}")
    return str(answer["token"])


def environment() -> dict[str, str]:
    """Variables with which every AWS SDK finds the broker from a container; nothing secret."""
    return {
        "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"http://{ADDRESS}{PATH}",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": f"/run/secrets/{TOKEN_FILE}",
    }
