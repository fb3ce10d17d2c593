"""What the broker asks of the host it runs on: a way for bytes to KMS, and short-lived credentials.

The host is hostile. It sees TLS that ends at KMS; its credentials are worth nothing without an attestation document.
"""

from __future__ import annotations

import http.client
import json
import socket
import ssl
from pathlib import Path
from typing import Final, Protocol

from spark_enclave.kms import KmsCredentials, KmsRefused
from spark_enclave.kms.amazon_roots import PEM

#: Where the image says which vsock address its parent has; measured like everything in it.
_PARENT_CID: Final = Path("/etc/enclave/parent-cid")
#: AWS's vsock-proxy, which leads to KMS of the host's region and nowhere else.
KMS_PORT: Final = 8000
#: The host's service that gives its role's credentials.
CREDENTIALS_PORT: Final = 8001
_SECONDS: Final = 15.0
_MAX_CREDENTIALS_BYTES: Final = 16 << 10
_HTTPS: Final = 443


class ParentHost(Protocol):
    """The host, whatever carries the bytes to it."""

    def credentials(self) -> KmsCredentials:
        """Of the role that the host has now; raises KmsRefused where it gives none of the right form."""

    def connect(self, host: str) -> http.client.HTTPConnection:
        """To that host of AWS and no other, its certificate checked against roots that are compiled in."""


class VsockParent:
    """The parent instance of an enclave; raises OSError where the image does not say its address."""

    def __init__(self) -> None:
        self._cid = int(_PARENT_CID.read_text(encoding="ascii"))
        self._context = kms_tls()

    def credentials(self) -> KmsCredentials:
        """Asked anew each time: they live for hours, and the host may have others by then."""
        try:
            with _vsock(self._cid, CREDENTIALS_PORT) as channel:
                return read_credentials(channel)
        except OSError as error:
            raise KmsRefused("Unreachable", f"the host gives no credentials: {type(error).__name__}") from None

    def connect(self, host: str) -> http.client.HTTPConnection:
        """TLS from in here to KMS, through the host's proxy."""
        return TlsOver(host, _vsock(self._cid, KMS_PORT), self._context)


class TlsOver(http.client.HTTPSConnection):
    """HTTPS over a connection that is there already."""

    def __init__(self, host: str, channel: socket.socket, context: ssl.SSLContext) -> None:
        super().__init__(host, _HTTPS, timeout=_SECONDS, context=context)
        self._channel, self._tls = channel, context

    def connect(self) -> None:
        """The TLS handshake, for exactly this host's name."""
        try:
            self.sock = self._tls.wrap_socket(self._channel, server_hostname=self.host)
        except BaseException:
            self._channel.close()
            raise


def kms_tls() -> ssl.SSLContext:
    """TLS 1.2 or 1.3 with Amazon's own roots and no other."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_verify_locations(cadata=PEM)
    return context


def read_credentials(channel: socket.socket) -> KmsCredentials:
    """What the host says until it closes: JSON as the metadata service gives it. Raises KmsRefused, OSError."""
    channel.settimeout(_SECONDS)
    said = bytearray()
    while len(said) <= _MAX_CREDENTIALS_BYTES and (piece := channel.recv(4096)):
        said += piece
    try:
        given = json.loads(said[: _MAX_CREDENTIALS_BYTES + 1])
        return KmsCredentials(given["AccessKeyId"], given["SecretAccessKey"], given["Token"])
    except (ValueError, TypeError, KeyError, RecursionError):
        raise KmsRefused("AnswerRefused", "the host's credentials are not of the form that there is") from None


def _vsock(cid: int, port: int) -> socket.socket:
    channel = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)
    try:
        channel.settimeout(_SECONDS)  # a host that does not answer would hold the session
        channel.connect((cid, port))
    except BaseException:
        channel.close()
        raise
    return channel
