"""The signature section of an image: who signed PCR0, as COSE_Sign1 with ES384, in the encoding of the Nitro tools.

Source: aws-nitro-enclaves-image-format 0.8.1, src/utils/eif_signer.rs. Byte strings inside are CBOR arrays of numbers
there (the Rust type Vec<u8>), which is why they are here. Signatures are deterministic (RFC 6979): the same inputs give
the same image.
"""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from typing import Final

import cbor2
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from spark_enclave.protocol.untagged_cbor import NO_TAGS
from spark_enclave_image.errors import EifInputError, EifMalformed, EifSignatureInvalid

_PROTECTED_ES384: Final = cbor2.dumps({1: -35})
_HALF: Final = 48


class ImageSigner:
    """A P-384 private key and the certificate whose fingerprint becomes PCR8; both as PEM."""

    def __init__(self, *, private_key_pem: bytes, certificate_pem: bytes) -> None:
        """Raises EifInputError when the two cannot sign an image."""
        try:
            key = serialization.load_pem_private_key(private_key_pem, password=None)
            certificate = x509.load_pem_x509_certificate(certificate_pem)
            certified = certificate.public_key()
        except (ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion) as error:
            raise EifInputError(f"The signing key or its certificate cannot be read as PEM: {error}") from None
        if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP384R1):
            raise EifInputError(
                "The signing key must be on the curve P-384 (`openssl ecparam -name secp384r1 -genkey`)."
            )
        if certified != key.public_key():
            raise EifInputError("The signing certificate is for another key than the one given.")
        self._key = key
        self._certificate_pem = certificate_pem
        self.certificate_der = certificate.public_bytes(serialization.Encoding.DER)

    def sign(self, pcr0: bytes) -> bytes:
        """The data of the signature section for an image with this PCR0 (48 bytes)."""
        payload = _signed_payload(pcr0)
        r, s = decode_dss_signature(
            self._key.sign(_signed_bytes(payload), ec.ECDSA(hashes.SHA384(), deterministic_signing=True))
        )
        envelope = cbor2.dumps([_PROTECTED_ES384, {}, payload, r.to_bytes(_HALF, "big") + s.to_bytes(_HALF, "big")])
        return cbor2.dumps([{"signing_certificate": list(self._certificate_pem), "signature": list(envelope)}])


@dataclass(frozen=True, slots=True)
class ImageSignature:
    """A signature section, read: the certificate and the envelope over PCR0."""

    certificate: x509.Certificate
    certificate_der: bytes
    payload: bytes
    signature: bytes

    @property
    def certificate_sha256(self) -> str:
        """SHA-256 of the certificate's DER, hexadecimal."""
        return hashlib.sha256(self.certificate_der).hexdigest()

    def verify(self, pcr0: bytes) -> None:
        """Raises EifSignatureInvalid unless the certificate's key signed exactly this PCR0 (48 bytes)."""
        key = self.certificate.public_key()
        if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP384R1):
            raise EifSignatureInvalid("The image is signed with a key that is not on the curve P-384.")
        if self.payload != _signed_payload(pcr0):
            raise EifSignatureInvalid("The image's signature is for other content: its PCR0 is not the image's.")
        r, s = (int.from_bytes(half, "big") for half in (self.signature[:_HALF], self.signature[_HALF:]))
        try:
            key.verify(encode_dss_signature(r, s), _signed_bytes(self.payload), ec.ECDSA(hashes.SHA384()))
        except InvalidSignature:
            raise EifSignatureInvalid("The image's signature does not fit its certificate.") from None


def parse_signature(data: bytes) -> ImageSignature:
    """Read a signature section; raises EifMalformed. Whether it is right says `ImageSignature.verify`."""
    entries = _decode(data, max_depth=3)
    if not isinstance(entries, list) or len(entries) != 1 or not isinstance(entries[0], dict):
        raise EifMalformed("The signature section does not hold exactly one signature.")
    if set(entries[0]) != {"signing_certificate", "signature"}:
        raise EifMalformed("The signature section holds something else than a certificate and a signature.")
    certificate_pem = _byte_list(entries[0]["signing_certificate"])
    envelope = _decode(_byte_list(entries[0]["signature"]), max_depth=2)
    try:
        certificate = x509.load_pem_x509_certificate(certificate_pem)
        certificate.public_key()
        bool(certificate.subject and certificate.not_valid_after_utc)
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion) as error:
        raise EifMalformed(f"The signing certificate cannot be read ({error}).") from None
    match envelope:
        case [bytes(protected), dict(unprotected), bytes(payload), bytes(signature)]:
            pass
        case _:
            raise EifMalformed("The image's signature is not COSE_Sign1.")
    if protected != _PROTECTED_ES384 or unprotected or len(signature) != 2 * _HALF:
        raise EifMalformed("The image's signature is not one with ES384 alone.")
    return ImageSignature(certificate, certificate.public_bytes(serialization.Encoding.DER), payload, signature)


def _signed_payload(pcr0: bytes) -> bytes:
    return cbor2.dumps({"register_index": 0, "register_value": list(pcr0)})


def _signed_bytes(payload: bytes) -> bytes:
    return cbor2.dumps(["Signature1", _PROTECTED_ES384, b"", payload])


def _decode(data: bytes, *, max_depth: int) -> object:
    stream = io.BytesIO(data)
    try:
        value = cbor2.CBORDecoder(
            stream,
            semantic_decoders=NO_TAGS,
            max_depth=max_depth,
            allow_duplicate_keys=False,
            allow_indefinite=False,
        ).decode()
    except cbor2.CBORDecodeError as error:
        raise EifMalformed(f"The signature section is not readable CBOR ({error}).") from None
    # The tools write one form; anything else (longer heads, bytes after the end) is somebody else's.
    if cbor2.dumps(value) != data:
        raise EifMalformed("The signature section is not in the encoding that the Nitro tools write.")
    return value


def _byte_list(value: object) -> bytes:
    if not isinstance(value, list) or not all(type(number) is int and 0 <= number < 256 for number in value):
        raise EifMalformed("The signature section holds something else than lists of bytes.")
    return bytes(value)
