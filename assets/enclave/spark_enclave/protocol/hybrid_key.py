"""The HPKE suite: ML-KEM-768 with X25519, HKDF-SHA-384, AES-256-GCM, so that keys recorded today stay closed."""

from __future__ import annotations

from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import (
    AEAD,
    KDF,
    KEM,
    MLKEM768X25519PrivateKey,
    MLKEM768X25519PublicKey,
    Suite,
)

from spark_enclave.protocol.refusals import MessageMalformed, SealBroken

#: HPKE (RFC 9180), base mode; KEM 0x647a of draft-ietf-hpke-pq: the hybrid also known as X-Wing.
SUITE: Final = Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA384, AEAD.AES_256_GCM)
_MLKEM_BYTES: Final = 1184
PUBLIC_KEY_BYTES: Final = _MLKEM_BYTES + 32


class HybridPrivateKey:
    """The enclave's key for sealed openings; made at boot, never leaves."""

    def __init__(self, mlkem: MLKEM768PrivateKey, x25519: X25519PrivateKey) -> None:
        self._key = MLKEM768X25519PrivateKey(mlkem, x25519)
        self.public_bytes = mlkem.public_key().public_bytes_raw() + x25519.public_key().public_bytes_raw()
        """1216 bytes: ML-KEM-768 encapsulation key ‖ X25519 public key."""

    @classmethod
    def generate(cls) -> HybridPrivateKey:
        """From the operating system's randomness."""
        return cls(MLKEM768PrivateKey.generate(), X25519PrivateKey.generate())

    def open(self, sealed: bytes, info: bytes) -> bytes:
        """What was sealed to this key for this `info`; raises SealBroken."""
        try:
            return SUITE.decrypt(sealed, self._key, info)
        except (InvalidTag, ValueError):
            raise SealBroken("The opening of the session is not sealed to this enclave's key.") from None


def seal_to(public_key: bytes, plaintext: bytes, info: bytes) -> bytes:
    """Encapsulated key ‖ ciphertext, for the holder of `public_key` (1216 bytes) alone; raises MessageMalformed."""
    if len(public_key) != PUBLIC_KEY_BYTES:
        raise MessageMalformed(f"The enclave's HPKE key has {len(public_key)} bytes, not {PUBLIC_KEY_BYTES}.")
    try:
        key = MLKEM768X25519PublicKey(
            MLKEM768PublicKey.from_public_bytes(public_key[:_MLKEM_BYTES]),
            X25519PublicKey.from_public_bytes(public_key[_MLKEM_BYTES:]),
        )
        return SUITE.encrypt(plaintext, key, info)
    except ValueError:
        raise MessageMalformed("The enclave's HPKE key is not a valid one.") from None
