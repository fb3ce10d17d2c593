"""Trust in a simulator's root. The measured image is built without this file: such trust is impossible there."""

from __future__ import annotations

import hashlib

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from spark_enclave.attestation.trust import AWS_ROOT_SHA256, SEAL, SimulatedRootRefused, TrustAnchor


def simulated_anchor(pem: bytes | str) -> TrustAnchor:
    """The anchor for the one certificate in `pem`, marked as simulated; raises SimulatedRootRefused."""
    try:
        certificates = x509.load_pem_x509_certificates(pem.encode() if isinstance(pem, str) else pem)
    except (ValueError, x509.InvalidVersion) as error:
        raise SimulatedRootRefused(f"The simulated root is not a certificate in PEM form: {error}.") from None
    if len(certificates) != 1:
        raise SimulatedRootRefused(f"The simulated root has {len(certificates)} certificates; give the root alone.")
    fingerprint = hashlib.sha256(certificates[0].public_bytes(Encoding.DER)).hexdigest()
    if fingerprint == AWS_ROOT_SHA256:
        raise SimulatedRootRefused("This is the AWS root: it is trusted without any option, and is no simulation.")
    return TrustAnchor(root_sha256=fingerprint, is_simulated=True, seal=SEAL)
