"""The parent host of a simulated enclave: Unix sockets in place of vsock, an emulated KMS in place of AWS's.

`UnixParent` is the enclave's side, which has no network; `HostSide` is the host's, which sees what crosses.
"""

from __future__ import annotations

import http.client
import json
import socket
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from spark_enclave.kms import KmsCredentials, KmsRefused
from spark_enclave.server.parent_host import read_credentials

_KMS: Final = "kms.sock"
_CREDENTIALS: Final = "credentials.sock"
_SECONDS: Final = 15.0
_PIECE_BYTES: Final = 64 << 10


class _OverUnix(http.client.HTTPConnection):
    """To the emulated KMS, which speaks no TLS: what a host could do with the bytes is what tests try."""

    def __init__(self, host: str, path: Path) -> None:
        super().__init__(host, timeout=_SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = _connected(self._path)


class UnixParent:
    """What the simulated enclave sees of its host, by the sockets in `folder`; the host may be absent."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def credentials(self) -> KmsCredentials:
        """Raises KmsRefused."""
        try:
            with _connected(self._folder / _CREDENTIALS) as channel:
                return read_credentials(channel)
        except OSError as error:
            raise KmsRefused("Unreachable", f"the host gives no credentials: {type(error).__name__}") from None

    def connect(self, host: str) -> http.client.HTTPConnection:
        """A connection that the host relays."""
        return _OverUnix(host, self._folder / _KMS)


class HostSide:
    """The host's two services: a relay to the emulated KMS, and the credentials of its role. Use a `with` block.

    `endpoint`: address of the emulated KMS, `http://HOST:PORT`; `credentials`: as `sts:AssumeRole` gives them. What the
    enclave sent is kept in `carried`, one entry for each connection: everything that a curious host could keep.
    """

    def __init__(self, folder: Path, endpoint: str, credentials: Callable[[], Mapping[str, str]]) -> None:
        self._folder, self._credentials = folder, credentials
        host, _, port = endpoint.removeprefix("http://").partition(":")
        self._kms = (host, int(port))
        self._listeners: list[socket.socket] = []
        self.carried: list[bytes] = []

    def __enter__(self) -> Self:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name, serve in ((_KMS, self._relay), (_CREDENTIALS, self._give)):
            path = self._folder / name
            path.unlink(missing_ok=True)
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(str(path))
            listener.listen(16)
            self._listeners.append(listener)
            threading.Thread(target=_accepting, args=(listener, serve), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for listener in self._listeners:
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        self._listeners.clear()

    def _give(self, channel: socket.socket) -> None:
        given = self._credentials()
        answer = {
            "AccessKeyId": given["AccessKeyId"],
            "SecretAccessKey": given["SecretAccessKey"],
            "Token": given["SessionToken"],
        }
        channel.sendall(json.dumps(answer).encode())

    def _relay(self, channel: socket.socket) -> None:
        number = len(self.carried)
        self.carried.append(b"")
        with socket.create_connection(self._kms, timeout=_SECONDS) as outside:

            def answers() -> None:
                try:
                    while piece := outside.recv(_PIECE_BYTES):
                        channel.sendall(piece)
                except OSError:
                    return

            back = threading.Thread(target=answers, daemon=True)
            back.start()
            while piece := channel.recv(_PIECE_BYTES):
                self.carried[number] += piece
                outside.sendall(piece)
            outside.shutdown(socket.SHUT_WR)
            back.join(_SECONDS)


def _accepting(listener: socket.socket, serve: Callable[[socket.socket], None]) -> None:
    def one(channel: socket.socket) -> None:
        with channel:
            channel.settimeout(_SECONDS)
            try:
                serve(channel)
            except OSError:
                return

    while True:
        try:
            channel, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=one, args=(channel,), daemon=True).start()


def _connected(path: Path) -> socket.socket:
    channel = socket.socket(socket.AF_UNIX)
    try:
        channel.settimeout(_SECONDS)
        channel.connect(str(path))
    except BaseException:
        channel.close()
        raise
    return channel
