"""Free ports on this machine's loopback address."""

import socket
from collections.abc import Container

from sparkvault.errors import SparkvaultError

LOOPBACK = "127.0.0.1"

MASTER_PORT = 7077
MASTER_UI_PORT = 8080
WORKER_UI_PORT = 8081
DRIVER_UI_PORT = 4040
HISTORY_UI_PORT = 18080

#: How many ports are tried from the usual one upwards.
TRIES = 200


def free_port(usual: int, taken: Container[int] = (), tries: int = TRIES) -> int:
    """The usual port, or the next one nobody listens on. Raises SparkvaultError where all are taken."""
    for port in range(usual, min(usual + tries, 65536)):
        if port not in taken and _is_free(port):
            return port
    raise SparkvaultError(
        f"no port between {usual} and {usual + tries - 1} is free on {LOOPBACK}",
        "end a program that listens there (`ss -ltnp` shows them)",
    )


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As the JVM does it: connections that are dying on that port do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True
