"""``python3 -m sparkvault_host.broker``: the credentials broker of this host."""

from __future__ import annotations

import subprocess
import sys
import time

from sparkvault_host.broker.keys import ClusterKeys
from sparkvault_host.broker.service import ADDRESS, make_broker, serve
from sparkvault_host.broker.sources import Sources
from sparkvault_host.engine_api import EngineApi
from sparkvault_host.errors import HostError
from sparkvault_host.identity import HostIdentity, host_identity, use_region


def _who_am_i() -> HostIdentity:
    while True:
        try:
            return host_identity()
        except HostError as error:
            print(f"broker: {error}", flush=True)
            time.sleep(1)


def main() -> int:
    """Serve until the host ends."""
    identity = _who_am_i()
    use_region(identity)
    is_worker = identity.role == "worker"
    if is_worker:
        # On the loopback interface, so that no other host can have it, whatever routes it sets.
        subprocess.run(["ip", "address", "replace", f"{ADDRESS}/32", "dev", "lo"], check=True, timeout=10)
    serve(make_broker(ClusterKeys(identity), Sources(EngineApi())), to_containers=is_worker)
    return 0


if __name__ == "__main__":
    sys.exit(main())
