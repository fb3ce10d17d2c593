"""The signed envelope of an attestation document (COSE_Sign1, RFC 9052 section 4.2), read in one encoding only.

Only the protected header and the payload are signed. If the envelope around them could be written in several ways, one
document would have many forms; hence lengths must be the shortest, and nothing may be indefinite, tagged or appended.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from spark_enclave.attestation import strict_cbor
from spark_enclave.attestation.refusals import (
    AlgorithmRefused,
    DocumentTooLarge,
    EnvelopeMalformed,
    PayloadTooLarge,
    SignatureInvalid,
    TrailingBytes,
)

#: "bstr .size (1..16384)": AWS, attestation_process.md, section 3.1.
MAX_PAYLOAD_BYTES: Final = 16_384
#: Payload, protected header, signature and the heads around them.
MAX_DOCUMENT_BYTES: Final = MAX_PAYLOAD_BYTES + 128
#: COSE algorithm identifier (RFC 9053, section 2.1): ECDSA with SHA-384.
ES384: Final = -35
_SIGNATURE_BYTES: Final = 96

_ARRAY_OF_FOUR: Final = 0x84
_EMPTY_MAP: Final = 0xA0
_BYTE_STRING: Final = 2
_TAGS: Final = range(0xC0, 0xE0)


@dataclass(frozen=True, slots=True)
class CoseSign1:
    """The parts of an envelope, as they came; nothing is verified until `verify` returns."""

    protected: bytes
    payload: bytes
    signature: bytes

    @property
    def signed_bytes(self) -> bytes:
        """What was signed: Sig_structure ["Signature1", protected, external_aad = h'', payload]."""
        return (
            b"\x84\x6aSignature1"
            + _head(len(self.protected))
            + self.protected
            + _head(0)
            + _head(len(self.payload))
            + self.payload
        )

    @property
    def statement_sha384(self) -> bytes:
        """48 bytes that name this statement whatever its signature's bytes: an ECDSA signature has two valid forms."""
        return hashlib.sha384(self.signed_bytes).digest()

    def verify(self, key: ec.EllipticCurvePublicKey) -> None:
        """Check the signature r‖s (2 x 48 bytes); raises SignatureInvalid."""
        half = _SIGNATURE_BYTES // 2
        r, s = int.from_bytes(self.signature[:half], "big"), int.from_bytes(self.signature[half:], "big")
        try:
            key.verify(encode_dss_signature(r, s), self.signed_bytes, ec.ECDSA(hashes.SHA384()))
        except InvalidSignature:
            raise SignatureInvalid("The document's signature is wrong.") from None


def parse(document: bytes) -> CoseSign1:
    """Take the envelope apart.

    Raises DocumentTooLarge, EnvelopeMalformed, AlgorithmRefused, PayloadTooLarge, TrailingBytes, or what
    `strict_cbor.decode` raises for the protected header.
    """
    if len(document) > MAX_DOCUMENT_BYTES:
        raise DocumentTooLarge(f"The document has {len(document)} bytes, more than {MAX_DOCUMENT_BYTES}.")
    if not document:
        raise EnvelopeMalformed("The document is empty.")
    if document[0] in _TAGS:
        raise EnvelopeMalformed("The document is tagged; Nitro hypervisors send it untagged.")
    if document[0] != _ARRAY_OF_FOUR:
        raise EnvelopeMalformed("The document is not an array of four parts.")
    protected, position = _byte_string(document, 1, "protected header")
    if position >= len(document) or document[position] != _EMPTY_MAP:
        raise EnvelopeMalformed("The document's unprotected header is not empty.")
    payload, position = _byte_string(document, position + 1, "payload")
    signature, position = _byte_string(document, position, "signature")
    if position != len(document):
        raise TrailingBytes(f"The document ends after {position} of {len(document)} bytes.")
    _require_es384(protected)
    if not 1 <= len(payload) <= MAX_PAYLOAD_BYTES:
        raise PayloadTooLarge(f"The payload has {len(payload)} bytes, not 1 to {MAX_PAYLOAD_BYTES}.")
    if len(signature) != _SIGNATURE_BYTES:
        raise EnvelopeMalformed(f"The signature has {len(signature)} bytes, not {_SIGNATURE_BYTES}.")
    return CoseSign1(protected=protected, payload=payload, signature=signature)


def _require_es384(protected: bytes) -> None:
    header = strict_cbor.decode(protected, "The protected header", max_depth=1)
    if not isinstance(header, dict) or [type(key) for key in header] != [int] or 1 not in header:
        raise EnvelopeMalformed("The protected header is not a map with the algorithm alone.")
    algorithm = header[1]
    if type(algorithm) is not int or algorithm != ES384:
        raise AlgorithmRefused(f"The document is signed with COSE algorithm {algorithm!r}, not ES384 ({ES384}).")


def _byte_string(data: bytes, start: int, what: str) -> tuple[bytes, int]:
    """The definite byte string at `start` and where it ends; its length must be in the shortest form."""
    if start >= len(data):
        raise EnvelopeMalformed(f"The document ends before its {what}.")
    major, short = data[start] >> 5, data[start] & 0x1F
    if major != _BYTE_STRING or short > 25:
        raise EnvelopeMalformed(f"The {what} is not a byte string of definite length up to 65,535.")
    width = {24: 1, 25: 2}.get(short, 0)
    begin = start + 1 + width
    length = int.from_bytes(data[start + 1 : begin], "big") if width else short
    if data[start:begin] != _head(length) or begin + length > len(data):
        raise EnvelopeMalformed(f"The {what} is truncated or its length is not in the shortest form.")
    return data[begin : begin + length], begin + length


def _head(length: int) -> bytes:
    """Head of a CBOR byte string of `length` bytes (RFC 8949, section 3), up to 65,535."""
    if length < 24:
        return bytes([0x40 | length])
    if length < 0x100:
        return bytes([0x58, length])
    return b"\x59" + length.to_bytes(2, "big")
