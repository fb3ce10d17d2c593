"""Where the engines of a swarm tell each other which service's container is where.

An engine that leaves its swarm says so to the others first, for a second at most. Where nobody is left to hear it,
because the manager has died and the other worker leaves at the same moment, it gives up and goes on listening
(Docker before 28.3, libnetwork/networkdb). It joins the next swarm all the same, but cannot open the port again: no
name of a service is ever known there, and no Spark worker finds its master. Only a new engine frees the port.
"""

from __future__ import annotations

import errno
import socket

PORT = 7946


def is_listened_for(address: str) -> bool:
    """Whether something on this host listens on the port, at this address of the host."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As the engine does itself: connections of a moment ago do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, PORT))
        except OSError as error:
            return error.errno == errno.EADDRINUSE
    return False
