"""``python3 -m sparkvault_yarn.agent``: sets a YARN host up, and keeps it as the deployment wants it."""

from __future__ import annotations

import sys
import time

from sparkvault_host.agent.systemd import notify
from sparkvault_host.errors import HostError
from sparkvault_host.identity import Metadata, host_identity, use_region

from .errors import YarnHostError
from .host_settings import YarnFile
from .master_host import MasterHost
from .node_host import NodeHost

#: Seconds between two looks.
PAUSE_SECONDS = 15.0


def main() -> int:
    """Until the host ends; 1 where it cannot be set up, and then systemd starts the agent again."""
    try:
        metadata = Metadata()
        identity = host_identity(metadata=metadata)
        use_region(identity)
        file = YarnFile.read()
        kind = MasterHost if identity.role == "yarn-master" else NodeHost
        host: MasterHost | NodeHost = kind(identity, metadata, file)
        host.set_up()
    except (HostError, YarnHostError) as error:
        # Its last words: the reason why booting failed.
        print(f"sparkvault: {error}", flush=True)
        return 1
    notify("READY=1")
    while True:
        time.sleep(PAUSE_SECONDS)
        try:
            host.keep()
        except (HostError, YarnHostError) as error:
            print(f"sparkvault: {error}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
