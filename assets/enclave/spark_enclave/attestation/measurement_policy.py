"""Which images may run: the entries of measurements.json, and how a document's registers are held against them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    RootModel,
    StringConstraints,
    ValidationError,
    field_validator,
    model_validator,
)

from spark_enclave.attestation.refusals import MeasurementForOtherPlatform, MeasurementRevoked, MeasurementUnknown

Platform = Literal["nitro-x86_64", "nitro-aarch64", "vm-test"]
Status = Literal["next", "current", "revoked"]
PcrName = Annotated[str, StringConstraints(pattern=r"^PCR([0-9]|[12][0-9]|3[01])$")]
Sha384Hex = Annotated[str, StringConstraints(pattern=r"^[0-9a-fA-F]{96}$", to_lower=True)]
Sha256Hex = Annotated[str, StringConstraints(pattern=r"^[0-9a-fA-F]{64}$", to_lower=True)]
MeasurementId = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")]

#: The whole image, its kernel with the first ramdisk, and the other ramdisks (AWS Nitro Enclaves User Guide,
#: "Where to get an enclave's measurements"). PCR8, the signing certificate, may be asked for besides but says nothing
#: about the code: whoever holds the key can sign another image.
REQUIRED_PCRS: Final = ("PCR0", "PCR1", "PCR2")
#: What the AWS root vouches for: images for tests have no business on real hardware.
NITRO_PLATFORMS: Final[frozenset[Platform]] = frozenset({"nitro-x86_64", "nitro-aarch64"})


class MeasurementPolicyError(Exception):
    """A measurement policy that cannot be read or contradicts itself; the message says where and why."""


class Measurement(BaseModel):
    """One image: all its registers must be equal together."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    id: MeasurementId
    """Name of the image, for people and key policies."""
    platform: Platform
    """Where this image is meant to run."""
    pcrs: dict[PcrName, Sha384Hex]
    """Registers (`PCR0` … `PCR31`) → SHA-384 as 96 hexadecimal digits; PCR0, PCR1 and PCR2 are required."""
    status: Status
    """`current` and `next` may run; `revoked` must not, whatever it is signed with."""
    blobs: dict[str, Sha256Hex] = {}
    """SHA-256 of what the image was built from (kernel, cmdline, nsm.ko), for the build."""

    @field_validator("pcrs")
    @classmethod
    def _enough_and_not_zero(cls, pcrs: dict[str, str]) -> dict[str, str]:
        missing = [name for name in REQUIRED_PCRS if name not in pcrs]
        if missing:
            raise ValueError(f"{', '.join(missing)} missing: an image is known by PCR0, PCR1 and PCR2 together")
        zero = [name for name, value in pcrs.items() if not int(value, 16)]
        if zero:
            raise ValueError(f"{', '.join(zero)} is all zero: that is an enclave in debug mode, which is never allowed")
        return pcrs

    def registers(self) -> dict[int, bytes]:
        """Index → 48 bytes."""
        return {int(name.removeprefix("PCR")): bytes.fromhex(value) for name, value in self.pcrs.items()}


class MeasurementPolicy(RootModel[tuple[Measurement, ...]]):
    """The list in measurements.json. An empty list allows nothing."""

    model_config = ConfigDict(frozen=True)

    @model_validator(mode="after")
    def _consistent(self) -> MeasurementPolicy:
        ids = [entry.id for entry in self.root]
        twice = sorted({name for name in ids if ids.count(name) > 1})
        if twice:
            raise ValueError(f"the id {', '.join(twice)} is used twice")
        revoked = {entry.pcrs["PCR0"]: entry.id for entry in self.root if entry.status == "revoked"}
        for entry in self.root:
            if entry.status != "revoked" and entry.pcrs["PCR0"] in revoked:
                raise ValueError(
                    f"{entry.id} is {entry.status}, but {revoked[entry.pcrs['PCR0']]} with its PCR0 is revoked"
                )
        return self

    @classmethod
    def from_json(cls, text: str | bytes) -> MeasurementPolicy:
        """Read the list; raises MeasurementPolicyError."""
        try:
            return cls.model_validate(json.loads(text, object_pairs_hook=_without_repetition))
        except ValidationError as error:
            problems = "; ".join(
                f"{'.'.join(str(part) for part in problem['loc']) or 'list'}: {problem['msg']}"
                for problem in error.errors()
            )
            raise MeasurementPolicyError(f"The measurement policy is wrong: {problems}.") from None
        except ValueError as error:
            raise MeasurementPolicyError(f"The measurement policy is not JSON: {error}.") from None

    @classmethod
    def from_file(cls, path: Path) -> MeasurementPolicy:
        """Read measurements.json; raises MeasurementPolicyError with the path."""
        try:
            return cls.from_json(path.read_bytes())
        except OSError as error:
            raise MeasurementPolicyError(f"The measurement policy {path} cannot be read: {error.strerror}.") from None
        except MeasurementPolicyError as error:
            raise MeasurementPolicyError(f"{path}: {error}") from None

    def match(self, pcrs: Mapping[int, bytes], *, simulated: bool) -> Measurement:
        """The entry all of whose registers equal those of a document.

        A revoked image is known by PCR0 alone, so that signing it anew does not bring it back. Raises
        MeasurementRevoked, MeasurementUnknown, or MeasurementForOtherPlatform for a test's image under the AWS root.
        """
        for entry in self.root:
            if entry.status == "revoked" and entry.registers()[0] == pcrs.get(0):
                raise MeasurementRevoked(f"The enclave runs the image {entry.id}, which is revoked.")
        for entry in self.root:
            if entry.status == "revoked" or any(pcrs.get(index) != value for index, value in entry.registers().items()):
                continue
            if not simulated and entry.platform not in NITRO_PLATFORMS:
                raise MeasurementForOtherPlatform(
                    f"The enclave runs the image {entry.id} on Nitro hardware, but it is meant for {entry.platform}."
                )
            return entry
        raise MeasurementUnknown(f"The enclave's measurements are not among the allowed ones ({_shown(pcrs)}).")


def _shown(pcrs: Mapping[int, bytes]) -> str:
    return ", ".join(f"PCR{index} {pcrs[index].hex() if index in pcrs else 'absent'}" for index in (0, 1, 2))


def _without_repetition(pairs: list[tuple[str, object]]) -> dict[str, object]:
    keys = [key for key, _ in pairs]
    twice = {key for key in keys if keys.count(key) > 1}
    if twice:
        raise ValueError(f"the key {sorted(twice)[0]!r} stands twice in one object")
    return dict(pairs)
