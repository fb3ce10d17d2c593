"""The transport for code that would talk to `/dev/nsm`: the same CBOR, over the simulator's Unix socket."""

from __future__ import annotations

import socket
from pathlib import Path

from emulation.nsm import framing
from emulation.nsm.wire_protocol import MAX_RESPONSE_BYTES


class NsmSocketError(Exception):
    """The simulated device did not answer."""


def exchange(path: Path, request: bytes, *, timeout_seconds: float = 5.0) -> bytes:
    """Send one CBOR request and return the CBOR response; raises NsmSocketError."""
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(timeout_seconds)
            connection.connect(str(path))
            framing.send(connection, request)
            response = framing.receive(connection, MAX_RESPONSE_BYTES)
    except (OSError, framing.FrameRefused) as error:
        raise NsmSocketError(f"The simulated NSM at {path} did not answer: {error}.") from None
    if response is None:
        raise NsmSocketError(f"The simulated NSM at {path} closed the connection without an answer.")
    return response
