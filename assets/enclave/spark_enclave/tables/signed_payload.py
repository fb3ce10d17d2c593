"""A payload and its owner's signature: the one envelope of manifests and grants."""

from __future__ import annotations

from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from spark_enclave.tables import canonical_cbor
from spark_enclave.tables.canonical_cbor import NotCanonical

_SIGNATURE_BYTES = 64


@dataclass(frozen=True, slots=True)
class SignedPayload:
    """What was read; nothing about it is known until `is_signed_by` says so."""

    payload: bytes
    signature: bytes

    @classmethod
    def read(cls, data: bytes, *, limit: int) -> SignedPayload:
        """The two parts of at most `limit` bytes; raises NotCanonical."""
        match canonical_cbor.decode(data, limit=limit):
            case [bytes() as payload, bytes() as signature] if len(signature) == _SIGNATURE_BYTES:
                return cls(payload, signature)
        raise NotCanonical("not a payload and its signature")

    def is_signed_by(self, owner_key: bytes, domain: str) -> bool:
        """Whether the holder of `owner_key` (32 bytes) signed it for that use."""
        try:
            Ed25519PublicKey.from_public_bytes(owner_key).verify(self.signature, _with_domain(self.payload, domain))
        except (InvalidSignature, ValueError):
            return False
        return True


def sign(value: object, signing_key: Ed25519PrivateKey, domain: str) -> bytes:
    """The value in its one encoding, and the signature over it for that use."""
    payload = canonical_cbor.encode(value)
    return canonical_cbor.encode([payload, signing_key.sign(_with_domain(payload, domain))])


def _with_domain(payload: bytes, domain: str) -> bytes:
    """What is signed: a signature for one use is none for another."""
    return domain.encode("ascii") + b"\0" + payload
