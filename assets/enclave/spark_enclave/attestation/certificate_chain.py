"""The certificates from the trusted root to the key that signed a document.

AWS's chain is root → regional → zonal → instance → leaf. Two judges must agree: our own rules, which name what is wrong
(AWS, attestation_process.md, section 3.2.3), and the path validation of `cryptography` (RFC 5280), which covers what a
list of rules would forget, such as unknown critical extensions.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import verification
from cryptography.x509.oid import SignatureAlgorithmOID

from spark_enclave.attestation.refusals import (
    CertificateAlgorithmRefused,
    CertificateExpired,
    CertificateMalformed,
    CertificateNotYetValid,
    CertificatePathTooLong,
    CertificateSignatureInvalid,
    CertificateUsageRefused,
    ChainRefused,
    UntrustedRoot,
)
from spark_enclave.attestation.trust import TrustAnchor

#: AWS sends four issuers; the limit bounds the work that a hostile document can cause.
MAX_ISSUERS: Final = 8

_ROLES: Final = ("root", "regional", "zonal", "instance")


@dataclass(frozen=True, slots=True)
class CertificateSummary:
    """What a verified certificate says, for people: `subject` as RFC 4514 text, `sha256` of its DER in hexadecimal."""

    subject: str
    not_before: datetime
    not_after: datetime
    sha256: str


@dataclass(frozen=True, slots=True)
class CertificateChain:
    """Root first, leaf last: readable, on the right curve, under the trusted root; `verify` checks the rest."""

    certificates: tuple[x509.Certificate, ...]

    @property
    def leaf_key(self) -> ec.EllipticCurvePublicKey:
        """The P-384 key that must have signed the document."""
        return _p384_key(self.certificates[-1], _name(len(self.certificates) - 1, len(self.certificates)))

    def summaries(self) -> tuple[CertificateSummary, ...]:
        """Root first, leaf last."""
        return tuple(
            CertificateSummary(
                subject=certificate.subject.rfc4514_string(),
                not_before=certificate.not_valid_before_utc,
                not_after=certificate.not_valid_after_utc,
                sha256=hashlib.sha256(certificate.public_bytes(Encoding.DER)).hexdigest(),
            )
            for certificate in self.certificates
        )

    def verify(self, at: datetime) -> None:
        """Check validity `at` (aware), usage, path lengths, signatures; raises the ChainRefused that fits."""
        count = len(self.certificates)
        for index, certificate in enumerate(self.certificates):
            name = _name(index, count)
            _check_validity(certificate, name, at)
            if index == count - 1:
                _check_leaf_usage(certificate, name)
            else:
                _check_issuer_usage(certificate, name, issuers_below=count - 2 - index)
        for index in range(1, count):
            _check_issued_by(self.certificates[index], self.certificates[index - 1], _name(index, count))
        _second_judge(self.certificates, at)


def load(certificate: bytes, cabundle: Sequence[bytes], trust: TrustAnchor) -> CertificateChain:
    """Read the certificates of a document (DER, bundle root first).

    Raises UntrustedRoot, CertificatePathTooLong, CertificateMalformed, CertificateAlgorithmRefused.
    """
    if hashlib.sha256(cabundle[0]).hexdigest() != trust.root_sha256:
        raise UntrustedRoot(
            "The document's certificates begin with a root other than "
            + ("the given simulated one." if trust.is_simulated else "that of the AWS Nitro Enclaves PKI.")
        )
    if len(cabundle) > MAX_ISSUERS:
        raise CertificatePathTooLong(f"The document brings {len(cabundle)} issuers, more than {MAX_ISSUERS}.")
    encoded = (*cabundle, certificate)
    return CertificateChain(tuple(_load(der, _name(index, len(encoded))) for index, der in enumerate(encoded)))


def _name(index: int, count: int) -> str:
    if index == count - 1:
        return "enclave's certificate"
    return f"{_ROLES[index]} certificate" if index < len(_ROLES) else f"certificate {index} of the bundle"


def _load(der: bytes, name: str) -> x509.Certificate:
    try:
        certificate = x509.load_der_x509_certificate(der)
        version = certificate.version
        # Reading them all now: what cannot be read later would be an error in the middle of a decision.
        for part in (certificate.extensions, certificate.subject, certificate.issuer, certificate.not_valid_after_utc):
            bool(part)
    except (
        # Where the caller has warnings raised: what the library warns of is no certificate of AWS's.
        Warning,
        ValueError,
        TypeError,
        x509.InvalidVersion,
        x509.DuplicateExtension,
        x509.UnsupportedGeneralNameType,
    ) as error:
        raise CertificateMalformed(f"The {name} cannot be read ({error}).") from None
    if version is not x509.Version.v3:
        raise CertificateMalformed(f"The {name} is not of X.509 version 3.")
    # A certificate ends with its signature, whole bytes: the count of unused bits before it is zero. The library takes
    # other counts, which would give one certificate two encodings.
    if not der.endswith(b"\x00" + certificate.signature):
        raise CertificateMalformed(f"The signature of the {name} is not a whole number of bytes.")
    if certificate.signature_algorithm_oid != SignatureAlgorithmOID.ECDSA_WITH_SHA384:
        raise CertificateAlgorithmRefused(f"The {name} is not signed with ECDSA and SHA-384.")
    _p384_key(certificate, name)
    return certificate


def _p384_key(certificate: x509.Certificate, name: str) -> ec.EllipticCurvePublicKey:
    try:
        key = certificate.public_key()
    except (ValueError, UnsupportedAlgorithm) as error:
        raise CertificateMalformed(f"The key in the {name} cannot be read ({error}).") from None
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP384R1):
        raise CertificateAlgorithmRefused(f"The key in the {name} is not on the curve P-384.")
    return key


def _check_validity(certificate: x509.Certificate, name: str, at: datetime) -> None:
    first, last = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if at < first:
        raise CertificateNotYetValid(f"The {name} is valid from {first:%Y-%m-%d %H:%M:%S} UTC, after {_utc(at)}.")
    if at > last:
        raise CertificateExpired(f"The {name} expired {last:%Y-%m-%d %H:%M:%S} UTC, before {_utc(at)}.")


def _utc(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"


def _check_issuer_usage(certificate: x509.Certificate, name: str, *, issuers_below: int) -> None:
    basic, usage = _basic_constraints(certificate, name), _key_usage(certificate, name)
    if not basic.value.ca or not basic.critical or not usage.key_cert_sign:
        raise CertificateUsageRefused(f"The {name} may not issue certificates.")
    if basic.value.path_length is not None and basic.value.path_length < issuers_below:
        raise CertificatePathTooLong(
            f"The {name} allows {basic.value.path_length} issuers below it; the document has {issuers_below}."
        )


def _check_leaf_usage(certificate: x509.Certificate, name: str) -> None:
    basic, usage = _basic_constraints(certificate, name), _key_usage(certificate, name)
    if basic.value.ca or basic.value.path_length is not None or usage.key_cert_sign:
        raise CertificateUsageRefused(f"The {name} is one that issues certificates.")
    if not usage.digital_signature:
        raise CertificateUsageRefused(f"The {name} may not sign documents.")


def _basic_constraints(certificate: x509.Certificate, name: str) -> x509.Extension[x509.BasicConstraints]:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    except x509.ExtensionNotFound:
        raise CertificateUsageRefused(f"The {name} has no basic constraints.") from None


def _key_usage(certificate: x509.Certificate, name: str) -> x509.KeyUsage:
    try:
        return certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        raise CertificateUsageRefused(f"The {name} has no key usage.") from None


def _check_issued_by(certificate: x509.Certificate, issuer: x509.Certificate, name: str) -> None:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (InvalidSignature, ValueError, TypeError, UnsupportedAlgorithm):
        raise CertificateSignatureInvalid(f"The {name} was not issued by the one before it.") from None


def _second_judge(certificates: tuple[x509.Certificate, ...], at: datetime) -> None:
    # AWS's instance and leaf certificates have no authority key identifier, which the library's defaults demand.
    present, critical, either = (
        verification.ExtensionPolicy.permit_all(),
        verification.Criticality.CRITICAL,
        verification.Criticality.AGNOSTIC,
    )
    verifier = (
        verification.PolicyBuilder()
        .store(verification.Store([certificates[0]]))
        .time(at)
        .max_chain_depth(MAX_ISSUERS)
        .extension_policies(
            ca_policy=present.require_present(x509.BasicConstraints, critical, None).require_present(
                x509.KeyUsage, either, None
            ),
            ee_policy=present.require_present(x509.BasicConstraints, either, None).require_present(
                x509.KeyUsage, either, None
            ),
        )
        .build_client_verifier()
    )
    try:
        verified = verifier.verify(certificates[-1], list(certificates[1:-1]))
    except verification.VerificationError as error:
        raise ChainRefused(f"The certificates do not form a valid path ({str(error)[:200]}).") from None
    if tuple(reversed(verified.chain)) != certificates:
        raise ChainRefused("The certificates are not the path that the document says, in its order.")
