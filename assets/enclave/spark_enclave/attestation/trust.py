"""Whose signature counts: the AWS Nitro Enclaves root, or a simulator's own when someone says so explicitly."""

from __future__ import annotations

import importlib
from dataclasses import InitVar, dataclass
from typing import Final

#: SHA-256 of the DER of AWS_NitroEnclaves_Root-G1 (CN=aws.nitro-enclaves), as AWS publishes it in "Verifying the root
#: of trust" (AWS Nitro Enclaves User Guide). The certificate itself arrives as cabundle[0] of every document.
AWS_ROOT_SHA256: Final = "641a0321a3e244efe456463195d606317ed7cdcc3c1756e09893f3c68f79bb5b"


class _Seal:
    """Only this module and the one for simulated roots hold the seal, so that an anchor says truly what it is."""


SEAL: Final = _Seal()


class SimulatedRootRefused(Exception):
    """A simulated root cannot be trusted: it is no certificate, it is AWS's own, or this build has no simulation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustAnchor:
    """The one root certificate that a document's chain must begin with. Made by `aws()` or `simulated()` only."""

    root_sha256: str
    """SHA-256 of the root certificate's DER, lower-case hexadecimal."""
    is_simulated: bool
    """Whether documents under this root are a simulation and prove nothing about hardware."""
    seal: InitVar[_Seal]

    def __post_init__(self, seal: _Seal) -> None:
        if seal is not SEAL:
            raise TypeError("a TrustAnchor comes from TrustAnchor.aws() or TrustAnchor.simulated()")

    @classmethod
    def aws(cls) -> TrustAnchor:
        """The root of AWS's Nitro Attestation PKI, commercial partition."""
        return cls(root_sha256=AWS_ROOT_SHA256, is_simulated=False, seal=SEAL)

    @classmethod
    def simulated(cls, pem: bytes | str) -> TrustAnchor:
        """The root of a simulated Nitro Security Module, given as the PEM of its certificate.

        Raises SimulatedRootRefused when `pem` is not one certificate or is AWS's own, and in a measured image, which is
        built without the module that does this.
        """
        try:
            module = importlib.import_module("spark_enclave.attestation.simulated_root")
        except ModuleNotFoundError:
            raise SimulatedRootRefused(
                "This build of sparkvault has no simulation: it trusts the AWS root only."
            ) from None
        anchor = module.simulated_anchor(pem)
        if not isinstance(anchor, TrustAnchor) or not anchor.is_simulated:
            raise SimulatedRootRefused("A simulated root must be marked as one.")
        return anchor


#: The default of everything that verifies.
AWS_NITRO: Final = TrustAnchor.aws()
