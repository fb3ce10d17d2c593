"""Connects the enclave's vsock port with the broker's Unix socket, as gRPC speaks no vsock. Sees TLS only."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

_log = logging.getLogger(__name__)

#: The port that hosts connect to.
PORT: Final = 5005
#: Connections at a time; one more is closed at once.
MOST: Final = 64
#: A connection over which nothing came in either direction for so long is closed.
_IDLE_SECONDS: Final = 180.0
_PIECE_BYTES: Final = 256 << 10


@asynccontextmanager
async def relaying(listener: socket.socket, broker: Path, most: int = MOST) -> AsyncIterator[None]:
    """Relay between a listening socket of any family and the broker until the block ends."""
    connections: set[asyncio.StreamWriter] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(connections) >= most:
            writer.transport.abort()
            return
        connections.add(writer)
        try:
            inner_reader, inner_writer = await asyncio.open_unix_connection(str(broker))
            connections_done = asyncio.gather(_copy(reader, inner_writer), _copy(inner_reader, writer))
            try:
                await connections_done
            finally:
                inner_writer.transport.abort()
        except (OSError, TimeoutError):
            _log.debug("a relayed connection ended early")
        finally:
            connections.discard(writer)
            writer.transport.abort()

    server = await asyncio.start_server(connected, sock=listener)
    try:
        yield
    finally:
        server.close()
        for writer in set(connections):
            with contextlib.suppress(RuntimeError):
                writer.transport.abort()


def listen_on_vsock(port: int = PORT) -> socket.socket:
    """A socket that the parent host can connect to; raises OSError where the kernel has no vsock."""
    listener = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)
    listener.bind((socket.VMADDR_CID_ANY, port))
    listener.listen(MOST)
    listener.setblocking(False)
    return listener


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        async with asyncio.timeout(_IDLE_SECONDS):
            piece = await reader.read(_PIECE_BYTES)
            if not piece:
                break
            writer.write(piece)
            await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()
