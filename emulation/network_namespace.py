"""Sockets of this process in another network namespace: how services of the emulation listen inside an emulated VPC."""

from __future__ import annotations

import ctypes
import os
import socket
import threading
from pathlib import Path

NAMESPACES = Path("/run/netns")
_CLONE_NEWNET = 0x40000000  # linux/sched.h


def listening_socket(
    namespace: str, address: str, port: int, kind: socket.SocketKind = socket.SOCK_STREAM
) -> socket.socket:
    """A socket bound in a named network namespace; it stays there though this process does not. Raises OSError."""
    made: list[socket.socket | OSError] = []

    def make() -> None:
        # Only this short-lived thread changes its namespace: setns(2) is per thread.
        try:
            with (NAMESPACES / namespace).open("rb") as inside:
                if ctypes.CDLL(None, use_errno=True).setns(inside.fileno(), _CLONE_NEWNET) != 0:
                    raise OSError(ctypes.get_errno(), f"setns: {os.strerror(ctypes.get_errno())}", namespace)
            bound = socket.socket(socket.AF_INET, kind)
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind((address, port))
            if kind == socket.SOCK_STREAM:
                bound.listen(128)
            made.append(bound)
        except OSError as error:
            made.append(error)

    worker = threading.Thread(target=make)
    worker.start()
    worker.join()
    if isinstance(made[0], OSError):
        raise made[0]
    return made[0]
