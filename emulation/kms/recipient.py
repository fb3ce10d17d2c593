"""The `Recipient` of a KMS call: the document is checked as KMS checks it, its registers become condition keys."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import load_der_public_key

from emulation.kms import enveloped_data
from spark_enclave.attestation import certificate_chain, cose_sign1, document
from spark_enclave.attestation.freshness import moment_of
from spark_enclave.attestation.refusals import AttestationRefused
from spark_enclave.attestation.trust import TrustAnchor

#: KMS takes documents for so long after they were signed (KMS developer guide, "Cryptographic attestation support").
MAX_AGE: Final = timedelta(minutes=5)
_CLOCK_SKEW: Final = timedelta(minutes=1)
_ALGORITHM: Final = "RSAES_OAEP_SHA_256"
_KEY_BITS: Final = 2048


class RecipientRefused(Exception):
    """The document or its key is not one that KMS would answer; the message says which rule it breaks."""


@dataclass(frozen=True, slots=True)
class Recipient:
    """An enclave that has proven what it runs. Debug mode is no reason to refuse: its registers are zero, and that is
    for the key's policy to look at."""

    public_key: rsa.RSAPublicKey
    registers: dict[int, bytes]

    def condition_keys(self) -> dict[str, str]:
        """``kms:RecipientAttestation:…`` → SHA-384 in lower-case hexadecimal."""
        prefix = "kms:RecipientAttestation:"
        keys = {f"{prefix}PCR{index}": value.hex() for index, value in self.registers.items()}
        if 0 in self.registers:
            keys[f"{prefix}ImageSha384"] = self.registers[0].hex()
        return keys

    def seal(self, plaintext: bytes) -> bytes:
        """CiphertextForRecipient."""
        return enveloped_data.seal(plaintext, self.public_key)


def read(parameter: Any, root: Path, *, at: datetime | None = None) -> Recipient:
    """Check the parameter; `root` is the PEM file of the simulated root, which stands for AWS's here.

    Raises RecipientRefused.
    """
    if not isinstance(parameter, dict) or set(parameter) != {"AttestationDocument", "KeyEncryptionAlgorithm"}:
        raise RecipientRefused("Recipient needs AttestationDocument and KeyEncryptionAlgorithm")
    if parameter["KeyEncryptionAlgorithm"] != _ALGORITHM:
        raise RecipientRefused(f"KeyEncryptionAlgorithm must be {_ALGORITHM}")
    if not root.exists():
        raise RecipientRefused("no simulated Nitro root is trusted here: no document can be checked")
    now = at or datetime.now(UTC)
    try:
        envelope = cose_sign1.parse(base64.b64decode(parameter["AttestationDocument"], validate=True))
        fields = document.parse(envelope.payload)
        chain = certificate_chain.load(fields.certificate, fields.cabundle, TrustAnchor.simulated(root.read_bytes()))
        envelope.verify(chain.leaf_key)
        made = moment_of(fields.timestamp_ms)
        chain.verify(made if now < made <= now + _CLOCK_SKEW else now)
    except (AttestationRefused, binascii.Error) as error:
        raise RecipientRefused(f"the attestation document is refused: {error}") from None
    if not -_CLOCK_SKEW <= now - made <= MAX_AGE:
        raise RecipientRefused(f"the attestation document was signed at {made}: KMS takes it for {MAX_AGE}")
    return Recipient(_public_key(fields.public_key), dict(fields.pcrs))


def _public_key(encoded: bytes | None) -> rsa.RSAPublicKey:
    if encoded is None:
        raise RecipientRefused("the attestation document has no public key to encrypt to")
    try:
        key = load_der_public_key(encoded)
    except (ValueError, UnsupportedAlgorithm):
        raise RecipientRefused("the attestation document's public key is no SubjectPublicKeyInfo in DER") from None
    if not isinstance(key, rsa.RSAPublicKey) or key.key_size != _KEY_BITS:
        raise RecipientRefused(f"the attestation document's public key is not RSA with {_KEY_BITS} bits")
    return key
