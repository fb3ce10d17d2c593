"""What a person says about whom to trust: reviewed measurements, and a simulation only by its root."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sparkvault.errors import UsageError
from sparkvault.project import project_root

if TYPE_CHECKING:
    from spark_enclave.attestation import MeasurementPolicy, TrustAnchor

MeasurementsOption = Annotated[
    Path | None,
    typer.Option(
        "--measurements",
        metavar="FILE",
        help="Which images may run; by default assets/enclave/measurements.json.",
        show_default=False,
    ),
]
SimulatedOption = Annotated[
    Path | None,
    typer.Option(
        "--simulated",
        metavar="ROOT",
        help="Trust this simulation's root certificate (PEM) instead of AWS's. It proves nothing about hardware.",
        show_default=False,
    ),
]


def anchor_of(simulated: Path | None) -> "TrustAnchor":
    """AWS's root, or the simulation's. Raises UsageError, SimulatedRootRefused."""
    from spark_enclave.attestation import TrustAnchor

    if simulated is None:
        return TrustAnchor.aws()
    try:
        return TrustAnchor.simulated(simulated.read_bytes())
    except OSError as error:
        raise UsageError(
            f"the root {simulated} cannot be read: {error.strerror}", "give the simulation's root.pem"
        ) from None


def policy_of(measurements: Path | None) -> "MeasurementPolicy":
    """The reviewed measurements. Raises MeasurementPolicyError."""
    from spark_enclave.attestation import MeasurementPolicy

    return MeasurementPolicy.from_file(measurements or project_root() / "assets" / "enclave" / "measurements.json")
