"""Certificate chains that are right but for what a test spoils in one certificate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID

from emulation.nsm.device import sign_document
from spark_enclave.attestation import TrustAnchor
from tests.enclave.conftest import NOW

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey


@dataclass(frozen=True)
class Plan:
    """One certificate of a chain, as it would be right; tests replace fields."""

    name: str
    ca: bool = True
    path_length: int | None = None
    basic_constraints: bool = True
    basic_constraints_critical: bool = True
    key_usage: bool = True
    key_cert_sign: bool = True
    digital_signature: bool = True
    key: PrivateKey | None = None
    digest: type[hashes.SHA256] | type[hashes.SHA384] | type[hashes.SHA512] = hashes.SHA384
    begin: datetime = NOW - timedelta(hours=1)
    end: datetime = NOW + timedelta(hours=1)
    issuer_name: str | None = None
    unknown_critical_extension: bool = False
    signed_by_itself: bool = False


ROOT = Plan("root")
REGIONAL = Plan("regional", path_length=2)
ZONAL = Plan("zonal", path_length=1)
INSTANCE = Plan("instance", path_length=0, digital_signature=False)
LEAF = Plan("leaf", ca=False, key_cert_sign=False)
RIGHT = (ROOT, REGIONAL, ZONAL, INSTANCE, LEAF)


@dataclass(frozen=True)
class ForgedChain:
    """Certificates in DER, root first, and the key of the last."""

    certificates: tuple[bytes, ...]
    leaf_key: PrivateKey
    trust: TrustAnchor

    def sign(self, payload: bytes) -> bytes:
        if isinstance(self.leaf_key, ec.EllipticCurvePrivateKey) and isinstance(self.leaf_key.curve, ec.SECP384R1):
            return sign_document(payload, self.leaf_key)
        return sign_document(payload, ec.generate_private_key(ec.SECP384R1()))


def spoiled(index: int, **changes: object) -> ForgedChain:
    """The right chain with one certificate changed: 0 root … 4 leaf."""
    plans = list(RIGHT)
    plans[index] = replace(plans[index], **changes)  # type: ignore[arg-type]
    return chain_of(plans)


def chain_of(plans: Sequence[Plan]) -> ForgedChain:
    keys: list[PrivateKey] = [plan.key or ec.generate_private_key(ec.SECP384R1()) for plan in plans]
    certificates = []
    for index, plan in enumerate(plans):
        issuer = max(index - 1, 0)
        signer = index if plan.signed_by_itself else issuer
        builder = (
            x509.CertificateBuilder()
            .subject_name(_name(plan.name))
            .issuer_name(_name(plan.issuer_name or plans[issuer].name))
            .public_key(keys[index].public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(plan.begin)
            .not_valid_after(plan.end)
        )
        for extension, critical in _extensions(plan):
            builder = builder.add_extension(extension, critical)
        signer_is_ed25519 = isinstance(keys[signer], ed25519.Ed25519PrivateKey)
        certificates.append(builder.sign(keys[signer], None if signer_is_ed25519 else plan.digest()))
    return ForgedChain(
        tuple(certificate.public_bytes(serialization.Encoding.DER) for certificate in certificates),
        keys[-1],
        TrustAnchor.simulated(certificates[0].public_bytes(serialization.Encoding.PEM)),
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _extensions(plan: Plan) -> list[tuple[x509.ExtensionType, bool]]:
    extensions: list[tuple[x509.ExtensionType, bool]] = []
    if plan.basic_constraints:
        extensions.append((x509.BasicConstraints(plan.ca, plan.path_length), plan.basic_constraints_critical))
    if plan.key_usage:
        usage = x509.KeyUsage(
            digital_signature=plan.digital_signature,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            key_cert_sign=plan.key_cert_sign,
            crl_sign=False,
            encipher_only=False,
            decipher_only=False,
        )
        extensions.append((usage, True))
    if plan.unknown_critical_extension:
        unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00")
        extensions.append((unknown, True))
    return extensions
