"""The key schedule: every key of a session, each for one purpose, one message number and one direction."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Final, Literal

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from spark_enclave.protocol import canonical_cbor
from spark_enclave.protocol.limits import DOMAIN, KEY_BYTES, TICKET_BYTES, VERSION
from spark_enclave.protocol.refusals import SealBroken

Purpose = Literal["accepted", "table", "query", "result", "ticket"]
Direction = Literal["to-enclave", "to-client"]

#: A key for a single message is used with this nonce once and never again.
_ONLY_NONCE: Final = bytes(12)


@dataclass(frozen=True, slots=True)
class SessionKeys:
    """One session, on either side. Holds the secret that all its keys come from; never shown."""

    session_id: bytes
    server_random: bytes
    transcript: bytes
    """SHA-384 over the opening, the enclave's random bytes and the session id."""
    secret: bytes = field(repr=False)

    @classmethod
    def agree(
        cls, *, secret: bytes, opening_info: bytes, sealed_opening: bytes, server_random: bytes, session_id: bytes
    ) -> SessionKeys:
        """From the client's 32 secret bytes (sealed to the enclave) and the enclave's 32 random ones."""
        transcript = canonical_cbor.encode(
            [
                DOMAIN,
                VERSION,
                "transcript",
                opening_info,
                hashlib.sha384(sealed_opening).digest(),
                server_random,
                session_id,
            ]
        )
        return cls(session_id, server_random, hashlib.sha384(transcript).digest(), secret)

    def key(self, purpose: Purpose, number: int, direction: Direction) -> bytes:
        """32 bytes by HKDF-SHA-384: salt the enclave's random bytes, input the client's secret, info what it is for."""
        info = [DOMAIN, VERSION, "key", purpose, self.session_id, number, direction, self.transcript]
        return HKDF(SHA384(), KEY_BYTES, salt=self.server_random, info=canonical_cbor.encode(info)).derive(self.secret)

    def ticket(self, number: int) -> bytes:
        """16 bytes that let somebody carry the sealed result of query `number`; they open nothing."""
        return self.key("ticket", number, "to-enclave")[:TICKET_BYTES]

    def seal(self, purpose: Purpose, number: int, direction: Direction, plaintext: bytes) -> bytes:
        """The one message of this purpose, number and direction, under AES-256-GCM with a key of its own."""
        return AESGCM(self.key(purpose, number, direction)).encrypt(
            _ONLY_NONCE, plaintext, self._place(purpose, number, direction)
        )

    def unseal(self, purpose: Purpose, number: int, direction: Direction, sealed: bytes) -> bytes:
        """The plaintext of that message; raises SealBroken."""
        try:
            return AESGCM(self.key(purpose, number, direction)).decrypt(
                _ONLY_NONCE, sealed, self._place(purpose, number, direction)
            )
        except (InvalidTag, ValueError):
            raise SealBroken(f"A sealed message ({purpose}, {direction}) cannot be opened.") from None

    def _place(self, purpose: Purpose, number: int, direction: Direction) -> bytes:
        return canonical_cbor.encode([DOMAIN, VERSION, "message", purpose, self.session_id, number, direction])
