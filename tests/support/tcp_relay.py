"""Passes TCP connections on to another port and keeps what went through, as an eavesdropper on the wire would."""

import socket
import threading
from types import TracebackType
from typing import Self


class Relay:
    """Listens on a free loopback port; ``sent`` and ``answered`` hold the bytes of all connections so far.

    ``closed`` is set as soon as either side has closed one."""

    def __init__(self, to_port: int) -> None:
        self.to_port = to_port
        self.sent = bytearray()
        self.answered = bytearray()
        self.closed = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self.to_port))
            threading.Thread(target=self._pass, args=(client, server, self.sent), daemon=True).start()
            threading.Thread(target=self._pass, args=(server, client, self.answered), daemon=True).start()

    def _pass(self, source: socket.socket, sink: socket.socket, kept: bytearray) -> None:
        try:
            while data := source.recv(65536):
                kept += data
                sink.sendall(data)
        except OSError:
            pass
        finally:
            self.closed.set()
            for end in (source, sink):
                end.close()
