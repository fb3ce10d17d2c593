"""What the deployment wants of a YARN host: its own file says where, the cluster's parameter says what."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sparkvault_host.aws_cli import AwsError, aws

from .errors import YarnHostError
from .tenants import Tenant, checked

YARN_FILE = Path("/etc/sparkvault/yarn.json")


@dataclass(frozen=True)
class Wanted:
    """The parameter ``yarn/desired`` (spark_constructs/yarn_cluster.py writes it)."""

    runtime: str
    realm: str
    ticket_hours: int
    #: What it is → {"url", "sha512"}.
    archives: Mapping[str, Mapping[str, str]]
    realm_backup: str
    #: Parameter of the image's digest.
    image: str
    nodes_group: str
    nodes_role_id: str
    #: What keytabs' secrets' names begin with, and the key that encrypts them.
    keytabs: str
    key: str
    node_memory_mib: int
    node_cores: int
    container_least_mib: int
    container_memory_mib: int
    container_cores: int
    preemption: bool
    log_seconds: int
    replication: int
    tenants: tuple[Tenant, ...]
    #: Role of each tenant, for the credentials broker.
    roles: Mapping[str, str]

    @classmethod
    def read(cls, text: str) -> Wanted:
        """Raises YarnHostError for a parameter that is not as the deployment writes it."""
        try:
            found: dict[str, Any] = json.loads(text)
            given = found.pop("tenants")
            tenants = [
                Tenant(one["name"], int(one["uid"]), float(one["share"]), float(one["most"]), tuple(one["images"]))
                for one in given
            ]
            known = {name: found[name] for name in cls.__dataclass_fields__ if name not in ("tenants", "roles")}
            return cls(**known, tenants=tuple(checked(tenants)), roles={one["name"]: one["role"] for one in given})
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise YarnHostError(f"the parameter yarn/desired cannot be read ({error!r}): deploy again") from error


@dataclass(frozen=True)
class YarnFile:
    """What user data says: names of the cluster's parameters."""

    settings: str
    master: str

    @classmethod
    def read(cls, path: Path = YARN_FILE) -> YarnFile:
        """Raises YarnHostError."""
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            return cls(found["settings"], found["master"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise YarnHostError(f"{path} cannot be read ({error!r}); user data writes it at boot") from error


def parameter(name: str) -> str | None:
    """A parameter's value, None where there is none. Raises AwsError."""
    try:
        return str(aws("ssm", "get-parameter", "--name", name)["Parameter"]["Value"])
    except AwsError as error:
        if error.code == "ParameterNotFound":
            return None
        raise


def wanted(file: YarnFile) -> Wanted:
    """What is wanted now. Raises YarnHostError, AwsError."""
    text = parameter(file.settings)
    if text is None:
        raise YarnHostError(f"there is no parameter {file.settings}: deploy the stack again")
    return Wanted.read(text)


def image(given: Wanted) -> str:
    """The containers' image by its digest. Raises YarnHostError, AwsError."""
    found = parameter(given.image)
    if found is None or "@sha256:" not in found:
        raise YarnHostError(f"the parameter {given.image} names no image by its digest: `sparkvault deploy` writes it")
    return found
