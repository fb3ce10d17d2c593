"""A simulated enclave whose clock stands still, and what a client expects of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import cbor2
import pytest

from emulation.nsm import Registers, SimulatedNsm, SimulatedPki
from emulation.nsm.attestation_pki import Leaf
from emulation.nsm.device import sign_document
from spark_enclave.attestation import MeasurementPolicy, TrustAnchor, VerifiedAttestation, verify

#: When everything in these tests happens.
NOW = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)
NONCE = bytes(range(32))
USER_DATA = b"digest of the session's public keys"
PCRS = {0: b"\x10" * 48, 1: b"\x11" * 48, 2: b"\x12" * 48, 8: b"\x18" * 48}


def measurement(**changes: Any) -> dict[str, Any]:
    """An entry of measurements.json for the simulated enclave."""
    pcrs = {f"PCR{index}": value.hex() for index, value in PCRS.items()}
    return {"id": "image-1", "platform": "nitro-x86_64", "status": "current", "pcrs": pcrs, **changes}


def policy_of(*entries: dict[str, Any]) -> MeasurementPolicy:
    return MeasurementPolicy.model_validate(list(entries))


@dataclass
class Enclave:
    """A simulated enclave, the documents it gives, and a client that trusts its root explicitly."""

    pki: SimulatedPki
    nsm: SimulatedNsm
    leaf: Leaf
    trust: TrustAnchor
    policy: MeasurementPolicy = field(default_factory=lambda: policy_of(measurement()))

    def attest(self) -> bytes:
        return self.nsm.attest(nonce=NONCE, user_data=USER_DATA, public_key=b"public key")

    def fields(self) -> dict[str, Any]:
        """A payload that is right in every field, to be spoiled."""
        return {
            "module_id": self.nsm.module_id,
            "digest": "SHA384",
            "timestamp": int(NOW.timestamp() * 1000),
            "pcrs": {index: PCRS.get(index, bytes(48)) for index in range(16)},
            "certificate": self.leaf.certificate,
            "cabundle": list(self.leaf.cabundle),
            "public_key": None,
            "user_data": USER_DATA,
            "nonce": NONCE,
        }

    def sign(self, payload: bytes) -> bytes:
        """A document with any payload, signed by a key that the root vouches for."""
        return sign_document(payload, self.leaf.key)

    def document(self, **changes: Any) -> bytes:
        """A signed document with some fields changed; `...` leaves a field out."""
        fields = {name: value for name, value in {**self.fields(), **changes}.items() if value is not ...}
        return self.sign(cbor2.dumps(fields))

    def verify(self, document: bytes, **changes: Any) -> VerifiedAttestation:
        expected = {"policy": self.policy, "nonce": NONCE, "user_data": USER_DATA, "trust": self.trust, "at": NOW}
        return verify(document, **{**expected, **changes})


def make_enclave(registers: Registers | None = None, clock: Callable[[], datetime] = lambda: NOW) -> Enclave:
    pki = SimulatedPki.new(clock=clock)
    nsm = SimulatedNsm(pki, registers or Registers(PCRS), clock=clock)
    return Enclave(pki, nsm, pki.issue_leaf(nsm.module_id), TrustAnchor.simulated(pki.root_pem))


@pytest.fixture(scope="session")
def enclave() -> Enclave:
    return make_enclave()
