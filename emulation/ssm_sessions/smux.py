"""Several connections in one stream, as the plugin's port forwarding carries them (xtaci/smux, version 1).

A frame: version, command, length (little-endian, 16 bits), stream (little-endian, 32 bits), data.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

SYN, FIN, PUSH, NOP = 0, 1, 2, 3
_VERSION = 1
_HEADER = struct.Struct("<BBHI")
#: Data of one frame, in bytes.
PIECE = 8000


@dataclass(frozen=True)
class Frame:
    """One frame."""

    command: int
    stream: int
    data: bytes = b""

    def encoded(self) -> bytes:
        """The frame as it goes over the wire."""
        return _HEADER.pack(_VERSION, self.command, len(self.data), self.stream) + self.data


class Reader:
    """Takes pieces of the stream and yields whole frames. Raises ValueError for what is no frame of version 1."""

    def __init__(self) -> None:
        self._data = b""

    def take(self, piece: bytes) -> Iterator[Frame]:
        """The frames that are complete with this piece."""
        self._data += piece
        while len(self._data) >= _HEADER.size:
            version, command, length, stream = _HEADER.unpack_from(self._data)
            if version != _VERSION or command > NOP:
                raise ValueError("not a frame of smux version 1")
            end = _HEADER.size + length
            if len(self._data) < end:
                return
            yield Frame(command, stream, self._data[_HEADER.size : end])
            self._data = self._data[end:]
