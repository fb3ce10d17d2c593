"""Gives YARN's containers sessions of their tenant's role: who asks is known by the container's address and user."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sparkvault_host.broker.service import ADDRESS, CredentialsServer
from sparkvault_host.broker.sessions import Sessions
from sparkvault_host.broker.tokens import Claim, RefusedTokenError
from sparkvault_host.engine_api import EngineApi
from sparkvault_host.errors import HostError
from sparkvault_host.identity import host_identity, use_region

from . import places

#: Sessions are of a tenant here, not of a job: YARN's containers carry no token.
_JOB = "yarn"


class YarnBroker:
    """Has the interface of the swarm's broker, as far as its server of credentials asks for it."""

    def __init__(self, user_at: Callable[[str], str | None], roles: Callable[[], dict[str, list[str]]], sessions: Any):
        self._user_at = user_at
        self._roles = roles
        self._sessions = sessions

    def credentials(self, token: str, address: str) -> dict[str, str]:
        """What the container at this address gets. Raises RefusedTokenError, HostError."""
        del token
        user = self._user_at(address)
        if user is None:
            raise RefusedTokenError(f"{address} is no container of YARN's")
        tenant = self._roles().get(user)
        if tenant is None:
            raise RefusedTokenError(f"user {user} at {address} is no tenant")
        name, role = tenant
        return dict(self._sessions.credentials(Claim(_JOB, name, 0), role))


def user_at(engine: EngineApi, address: str, network: str = places.NETWORK) -> str | None:
    """Number of the Linux user that the container with this address runs as; None where there is none."""
    for container, endpoint in (engine.get(f"/networks/{network}").get("Containers") or {}).items():
        if str(endpoint.get("IPv4Address", "")).partition("/")[0] == address:
            inspected = engine.get(f"/containers/{container}/json")
            # The guard has seen to it that this is a number, and not root's.
            return str(inspected["Config"].get("User", "")).partition(":")[0] or None
    return None


def tenants_of(file: Path = places.NODE_FILE) -> dict[str, list[str]]:
    """User number → name and role. Raises HostError."""
    try:
        found: dict[str, list[str]] = json.loads(file.read_text(encoding="utf-8"))["tenants"]
        return found
    except (OSError, ValueError, KeyError) as error:
        raise HostError(f"{file} cannot be read: {error!r}") from error


def main() -> int:
    """Serve for good."""
    use_region(host_identity())
    # On the loopback interface, so that no other host can have it, whatever routes it sets.
    subprocess.run(["ip", "address", "replace", f"{ADDRESS}/32", "dev", "lo"], check=True, timeout=10)
    engine = EngineApi()
    broker = YarnBroker(lambda address: user_at(engine, address), tenants_of, Sessions())
    server = CredentialsServer(broker)  # type: ignore[arg-type] # all that it asks of a broker is `credentials`
    print("broker: ready", file=sys.stderr, flush=True)
    server.serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main())
