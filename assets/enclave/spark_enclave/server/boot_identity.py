"""The keys that one start of the enclave makes for itself, and what of them is attested."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from spark_enclave.protocol.binding import Binding
from spark_enclave.protocol.hybrid_key import HybridPrivateKey
from spark_enclave.protocol.limits import BOOT_ID_BYTES, TLS_NAME

#: The certificate's dates say nothing: the key is attested, and lives as long as the enclave. An enclave's clock may be
#: off at its start, so they are wide (RFC 5280, 4.1.2.5, for the last).
_FROM: Final = datetime(2020, 1, 1, tzinfo=UTC)
_UNTIL: Final = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class BootIdentity:
    """Made at the start, in memory only, gone with the process."""

    certificate_pem: bytes
    tls_key_pem: bytes = field(repr=False)
    hpke_key: HybridPrivateKey = field(repr=False)
    binding: Binding

    @classmethod
    def generate(cls) -> BootIdentity:
        """New keys, a self-signed certificate, a new boot id."""
        key = ec.generate_private_key(ec.SECP256R1())
        hpke_key = HybridPrivateKey.generate()
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, TLS_NAME)])
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(_FROM)
            .not_valid_after(_UNTIL)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(TLS_NAME)]), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .sign(key, hashes.SHA256())
        )
        return cls(
            certificate_pem=certificate.public_bytes(Encoding.PEM),
            tls_key_pem=key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
            hpke_key=hpke_key,
            binding=Binding(
                boot_id=os.urandom(BOOT_ID_BYTES),
                tls_key=key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
                hpke_key=hpke_key.public_bytes,
            ),
        )
