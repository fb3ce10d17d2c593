"""The verifier: from the bytes of a document to an object that says what was proven, or a refusal that says why not."""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from spark_enclave.attestation import certificate_chain, cose_sign1, document
from spark_enclave.attestation.certificate_chain import CertificateChain
from spark_enclave.attestation.cose_sign1 import CoseSign1
from spark_enclave.attestation.document import UnverifiedDocument
from spark_enclave.attestation.freshness import DEFAULT_FRESHNESS, Freshness, moment_of
from spark_enclave.attestation.measurement_policy import Measurement, MeasurementPolicy
from spark_enclave.attestation.refusals import (
    AttestationRefused,
    DebugModeRefused,
    NonceMismatch,
    NonceMissing,
    UserDataMismatch,
    UserDataMissing,
)
from spark_enclave.attestation.trust import AWS_NITRO, TrustAnchor
from spark_enclave.attestation.verified import SEAL, InspectedAttestation, VerifiedAttestation

#: A shorter nonce could be guessed or repeat; 16 bytes is what a client draws at least.
MIN_NONCE_BYTES: Final = 16

#: In debug mode these registers are zero (AWS Nitro Enclaves User Guide, "Cryptographic attestation"). PCR8 is zero in
#: an unsigned image too, so it proves nothing either way.
_MEASURED_PCRS: Final = (0, 1, 2)


def verify(
    attestation_document: bytes,
    *,
    policy: MeasurementPolicy,
    nonce: bytes,
    user_data: bytes,
    trust: TrustAnchor = AWS_NITRO,
    at: datetime | None = None,
    freshness: Freshness = DEFAULT_FRESHNESS,
) -> VerifiedAttestation:
    """Everything that must hold before a key is sent.

    `attestation_document`: the raw COSE_Sign1 bytes. `nonce`: what was sent, at least 16 random bytes, used once.
    `user_data`: what the document must bind, usually the hash of the session's public keys. `at`: an aware time, now by
    default. Raises the AttestationRefused that says what is wrong; TypeError or ValueError when the caller's own values
    make no sense.
    """
    if len(nonce) < MIN_NONCE_BYTES:
        raise ValueError(f"a nonce has at least {MIN_NONCE_BYTES} bytes, not {len(nonce)}")
    if not user_data:
        raise ValueError("user_data must not be empty: it is what binds the session to the enclave")
    moment = _aware(at)
    signed = _verify_signed(attestation_document, trust, moment, freshness.clock_skew)
    measurement = policy.match(signed.document.pcrs, simulated=trust.is_simulated)
    _compare_nonce(signed.document.nonce, nonce)
    _compare_user_data(signed.document.user_data, user_data)
    freshness.check(signed.made, moment)
    return VerifiedAttestation(
        module_id=signed.document.module_id,
        made=signed.made,
        verified_at=moment,
        pcrs=signed.document.pcrs,
        public_key=signed.document.public_key,
        user_data=user_data,
        nonce=nonce,
        chain=signed.chain.summaries(),
        statement_sha384=signed.envelope.statement_sha384,
        simulated=trust.is_simulated,
        measurement=measurement,
        nonce_compared=True,
        user_data_compared=True,
        freshness_checked=True,
        seal=SEAL,
    )


def inspect(
    attestation_document: bytes,
    *,
    policy: MeasurementPolicy | None = None,
    nonce: bytes | None = None,
    user_data: bytes | None = None,
    trust: TrustAnchor = AWS_NITRO,
    at: datetime | None = None,
    freshness: Freshness | None = None,
) -> InspectedAttestation:
    """Look at a document: form, certificates, signature and debug mode always, the rest where a value is given.

    The result says what was not checked, and is not a `VerifiedAttestation` even when everything was given. Raises as
    `verify`.
    """
    moment = _aware(at)
    signed = _verify_signed(attestation_document, trust, moment, freshness.clock_skew if freshness else timedelta(0))
    measurement: Measurement | None = None
    if policy is not None:
        measurement = policy.match(signed.document.pcrs, simulated=trust.is_simulated)
    if nonce is not None:
        _compare_nonce(signed.document.nonce, nonce)
    if user_data is not None:
        _compare_user_data(signed.document.user_data, user_data)
    if freshness is not None:
        freshness.check(signed.made, moment)
    return InspectedAttestation(
        module_id=signed.document.module_id,
        made=signed.made,
        verified_at=moment,
        pcrs=signed.document.pcrs,
        public_key=signed.document.public_key,
        user_data=signed.document.user_data,
        nonce=signed.document.nonce,
        chain=signed.chain.summaries(),
        statement_sha384=signed.envelope.statement_sha384,
        simulated=trust.is_simulated,
        measurement=measurement,
        nonce_compared=nonce is not None,
        user_data_compared=user_data is not None,
        freshness_checked=freshness is not None,
        seal=SEAL,
    )


@dataclass(frozen=True, slots=True)
class _Signed:
    envelope: CoseSign1
    document: UnverifiedDocument
    chain: CertificateChain

    @property
    def made(self) -> datetime:
        return moment_of(self.document.timestamp_ms)


def _verify_signed(data: bytes, trust: TrustAnchor, at: datetime, clock_skew: timedelta) -> _Signed:
    if not isinstance(data, bytes):
        raise TypeError(f"a document is bytes, not {type(data).__name__}")
    envelope = cose_sign1.parse(data)
    fields = document.parse(envelope.payload)
    chain = certificate_chain.load(fields.certificate, fields.cabundle, trust)
    # The signature before the chain: one curve operation instead of nine settles most forgeries.
    envelope.verify(chain.leaf_key)
    signed = _Signed(envelope, fields, chain)
    # Right after its start an enclave's certificate has been valid for seconds only: a client whose clock is behind by
    # less than the allowed skew judges the chain at the document's own time.
    chain.verify(signed.made if at < signed.made <= at + clock_skew else at)
    _refuse_debug_mode(fields)
    return signed


def _refuse_debug_mode(fields: UnverifiedDocument) -> None:
    if 0 not in fields.pcrs:
        raise DebugModeRefused("The document has no PCR0, so that nothing shows what the enclave runs.")
    zero = [f"PCR{index}" for index in _MEASURED_PCRS if index in fields.pcrs and not any(fields.pcrs[index])]
    if zero:
        raise DebugModeRefused(f"The enclave runs in debug mode: {', '.join(zero)} all zero.")


def _compare_nonce(found: bytes | None, expected: bytes) -> None:
    if found is None:
        raise NonceMissing("The document has no nonce.")
    _compare(found, expected, NonceMismatch("The document's nonce is not the one that was sent."))


def _compare_user_data(found: bytes | None, expected: bytes) -> None:
    if found is None:
        raise UserDataMissing("The document has no user data.")
    _compare(found, expected, UserDataMismatch("The document's user data are not the expected ones."))


def _compare(found: bytes, expected: bytes, refusal: AttestationRefused) -> None:
    if not hmac.compare_digest(found, expected):
        raise refusal


def _aware(at: datetime | None) -> datetime:
    if at is None:
        return datetime.now(UTC)
    if at.tzinfo is None:
        raise ValueError("`at` must say its time zone")
    return at.astimezone(UTC)
