"""The way to an enclave: an address, the certificate that is shown there, a channel that trusts exactly this one."""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass
from typing import Final, NoReturn

import grpc
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from spark_enclave.client.errors import EnclaveFull, EnclaveRefused, NotReachable, SessionLost
from spark_enclave.protocol.limits import MAX_MESSAGE_BYTES, TLS_NAME

_OPTIONS: Final = (
    ("grpc.ssl_target_name_override", TLS_NAME),
    ("grpc.default_authority", TLS_NAME),
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.enable_http_proxy", 0),
    ("grpc.enable_retries", 0),
    # Every connection is attested by itself: none is shared with another part of this process.
    ("grpc.use_local_subchannel_pool", 1),
)


@dataclass(frozen=True, slots=True)
class Address:
    """`unix:PATH`, or `HOST:PORT` (a relay, or a port that is forwarded)."""

    text: str

    @property
    def target(self) -> str:
        """For gRPC."""
        return self.text

    def connect(self, timeout: float) -> socket.socket:
        """A plain connection; raises NotReachable."""
        try:
            if self.text.startswith("unix:"):
                made = socket.socket(socket.AF_UNIX)
                made.settimeout(timeout)
                made.connect(self.text.removeprefix("unix:"))
                return made
            host, _, port = self.text.rpartition(":")
            return socket.create_connection((host.strip("[]"), int(port)), timeout)
        except ValueError:
            raise NotReachable(f"{self.text!r} is no address.", "Give unix:PATH or HOST:PORT.") from None
        except OSError as error:
            raise _unreachable(self, error) from None


def fetch_certificate(address: Address, timeout: float) -> x509.Certificate:
    """The certificate that is shown at the address. Nothing about it is trusted yet; raises NotReachable."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.set_alpn_protocols(["h2"])
    try:
        with (
            address.connect(timeout) as plain,
            context.wrap_socket(plain, server_hostname=TLS_NAME, do_handshake_on_connect=True) as secured,
        ):
            shown = secured.getpeercert(binary_form=True)
    except OSError as error:
        raise _unreachable(address, error) from None
    try:
        return x509.load_der_x509_certificate(shown or b"")
    except ValueError:
        raise _unreachable(address, "it shows no certificate that can be read") from None


def public_key_of(certificate: x509.Certificate) -> bytes:
    """SubjectPublicKeyInfo, DER."""
    return certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def open_channel(address: Address, certificate: x509.Certificate) -> grpc.Channel:
    """A channel that trusts this one certificate and nothing else."""
    credentials = grpc.ssl_channel_credentials(certificate.public_bytes(Encoding.PEM))
    return grpc.secure_channel(address.target, credentials, _OPTIONS)


def raise_for(error: grpc.RpcError, doing: str) -> NoReturn:
    """Our own error for what gRPC reports. What the peer says in the clear is not repeated: it is not authenticated."""
    code = error.code() if isinstance(error, grpc.Call) else grpc.StatusCode.UNKNOWN
    match code:
        case grpc.StatusCode.RESOURCE_EXHAUSTED:
            raise EnclaveFull(f"The enclave is full ({doing}).", "Try again in a while.") from None
        case grpc.StatusCode.UNAVAILABLE:
            raise NotReachable(
                f"The connection to the enclave broke or cannot be made ({doing}).",
                "See that the enclave runs (sparkvault status), then start a new session.",
            ) from None
        case grpc.StatusCode.DEADLINE_EXCEEDED:
            raise NotReachable(f"The enclave did not answer in time ({doing}).", "Try again in a while.") from None
        case grpc.StatusCode.NOT_FOUND | grpc.StatusCode.UNAUTHENTICATED:
            raise SessionLost(
                f"The enclave does not know this session or its keys ({doing}).",
                "It ended, or the enclave was started anew: start a new session.",
            ) from None
    raise EnclaveRefused(
        f"The enclave refuses ({doing}: {code.name.lower().replace('_', ' ')}).", "Start a new session and try again."
    ) from None


def _unreachable(address: Address, reason: object) -> NotReachable:
    why = reason.strerror if isinstance(reason, OSError) and reason.strerror else reason
    return NotReachable(
        f"No enclave answers at {address.text}: {why}.", "See that it runs and that the address is right."
    )
