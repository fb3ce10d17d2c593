"""Certificates as AWS's Nitro Attestation PKI issues them, under a root of our own.

Root → regional → zonal → instance → leaf. Names, extensions and lifetimes follow documents that real hypervisors
signed: path lengths none, 2, 1, 0; key identifiers down to the zonal certificate only; a leaf of three hours, its key
usage not critical.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

#: Stands in every subject, so that nobody takes one of these certificates for AWS's.
SIMULATION: Final = "sparkvault SIMULATION"

_ROOT_LIFETIME: Final = timedelta(days=30 * 365)
_REGIONAL_LIFETIME: Final = timedelta(days=20)
_ZONAL_LIFETIME: Final = timedelta(days=6)
_INSTANCE_LIFETIME: Final = timedelta(days=1)
LEAF_LIFETIME: Final = timedelta(hours=3)
#: Real leaves begin some seconds before the first document that they sign.
_LEAF_HEAD_START: Final = timedelta(seconds=3)

Clock = Callable[[], datetime]


def now() -> datetime:
    """The time, to the second as certificates have it, aware (UTC)."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Leaf:
    """The key that signs documents, its certificate and its issuers, root first; all certificates in DER."""

    key: ec.EllipticCurvePrivateKey
    certificate: bytes
    cabundle: tuple[bytes, ...]
    not_after: datetime


class SimulatedPki:
    """A root, and chains under it that are made anew when they are about to expire."""

    def __init__(
        self,
        *,
        root_key: ec.EllipticCurvePrivateKey,
        root_certificate: x509.Certificate,
        region: str = "eu-central-1",
        clock: Clock = now,
    ) -> None:
        self._root_key, self._root = root_key, root_certificate
        self._region, self._clock = region, clock

    @classmethod
    def new(cls, *, region: str = "eu-central-1", clock: Clock = now) -> SimulatedPki:
        """A PKI with a root of its own, kept nowhere."""
        key = _new_key()
        begin = clock() - timedelta(days=1)
        name = _name("simulated.nitro-enclaves")
        root = _sign(
            subject=name,
            issuer=name,
            key=key,
            issuer_key=key,
            begin=begin,
            end=begin + _ROOT_LIFETIME,
            extensions=[
                (x509.BasicConstraints(ca=True, path_length=None), True),
                (x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False),
                (_issuer_usage(), True),
            ],
        )
        return cls(root_key=key, root_certificate=root, region=region, clock=clock)

    @classmethod
    def kept_in(cls, folder: Path, *, region: str = "eu-central-1", clock: Clock = now) -> SimulatedPki:
        """The PKI whose root lies in `folder` (`root.pem`; `root-key.pem`, its owner's), made the first time."""
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        certificate_file, key_file = folder / "root.pem", folder / "root-key.pem"
        if not key_file.exists():
            pki = cls.new(region=region, clock=clock)
            certificate_file.write_bytes(pki.root_pem)
            with os.fdopen(os.open(key_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(
                    pki._root_key.private_bytes(
                        serialization.Encoding.PEM,
                        serialization.PrivateFormat.PKCS8,
                        serialization.NoEncryption(),
                    )
                )
            return pki
        key = serialization.load_pem_private_key(key_file.read_bytes(), password=None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise ValueError(f"{key_file} is not the key of a simulated root")
        root = x509.load_pem_x509_certificate(certificate_file.read_bytes())
        return cls(root_key=key, root_certificate=root, region=region, clock=clock)

    @property
    def root_pem(self) -> bytes:
        """What a client is given to trust this simulation explicitly."""
        return self._root.public_bytes(serialization.Encoding.PEM)

    def issue_leaf(self, module_id: str) -> Leaf:
        """A fresh chain for the enclave `module_id` (`i-….-enc…`), valid from now for three hours."""
        begin = self._clock().replace(microsecond=0)
        instance_id = module_id.partition("-enc")[0]
        regional_key, zonal_key, instance_key, leaf_key = (_new_key() for _ in range(4))
        domain = f"{self._region}.simulated.nitro-enclaves"
        regional_name, zonal_name = _name(f"regional.{domain}"), _name(f"zonal.{domain}", locality="Nowhere")
        instance_name = _name(f"{instance_id}.{domain}", locality="Nowhere")
        leaf_name = _name(f"{module_id}.{self._region}.simulated", locality="Nowhere")
        regional = _sign(
            subject=regional_name,
            issuer=self._root.subject,
            key=regional_key,
            issuer_key=self._root_key,
            begin=begin - timedelta(hours=12),
            end=begin + _REGIONAL_LIFETIME,
            extensions=_upper_extensions(regional_key, self._root_key, path_length=2),
        )
        zonal = _sign(
            subject=zonal_name,
            issuer=regional_name,
            key=zonal_key,
            issuer_key=regional_key,
            begin=begin - timedelta(hours=8),
            end=begin + _ZONAL_LIFETIME,
            extensions=_upper_extensions(zonal_key, regional_key, path_length=1),
        )
        instance = _sign(
            subject=instance_name,
            issuer=zonal_name,
            key=instance_key,
            issuer_key=zonal_key,
            begin=begin - timedelta(minutes=15),
            end=begin + _INSTANCE_LIFETIME,
            extensions=[
                (x509.BasicConstraints(ca=True, path_length=0), True),
                (_usage(key_cert_sign=True), True),
            ],
        )
        leaf = _sign(
            subject=leaf_name,
            issuer=instance_name,
            key=leaf_key,
            issuer_key=instance_key,
            begin=begin - _LEAF_HEAD_START,
            end=begin + LEAF_LIFETIME,
            extensions=[
                (x509.BasicConstraints(ca=False, path_length=None), True),
                (_usage(digital_signature=True, content_commitment=True), False),
            ],
        )
        der = serialization.Encoding.DER
        return Leaf(
            key=leaf_key,
            certificate=leaf.public_bytes(der),
            cabundle=tuple(certificate.public_bytes(der) for certificate in (self._root, regional, zonal, instance)),
            not_after=begin + LEAF_LIFETIME,
        )


def _new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP384R1())


def _name(common_name: str, *, locality: str | None = None) -> x509.Name:
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, common_name[:64])]
    attributes += [x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, SIMULATION)]
    attributes += [x509.NameAttribute(NameOID.LOCALITY_NAME, locality)] if locality else []
    return x509.Name(attributes)


def _upper_extensions(
    key: ec.EllipticCurvePrivateKey, issuer_key: ec.EllipticCurvePrivateKey, *, path_length: int
) -> list[tuple[x509.ExtensionType, bool]]:
    return [
        (x509.BasicConstraints(ca=True, path_length=path_length), True),
        (x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), False),
        (x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False),
        (_issuer_usage(), True),
    ]


def _issuer_usage() -> x509.KeyUsage:
    return _usage(digital_signature=True, key_cert_sign=True, crl_sign=True)


def _usage(
    *,
    digital_signature: bool = False,
    content_commitment: bool = False,
    key_cert_sign: bool = False,
    crl_sign: bool = False,
) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=content_commitment,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        encipher_only=False,
        decipher_only=False,
    )


def _sign(
    *,
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    issuer_key: ec.EllipticCurvePrivateKey,
    begin: datetime,
    end: datetime,
    extensions: list[tuple[x509.ExtensionType, bool]],
) -> x509.Certificate:
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(end)
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    return builder.sign(issuer_key, hashes.SHA384())
