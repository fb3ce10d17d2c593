"""Signing in to the image registry: for each pull anew, kept nowhere."""

from __future__ import annotations

import base64
import json

from sparkvault_host.aws_cli import aws
from sparkvault_host.engine_api import EngineApi, EngineError
from sparkvault_host.identity import HostIdentity

#: Seconds without a word after which a pull is given up; it is tried again.
SILENCE_SECONDS = 120.0


def registry_auth(identity: HostIdentity) -> dict[str, str]:
    """The header ``X-Registry-Auth`` for ECR, good for 12 hours. Raises AwsError.

    ECR API reference, "GetAuthorizationToken"; Docker Engine API, "Authentication".
    """
    del identity  # The region is the process's own; a registry of another account would need it.
    given = aws("ecr", "get-authorization-token")["authorizationData"][0]
    user, _, password = base64.b64decode(given["authorizationToken"]).decode().partition(":")
    login = {"username": user, "password": password, "serveraddress": given["proxyEndpoint"]}
    return {"X-Registry-Auth": base64.urlsafe_b64encode(json.dumps(login).encode()).decode()}


def pull(engine: EngineApi, identity: HostIdentity, image: str) -> None:
    """Fetch an image by its digest; the engine refuses whatever has another one. Raises EngineError, AwsError."""
    repository, _, digest = image.partition("@")
    headers = registry_auth(identity) if ".dkr.ecr." in repository else {}
    rest = b""
    for piece in engine.stream(
        "/images/create",
        method="POST",
        headers=headers,
        silence_seconds=SILENCE_SECONDS,
        fromImage=repository,
        tag=digest,
    ):
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            _refuse_errors(image, line)
    _refuse_errors(image, rest)


def _refuse_errors(image: str, line: bytes) -> None:
    if not line.strip():
        return
    try:
        error = json.loads(line).get("error")
    except (ValueError, AttributeError):
        return
    if error:
        raise EngineError(0, f"{image} could not be pulled: {error}")
