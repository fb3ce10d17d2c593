"""Who this host is: what user data wrote down, and what the instance metadata service says (version 2 only)."""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sparkvault_host.errors import HostError

HOST_FILE = Path("/etc/sparkvault/host.json")

#: Says what the kernel under an emulated host lacks: ``{"esp": false, "ipvs": false}``. No host on EC2 has it.
EMULATION_FILE = Path("/etc/sparkvault-emulation")

_METADATA = "http://169.254.169.254/latest"
_TIMEOUT_SECONDS = 5.0
_TOKEN_SECONDS = 21600


class IdentityError(HostError):
    """The host does not know who it is."""


class MetadataError(HostError):
    """The instance metadata service did not answer."""


@dataclass(frozen=True)
class HostIdentity:
    """What a host knows of itself and never changes while it lives."""

    cluster: str
    role: str
    """``manager`` or ``worker``."""
    region: str
    group: str
    """Name of its Auto Scaling group."""
    drain_hook: str
    drain_timeout_seconds: int
    log_group: str
    parameters: str
    """Prefix of the cluster's parameters: ``/sparkvault/<cluster>``."""
    job_bucket: str
    enclave_memory_mib: int
    """What all enclaves of this host take; 0 without enclaves."""
    instance: str
    address: str
    """Private IPv4 address."""
    zone: str

    @property
    def managers_group(self) -> str:
        """Auto Scaling group of the managers, named as ``spark_constructs.host_group`` names it."""
        return self.cluster + "-managers"

    @property
    def workers_group(self) -> str:
        """Auto Scaling group of the workers."""
        return self.cluster + "-workers"

    @property
    def authority_table(self) -> str:
        """DynamoDB table that says which swarm is the cluster's."""
        return self.cluster + "-swarm-authority"

    def parameter(self, *parts: str) -> str:
        """Name of one of the cluster's parameters."""
        return "/".join((self.parameters, *parts))


class Metadata:
    """The instance metadata service; keeps its session token."""

    def __init__(self, address: str = _METADATA) -> None:
        self._address = address
        self._token: str | None = None

    def get(self, path: str) -> str | None:
        """The value under ``meta-data/``, None where there is none. Raises MetadataError."""
        for fresh in (False, True):
            if self._token is None or fresh:
                self._token = self._new_token()
            try:
                return self._read("/meta-data/" + path, {"X-aws-ec2-metadata-token": self._token}, "GET")
            except urllib.error.HTTPError as error:
                if error.code == 404:
                    return None
                if error.code != 401:
                    raise MetadataError(f"the metadata service says {error.code} to {path}") from error
            except OSError as error:
                raise MetadataError(f"the metadata service does not answer: {error}") from error
        raise MetadataError("the metadata service takes none of its own tokens")

    def lifecycle_state(self) -> str | None:
        """The state that Auto Scaling moves the host to: ``InService``, ``Terminated``, …; None outside a group.

        EC2 Auto Scaling user guide, "Retrieve the target lifecycle state through instance metadata".
        """
        return self.get("autoscaling/target-lifecycle-state")

    def spot_notice(self) -> Mapping[str, Any] | None:
        """``{"action": "terminate", "time": …}`` two minutes before a Spot host is taken; else None.

        EC2 user guide, "Spot Instance interruption notices".
        """
        text = self.get("spot/instance-action")
        if text is None:
            return None
        try:
            notice = json.loads(text)
        except ValueError as error:
            raise MetadataError("the Spot notice is not JSON") from error
        return notice if isinstance(notice, dict) else None

    def _new_token(self) -> str:
        try:
            return self._read("/api/token", {"X-aws-ec2-metadata-token-ttl-seconds": str(_TOKEN_SECONDS)}, "PUT")
        except OSError as error:
            raise MetadataError(f"the metadata service gives no token: {error}") from error

    def _read(self, path: str, headers: Mapping[str, str], method: str) -> str:
        # Always http to this host's own network, and never through a proxy.
        request = urllib.request.Request(self._address + path, headers=dict(headers), method=method)  # noqa: S310
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=_TIMEOUT_SECONDS) as answer:
            text: str = answer.read().decode()
        return text


def host_identity(file: Path = HOST_FILE, metadata: Metadata | None = None) -> HostIdentity:
    """Who this host is. Raises IdentityError, MetadataError."""
    try:
        written = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise IdentityError(f"{file} cannot be read: {error}; user data writes it at boot") from error
    service = metadata or Metadata()
    enclaves = written.get("enclaves") or {}
    try:
        return HostIdentity(
            cluster=written["cluster"],
            role=written["role"],
            region=written["region"],
            group=written["group"],
            drain_hook=written["drain_hook"],
            drain_timeout_seconds=int(written["drain_timeout_seconds"]),
            log_group=written["log_group"],
            parameters=written["parameters"],
            job_bucket=written["job_bucket"],
            enclave_memory_mib=int(enclaves.get("count", 0)) * int(enclaves.get("memory_mib", 0)),
            instance=_known(service, "instance-id"),
            address=_known(service, "local-ipv4"),
            zone=_known(service, "placement/availability-zone"),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise IdentityError(f"{file} is not as user data writes it: {error}") from error


def use_region(identity: HostIdentity) -> None:
    """Let every ``aws`` call of this process go to the cluster's region."""
    os.environ["AWS_DEFAULT_REGION"] = identity.region


def kernel_has_esp(file: Path = EMULATION_FILE) -> bool:
    """Whether overlay networks can be encrypted; every kernel of EC2 can."""
    try:
        return bool(json.loads(file.read_text(encoding="utf-8")).get("esp", True))
    except (OSError, ValueError, AttributeError):
        return True


def _known(metadata: Metadata, path: str) -> str:
    value = metadata.get(path)
    if not value:
        raise IdentityError(f"the metadata service does not know {path}")
    return value.strip()
