"""How one request or response travels over a stream socket, where the real device has an ioctl: length, then CBOR."""

from __future__ import annotations

import socket
from typing import Final

#: Big-endian, unsigned, the number of bytes that follow.
_LENGTH_BYTES: Final = 4


class FrameRefused(Exception):
    """A frame that is longer than allowed, or a connection that ended in the middle of one."""


def send(connection: socket.socket, message: bytes) -> None:
    """One frame."""
    connection.sendall(len(message).to_bytes(_LENGTH_BYTES, "big") + message)


def receive(connection: socket.socket, most: int) -> bytes | None:
    """The next frame of at most `most` bytes, None when the peer closed between frames; raises FrameRefused."""
    head = _exactly(connection, _LENGTH_BYTES)
    if not head:
        return None
    length = int.from_bytes(head, "big")
    if len(head) < _LENGTH_BYTES or length > most:
        raise FrameRefused(f"a frame of {length} bytes, more than {most}, or an incomplete one")
    message = _exactly(connection, length)
    if len(message) < length:
        raise FrameRefused("the connection ended in the middle of a frame")
    return message


def _exactly(connection: socket.socket, count: int) -> bytes:
    """`count` bytes, or fewer when the peer closed."""
    received = bytearray()
    while len(received) < count and (piece := connection.recv(count - len(received))):
        received += piece
    return bytes(received)
