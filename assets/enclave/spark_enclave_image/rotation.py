"""Steps of an image in measurements.json, next → current → revoked; none of them may be skipped."""

from __future__ import annotations

from spark_enclave.attestation.measurement_policy import Measurement, MeasurementPolicy, Status
from spark_enclave.attestation.verified import VerifiedAttestation, require_verified
from spark_enclave_image.errors import EifError


class RotationRefused(EifError):
    """The step would leave out another one, or leave no image that may run."""


def promoted(policy: MeasurementPolicy, canary: VerifiedAttestation) -> MeasurementPolicy:
    """The list with the image that `canary` attests as current.

    The caller has seen that enclave open a table under KMS: so the key's policy names the image, and a host runs it.
    Raises RotationRefused unless the image is `next`.
    """
    entry = require_verified(canary).measurement
    if _entry(policy, entry.id).status != "next":
        raise RotationRefused(f"{entry.id} is {entry.status}: only an image that is next can become current.")
    return _with_status(policy, entry.id, "current")


def revoked(policy: MeasurementPolicy, name: str) -> MeasurementPolicy:
    """The list with the image revoked. Raises RotationRefused where no other image for its platform is current."""
    entry = _entry(policy, name)
    if entry.status == "revoked":
        raise RotationRefused(f"{name} is revoked already.")
    others = [one for one in policy.root if one.platform == entry.platform and one.id != name]
    if entry.status == "current" and not any(one.status == "current" for one in others):
        waiting = ", ".join(one.id for one in others if one.status == "next")
        raise RotationRefused(
            f"{name} is the only current image for {entry.platform}: nothing could run.\n"
            + (
                f"Deploy the key stack and the hosts with {waiting}, then run `sparkvault enclave promote {waiting}`."
                if waiting
                else "Add its successor with `sparkvault enclave measure --add ID --status next` first."
            )
        )
    return _with_status(policy, name, "revoked")


def _entry(policy: MeasurementPolicy, name: str) -> Measurement:
    for entry in policy.root:
        if entry.id == name:
            return entry
    raise RotationRefused(
        f"There is no image {name} in the list: {', '.join(one.id for one in policy.root) or 'none'}."
    )


def _with_status(policy: MeasurementPolicy, name: str, status: Status) -> MeasurementPolicy:
    changed = [one.model_copy(update={"status": status}) if one.id == name else one for one in policy.root]
    return MeasurementPolicy(tuple(changed))
