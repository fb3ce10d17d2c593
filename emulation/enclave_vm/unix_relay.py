"""Carries bytes between Unix sockets, one thread for each way of a connection."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

_PIECE: Final = 64 << 10
_STOP_SECONDS: Final = 10.0


@contextmanager
def served(path: Path, serve: Callable[[socket.socket], None], *, mode: int = 0o600) -> Iterator[None]:
    """Give each connection to a Unix socket to `serve`, in a thread of its own, until the block ends."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    path.chmod(mode)
    listener.listen(64)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                stream, _ = listener.accept()
                threading.Thread(target=serve, args=(stream,), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield
    finally:
        # Closing alone does not wake a thread out of accept.
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(_STOP_SECONDS)
        path.unlink(missing_ok=True)


def join(near: socket.socket, far: socket.socket) -> None:
    """Carry both ways until both sides have ended; closes them. Never raises."""
    with near, far:
        back = threading.Thread(target=_copy, args=(far, near), daemon=True)
        back.start()
        _copy(near, far)
        back.join()


def _copy(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while piece := source.recv(_PIECE):
            sink.sendall(piece)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)
