"""Serves a simulated device on a Unix socket, to processes of the same user only."""

from __future__ import annotations

import contextlib
import os
import socket
import socketserver
import threading
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from emulation.nsm import framing, wire_protocol
from emulation.nsm.device import SimulatedNsm

#: A client that stays silent for this long is let go.
_IDLE_SECONDS: Final = 60.0
_JOIN_SECONDS: Final = 5.0
#: How soon the server notices that it is to end.
_POLL_SECONDS: Final = 0.05


class _Handler(socketserver.BaseRequestHandler):
    server: _UnixServer
    request: socket.socket

    def handle(self) -> None:
        self.request.settimeout(_IDLE_SECONDS)
        with contextlib.suppress(OSError, framing.FrameRefused):
            # One byte more than a device takes may come in, so that the device itself can refuse it.
            while (request := framing.receive(self.request, wire_protocol.MAX_REQUEST_BYTES + 1)) is not None:
                framing.send(self.request, wire_protocol.answer(self.server.nsm, request))


class _UnixServer(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    block_on_close = False
    #: Connections that may wait to be accepted; the class's own 5 turns clients away that come at once.
    request_queue_size = 128

    def __init__(self, path: Path, nsm: SimulatedNsm) -> None:
        self.nsm = nsm
        super().__init__(str(path), _Handler)

    def server_bind(self) -> None:
        # Linux gives the file the socket's own mode: nobody else can connect, not even before a chmod.
        os.fchmod(self.socket.fileno(), 0o600)
        super().server_bind()


class NsmServer:
    """A device on the socket `path` for the length of a `with` block; a socket left by a dead process is replaced."""

    def __init__(self, path: Path, nsm: SimulatedNsm) -> None:
        self.path, self.nsm = path, nsm

    def __enter__(self) -> Self:
        if self.path.is_socket() and not _answers(self.path):
            self.path.unlink()
        self._server = _UnixServer(self.path, self.nsm)
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(_POLL_SECONDS,), name="simulated-nsm", daemon=True
        )
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(_JOIN_SECONDS)
        self.path.unlink(missing_ok=True)


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1)
        return probe.connect_ex(str(path)) == 0
