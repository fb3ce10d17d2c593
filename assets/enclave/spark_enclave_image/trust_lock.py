"""measurements.json, the lock file of trust: holding built images against it, and writing their entries."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from spark_enclave.attestation.measurement_policy import Measurement, MeasurementPolicy, MeasurementPolicyError, Status
from spark_enclave_image.errors import EifError
from spark_enclave_image.image_build import BuiltImage

MEASUREMENTS_FILE: Final = Path(__file__).parent.parent / "measurements.json"


class MeasurementsDiffer(EifError):
    """The image that the present code builds is none of those that may run."""


def load(path: Path = MEASUREMENTS_FILE) -> MeasurementPolicy:
    """The list; an empty one where there is no file. Raises EifError."""
    try:
        return MeasurementPolicy.from_file(path) if path.exists() else MeasurementPolicy(())
    except MeasurementPolicyError as error:
        raise EifError(str(error)) from None


def require_listed(image: BuiltImage, policy: MeasurementPolicy) -> Measurement:
    """The entry of this image; raises MeasurementsDiffer with all registers and what to do."""
    measured = image.measurements.to_json()
    for entry in policy.root:
        if entry.platform == image.platform and entry.status != "revoked" and entry.pcrs == measured:
            return entry
    known = [
        f"  {entry.id} ({entry.status}): PCR0 {entry.pcrs['PCR0']}"
        for entry in policy.root
        if entry.platform == image.platform
    ]
    raise MeasurementsDiffer(
        f"The image of this code for {image.platform} is not in the list of trusted images:\n"
        + "".join(f"  {name} {value}\n" for name, value in measured.items())
        + ("Listed for this platform:\n" + "\n".join(known) if known else "Nothing is listed for this platform.")
        + "\nReview what changed with `sparkvault enclave diff OLD.eif NEW.eif`, then add it with "
        "`sparkvault enclave measure --add ID`."
    )


def with_entry(policy: MeasurementPolicy, image: BuiltImage, name: str, status: Status) -> MeasurementPolicy:
    """The list with this image as entry `name`.

    An entry for hardware is never overwritten: it is revoked and a new one added. One for tests is. Raises EifError.
    """
    same = [entry for entry in policy.root if entry.id == name]
    if same and not (image.platform == "vm-test" and same[0].platform == "vm-test"):
        raise EifError(
            f"{name} is in the list already; give the new image another id, and revoke the old one by review."
        )
    entry = Measurement.model_validate(
        {
            "id": name,
            "platform": image.platform,
            "pcrs": image.measurements.to_json(),
            "status": status,
            "blobs": image.kernel.blobs,
        }
    )
    try:
        return MeasurementPolicy((*(other for other in policy.root if other.id != name), entry))
    except ValueError as error:
        raise EifError(f"The list would contradict itself: {error}") from None


def to_text(policy: MeasurementPolicy) -> str:
    """As it is committed: indented, a register a line, so that a pull request shows what changed."""
    return json.dumps(policy.model_dump(mode="json"), indent=2) + "\n"
