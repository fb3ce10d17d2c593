"""What verification leaves behind: objects that only the verifier can make, and that say exactly what was checked."""

from __future__ import annotations

from dataclasses import InitVar, dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Final, final

from spark_enclave.attestation import description
from spark_enclave.attestation.certificate_chain import CertificateSummary
from spark_enclave.attestation.measurement_policy import Measurement


class _Seal:
    """Held by the verifier: without it none of the classes below can be made."""


SEAL: Final = _Seal()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class InspectedAttestation:
    """A document whose form, certificates and signature were verified and that is not of an enclave in debug mode.

    What `measurement`, `nonce_compared` and their kin deny was not asked to be checked: enough to look at a document,
    not to send a key. Functions that act on a document take a `VerifiedAttestation`.
    """

    module_id: str
    """Name of the enclave: instance id and enclave id."""
    made: datetime
    """When the hypervisor made the document (UTC)."""
    verified_at: datetime
    """The time at which everything was checked (UTC)."""
    pcrs: MappingProxyType[int, bytes]
    """Every register in the document, index → content."""
    public_key: bytes | None
    """Signed, but nobody's until the caller compares it: the key that the enclave asked to have in the document."""
    user_data: bytes | None
    nonce: bytes | None
    chain: tuple[CertificateSummary, ...]
    """The certificates, root first."""
    statement_sha384: bytes
    """Names the signed statement; unlike a hash of the document, nobody can change it without the signing key."""
    simulated: bool
    """True: signed by a simulator's root, which proves nothing about hardware."""
    measurement: Measurement | None
    """The entry of the policy that the registers equal; None when no policy was given."""
    nonce_compared: bool
    user_data_compared: bool
    freshness_checked: bool
    seal: InitVar[_Seal]

    def __post_init__(self, seal: _Seal) -> None:
        if seal is not SEAL:
            raise TypeError(f"{type(self).__name__} is made by the verifier only")

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("what was verified holds here and now; verify the document again where it is needed")

    def __copy__(self) -> InspectedAttestation:
        return self

    def __deepcopy__(self, memo: object) -> InspectedAttestation:
        return self

    def describe(self) -> str:
        """What was verified and what was not, in plain words, a line for each; begins with SIMULATED when it is."""
        return description.describe(self)

    def to_json(self) -> dict[str, object]:
        """The same as data that `json.dumps` takes: bytes as hexadecimal, times in ISO 8601."""
        return description.to_json(self)


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class VerifiedAttestation(InspectedAttestation):
    """A document that is signed, fresh, of an allowed image, and an answer to this nonce with these session data.

    The only thing that functions which send keys may take; there is no way to it but `verify`.
    """

    measurement: Measurement
    nonce: bytes
    user_data: bytes

    def __init_subclass__(cls) -> None:
        raise TypeError("VerifiedAttestation cannot be extended")


def require_verified(attestation: VerifiedAttestation) -> VerifiedAttestation:
    """For functions that act on a document: mypy refuses anything else before they run, this when they run."""
    if type(attestation) is not VerifiedAttestation:
        raise TypeError(f"a VerifiedAttestation is needed, not {type(attestation).__name__}")
    return attestation
