"""From an address to an enclave that proved what it runs, and to a session with it."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

import grpc
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from spark_enclave.attestation import Freshness, MeasurementPolicy, TrustAnchor, VerifiedAttestation, verify
from spark_enclave.attestation.freshness import DEFAULT_FRESHNESS
from spark_enclave.attestation.trust import AWS_NITRO
from spark_enclave.attestation.verified import require_verified
from spark_enclave.client.errors import EnclaveFull, NotReachable
from spark_enclave.client.session import EnclaveSession
from spark_enclave.client.transport import Address, fetch_certificate, open_channel, public_key_of, raise_for
from spark_enclave.protocol import canonical_cbor, session_opening
from spark_enclave.protocol import enclave_pb2 as wire
from spark_enclave.protocol.binding import Binding
from spark_enclave.protocol.enclave_pb2_grpc import EnclaveStub
from spark_enclave.protocol.limits import NONCE_BYTES, RANDOM_BYTES, SESSION_ID_BYTES
from spark_enclave.protocol.refusals import MessageMalformed, TlsKeyNotBound
from spark_enclave.protocol.session_keys import SessionKeys

_CONNECT_SECONDS: Final = 10.0
_CALL_SECONDS: Final = 60.0
_FIRST_PAUSE_SECONDS: Final = 0.2
_LONGEST_PAUSE_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class Trust:
    """What a client believes: which images, under whose signature, how fresh."""

    policy: MeasurementPolicy
    anchor: TrustAnchor = AWS_NITRO
    freshness: Freshness = DEFAULT_FRESHNESS


@dataclass(frozen=True, slots=True)
class Attested:
    """An enclave that proved what it runs, over a connection that ends inside it."""

    attestation: VerifiedAttestation
    binding: Binding
    opening_info: bytes
    """What an opening for it is bound to; used once."""
    nonce: bytes

    def explain(self) -> str:
        """What was proven, in words, a line for each; begins with SIMULATED when it is."""
        return "\n".join(
            [
                self.attestation.describe(),
                "The TLS connection ends inside this enclave: its key is the attested one.",
                f"Keys are sealed to the attested HPKE key of boot {self.binding.boot_id.hex()}.",
            ]
        )


class EnclaveConnection:
    """A connection to an address. Nothing secret is sent over it before `attest` succeeded. Use a `with` block."""

    def __init__(self, address: str, *, timeout: float = _CONNECT_SECONDS) -> None:
        """Connect; raises NotReachable. `timeout` in seconds, for each step of connecting."""
        self.address = Address(address)
        self._certificate = fetch_certificate(self.address, timeout)
        self._channel = open_channel(self.address, self._certificate)
        self._stub = EnclaveStub(self._channel)  # type: ignore[no-untyped-call]
        try:
            grpc.channel_ready_future(self._channel).result(timeout)
        except grpc.FutureTimeoutError:
            self._channel.close()
            raise NotReachable(
                f"The TLS connection to {address} cannot be made.", "See that it leads to an enclave and try again."
            ) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; sessions in the enclave end by themselves when they are idle."""
        self._channel.close()

    def attest(self, trust: Trust) -> Attested:
        """Ask for a document and verify everything about it and this connection.

        Raises AttestationRefused, TlsKeyNotBound, BindingRefused, MessageMalformed, NotReachable.
        """
        nonce = os.urandom(NONCE_BYTES)
        try:
            reply: wire.AttestReply = self._stub.Attest(wire.AttestRequest(nonce=nonce), timeout=_CALL_SECONDS)
        except grpc.RpcError as error:
            raise_for(error, "attestation")
        binding = Binding.decode(reply.binding)
        verified = verify(
            reply.document,
            policy=trust.policy,
            nonce=nonce,
            user_data=binding.digest(),
            trust=trust.anchor,
            freshness=trust.freshness,
        )
        if binding.tls_key != public_key_of(self._certificate):
            raise TlsKeyNotBound("The certificate of this connection is not the one that the enclave attested.")
        info = session_opening.opening_info(nonce, reply.document, reply.binding)
        return Attested(verified, binding, info, nonce)

    def open_session(
        self, trust: Trust, signing_key: Ed25519PrivateKey, *, patience_seconds: float = 30.0
    ) -> EnclaveSession:
        """Attest, then open a session; where the enclave is full, again with growing pauses for `patience_seconds`.

        Raises as `attest`, and EnclaveFull, SealBroken (whoever answered does not hold the attested key).
        """
        deadline, pause = time.monotonic() + patience_seconds, _FIRST_PAUSE_SECONDS
        while True:
            try:
                return self._open(self.attest(trust), signing_key)
            except EnclaveFull:
                if time.monotonic() + pause > deadline:
                    raise
                time.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    def _open(self, attested: Attested, signing_key: Ed25519PrivateKey) -> EnclaveSession:
        require_verified(attested.attestation)
        secret = os.urandom(RANDOM_BYTES)
        sealed = session_opening.seal(attested.binding.hpke_key, attested.opening_info, secret, signing_key)
        request = wire.OpenSessionRequest(nonce=attested.nonce, sealed=sealed)
        try:
            reply: wire.OpenSessionReply = self._stub.OpenSession(request, timeout=_CALL_SECONDS)
        except grpc.RpcError as error:
            raise_for(error, "opening a session")
        if len(reply.session_id) != SESSION_ID_BYTES or len(reply.server_random) != RANDOM_BYTES:
            raise MessageMalformed("The answer to the opening has the wrong sizes.")
        keys = SessionKeys.agree(
            secret=secret,
            opening_info=attested.opening_info,
            sealed_opening=sealed,
            server_random=reply.server_random,
            session_id=reply.session_id,
        )
        accepted = canonical_cbor.decode_map(
            keys.unseal("accepted", 0, "to-client", reply.sealed),
            "acceptance",
            {"seconds_idle": int, "seconds_most": int, "memory_mib": int},
        )
        return EnclaveSession(self._stub, keys, attested, int(str(accepted["memory_mib"])))
