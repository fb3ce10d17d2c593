"""The cluster's parameters: what is wanted, which images are published, and how to join."""

from __future__ import annotations

import json
import secrets
from typing import Any

from sparkvault_host.agent.model import MANAGER, WORKER, Settings
from sparkvault_host.aws_cli import AwsError, aws
from sparkvault_host.errors import HostError
from sparkvault_host.identity import HostIdentity

#: Value of an image's parameter where there is none.
NOT_PUBLISHED = "not-published"

#: Names of images that hosts run.
IMAGES = ("master", "worker", "submit")

#: Bytes of the key that signs tokens of jobs: as many as HMAC-SHA-256 can use.
KEY_BYTES = 32


class ParameterError(HostError):
    """A parameter is not what it should be."""


def join_parameter(identity: HostIdentity, role: str) -> str:
    """Join data of a role; the worker role can read only ``swarm/worker/…``."""
    return identity.parameter("swarm", role, "join")


def broker_key_parameter(identity: HostIdentity) -> str:
    """The key by which brokers know tokens of jobs."""
    return identity.parameter("swarm", WORKER, "broker-key")


def desired_parameter(identity: HostIdentity) -> str:
    """What the deployment wants of the swarm."""
    return identity.parameter("swarm", "desired")


def read_wanted(identity: HostIdentity) -> tuple[Settings, str, dict[str, str]]:
    """Settings, the key for parameters, and the published images by name. Raises AwsError, ParameterError."""
    names = {identity.parameter("images", image): image for image in IMAGES}
    asked = list(names)
    if identity.role == MANAGER:
        asked.append(desired_parameter(identity))
    found = _values(asked, secret=False)
    images = {
        image: found[name]
        for name, image in names.items()
        # An address without a digest could be another image tomorrow: it counts as none.
        if "@sha256:" in found.get(name, NOT_PUBLISHED)
    }
    settings, key = _settings(found.get(desired_parameter(identity)))
    return settings, key, images


def read_join_data(identity: HostIdentity) -> tuple[dict[str, str | None], bool]:
    """What is published to join with, by role, and whether brokers have a key; for managers. Raises AwsError."""
    names = {role: join_parameter(identity, role) for role in (MANAGER, WORKER)}
    key = broker_key_parameter(identity)
    found = _values([*names.values(), key], secret=True)
    return {role: found.get(name) for role, name in names.items()}, key in found


def read_own_join_data(identity: HostIdentity) -> dict[str, Any]:
    """What this host joins with. Raises AwsError, ParameterError where there is none."""
    found = _values([join_parameter(identity, identity.role)], secret=True)
    text = found.get(join_parameter(identity, identity.role))
    if text is None:
        raise ParameterError(f"no manager has published yet how a {identity.role} joins")
    try:
        content = json.loads(text)
    except ValueError as error:
        raise ParameterError(f"{join_parameter(identity, identity.role)} is not JSON") from error
    if not isinstance(content, dict):
        raise ParameterError(f"{join_parameter(identity, identity.role)} is no object")
    return content


def publish_secret(name: str, value: str, key: str) -> None:
    """Write a SecureString; its value goes through standard input. Raises AwsError."""
    content: dict[str, Any] = {"Name": name, "Value": value, "Type": "SecureString", "Overwrite": True}
    if key:
        content["KeyId"] = key
    aws("ssm", "put-parameter", secret_input=content)


def withdraw(name: str) -> None:
    """Delete a parameter; it may be gone already. Raises AwsError."""
    try:
        aws("ssm", "delete-parameter", "--name", name)
    except AwsError as error:
        if error.code != "ParameterNotFound":
            raise


def new_broker_key() -> str:
    """A key for tokens, as its parameter holds it: newest first, each with the id that tokens name."""
    return json.dumps({"keys": [{"id": secrets.token_hex(4), "key": secrets.token_hex(KEY_BYTES)}]})


def _values(names: list[str], *, secret: bool) -> dict[str, str]:
    arguments = ["--names", *names]
    if secret:
        arguments.append("--with-decryption")
    answer = aws("ssm", "get-parameters", *arguments)
    return {each["Name"]: each["Value"] for each in (answer or {}).get("Parameters", [])}


def _settings(text: str | None) -> tuple[Settings, str]:
    if text is None:
        return Settings(), ""
    try:
        found = json.loads(text)
        settings = Settings(
            managers=int(found.get("managers", 1)),
            attachable=bool(found.get("attachable", False)),
            worker_memory_mib=found.get("worker_memory_mib"),
            worker_cores=found.get("worker_cores"),
            enclave_memory_mib=int(found.get("enclave_memory_mib", 0)),
            default_cores_per_application=int(found.get("default_cores_per_application", 4)),
            log_level=str(found.get("log_level", "WARN")),
            tenants=tuple(found.get("tenants", ("default",))),
        )
    except (ValueError, TypeError, AttributeError) as error:
        raise ParameterError(f"the parameter swarm/desired cannot be read: {error}") from error
    return settings, str(found.get("key", ""))
