"""The cluster's key for tokens and the tenants' roles, from parameters that workers may read; in memory only."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from typing import Any

from sparkvault_host.aws_cli import aws
from sparkvault_host.errors import HostError
from sparkvault_host.identity import HostIdentity

#: Seconds after which parameters are read again; a token with an unknown key asks earlier, but not oftener than LEAST.
KEPT_SECONDS = 300.0
LEAST_SECONDS = 10.0


class NotThereError(HostError):
    """The managers have not written yet what brokers need."""


class ClusterKeys:
    """Keys by id, newest first, and roles by tenant. Raises NotThereError, AwsError."""

    def __init__(self, identity: HostIdentity, clock: Callable[[], float] = time.monotonic) -> None:
        self._key_name = identity.parameter("swarm", "worker", "broker-key")
        self._roles_name = identity.parameter("swarm", "worker", "tenants")
        self._clock = clock
        self._lock = threading.Lock()
        self._read_at: float | None = None
        self._keys: dict[str, bytes] = {}
        self._roles: dict[str, str] = {}

    def keys(self, wanted: str = "") -> dict[str, bytes]:
        """All keys; read again where ``wanted`` is not among them."""
        with self._lock:
            self._refresh(lambda: bool(wanted) and wanted not in self._keys)
            if not self._keys:
                raise NotThereError("the managers have not made the brokers' key yet")
            return dict(self._keys)

    def role(self, tenant: str) -> str | None:
        """ARN of a tenant's role, None where there is no such tenant."""
        with self._lock:
            self._refresh(lambda: tenant not in self._roles)
            return self._roles.get(tenant)

    def _refresh(self, is_missing: Callable[[], bool]) -> None:
        age = None if self._read_at is None else self._clock() - self._read_at
        if age is not None and (age < LEAST_SECONDS or (age < KEPT_SECONDS and not is_missing())):
            return
        answer = aws("ssm", "get-parameters", "--names", self._key_name, self._roles_name, "--with-decryption")
        found = {each["Name"]: json.loads(each["Value"]) for each in (answer or {}).get("Parameters", [])}
        self._keys = {each["id"]: bytes.fromhex(each["key"]) for each in _list(found.get(self._key_name), "keys")}
        self._roles = dict(found.get(self._roles_name) or {})
        self._read_at = self._clock()


def _list(value: Any, key: str) -> list[dict[str, str]]:
    return list(value.get(key, [])) if isinstance(value, dict) else []
