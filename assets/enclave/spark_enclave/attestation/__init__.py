"""Attestation documents of Nitro Enclaves: `verify` before a key is sent, `inspect` to look at one."""

from spark_enclave.attestation.certificate_chain import CertificateSummary
from spark_enclave.attestation.freshness import Freshness
from spark_enclave.attestation.measurement_policy import Measurement, MeasurementPolicy, MeasurementPolicyError
from spark_enclave.attestation.refusals import AttestationRefused
from spark_enclave.attestation.trust import AWS_ROOT_SHA256, SimulatedRootRefused, TrustAnchor
from spark_enclave.attestation.verified import InspectedAttestation, VerifiedAttestation, require_verified
from spark_enclave.attestation.verifier import inspect, verify

__all__ = [
    "AWS_ROOT_SHA256",
    "AttestationRefused",
    "CertificateSummary",
    "Freshness",
    "InspectedAttestation",
    "Measurement",
    "MeasurementPolicy",
    "MeasurementPolicyError",
    "SimulatedRootRefused",
    "TrustAnchor",
    "VerifiedAttestation",
    "inspect",
    "require_verified",
    "verify",
]
