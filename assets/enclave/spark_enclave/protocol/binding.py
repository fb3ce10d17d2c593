"""The structure whose SHA-384 an attestation document carries as user_data: which keys are the enclave's."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final

from spark_enclave.protocol import canonical_cbor
from spark_enclave.protocol.limits import BOOT_ID_BYTES, DOMAIN, VERSION
from spark_enclave.protocol.refusals import BindingRefused

#: A session of queries. A document made to be shown to KMS has another purpose, so that neither passes for the other.
SESSION: Final = "session"
KEY_RELEASE: Final = "key-release"

_FIELDS: Final = {"domain": str, "version": int, "boot_id": bytes, "tls_key": bytes, "hpke_key": bytes, "purpose": str}


@dataclass(frozen=True, slots=True)
class Binding:
    """What one boot of the enclave binds together."""

    boot_id: bytes
    """16 random bytes, new at every start."""
    tls_key: bytes
    """SubjectPublicKeyInfo (DER) of the TLS certificate's key."""
    hpke_key: bytes
    """Public key for HPKE: ML-KEM-768 (1184 bytes) ‖ X25519 (32 bytes)."""
    purpose: str = SESSION

    def encode(self) -> bytes:
        """Canonical CBOR of {domain, version, boot_id, tls_key, hpke_key, purpose}."""
        return canonical_cbor.encode(
            {
                "domain": DOMAIN,
                "version": VERSION,
                "boot_id": self.boot_id,
                "tls_key": self.tls_key,
                "hpke_key": self.hpke_key,
                "purpose": self.purpose,
            }
        )

    def digest(self) -> bytes:
        """The document's user_data: SHA-384 of the encoding, 48 bytes."""
        return hashlib.sha384(self.encode()).digest()

    @classmethod
    def decode(cls, data: bytes, *, purpose: str = SESSION) -> Binding:
        """Read it back; raises MessageMalformed, or BindingRefused for another domain, version or purpose.

        What it says is worth nothing until its digest was found in a verified document.
        """
        fields = canonical_cbor.decode_map(data, "attested structure", _FIELDS)
        if (fields["domain"], fields["version"]) != (DOMAIN, VERSION):
            raise BindingRefused(f"The attested structure is not of {DOMAIN}, version {VERSION}.")
        if fields["purpose"] != purpose:
            raise BindingRefused(f"The document was made for another purpose than {purpose}.")
        boot_id, tls_key, hpke_key = fields["boot_id"], fields["tls_key"], fields["hpke_key"]
        assert isinstance(boot_id, bytes)  # noqa: S101 (decode_map saw to it; for mypy)
        assert isinstance(tls_key, bytes)  # noqa: S101
        assert isinstance(hpke_key, bytes)  # noqa: S101
        if len(boot_id) != BOOT_ID_BYTES or not tls_key:
            raise BindingRefused("The attested structure has a boot id or a key of the wrong size.")
        return cls(boot_id=boot_id, tls_key=tls_key, hpke_key=hpke_key, purpose=purpose)
