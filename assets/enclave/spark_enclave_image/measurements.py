"""The registers that a Nitro hypervisor gives an enclave when it loads an image, computed from the image's sections.

With ext(x) = SHA-384(48 zero bytes ‖ SHA-384(x)): PCR0 = ext(kernel ‖ cmdline ‖ all ramdisks), PCR1 = ext(kernel ‖
cmdline ‖ first ramdisk), PCR2 = ext(the other ramdisks), PCR8 = ext(DER of the signing certificate). Source:
aws-nitro-enclaves-image-format 0.8.1, src/defs/eif_hasher.rs and src/utils/mod.rs.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from spark_enclave_image.eif_format import SectionType


@dataclass(frozen=True, slots=True)
class Measurements:
    """48 bytes each; `pcr8` is None for an image without signature, where the register stays zero."""

    pcr0: bytes
    pcr1: bytes
    pcr2: bytes
    pcr8: bytes | None = None

    def to_json(self) -> dict[str, str]:
        """Register → hexadecimal, as `nitro-cli describe-eif` and measurements.json write them."""
        registers = {"PCR0": self.pcr0.hex(), "PCR1": self.pcr1.hex(), "PCR2": self.pcr2.hex()}
        return registers | ({} if self.pcr8 is None else {"PCR8": self.pcr8.hex()})


class SectionHasher:
    """Fed with the data of kernel, cmdline and ramdisks in the file's order, gives the measurements."""

    def __init__(self) -> None:
        self._image, self._bootstrap, self._application = hashlib.sha384(), hashlib.sha384(), hashlib.sha384()
        self._ramdisks = 0

    def begin(self, kind: SectionType) -> None:
        """A section of this kind begins; the data of `update` belong to it from now on."""
        self._kind = kind
        self._ramdisks += kind is SectionType.RAMDISK

    def update(self, data: bytes) -> None:
        """A piece of the section's data."""
        if self._kind not in (SectionType.KERNEL, SectionType.CMDLINE, SectionType.RAMDISK):
            return
        self._image.update(data)
        if self._kind is SectionType.RAMDISK and self._ramdisks > 1:
            self._application.update(data)
        else:
            self._bootstrap.update(data)

    def finish(self, certificate_der: bytes | None) -> Measurements:
        """The registers; `certificate_der` is the signing certificate of a signed image."""
        return Measurements(
            pcr0=_extend_from_zero(self._image.digest()),
            pcr1=_extend_from_zero(self._bootstrap.digest()),
            pcr2=_extend_from_zero(self._application.digest()),
            pcr8=certificate_der and _extend_from_zero(hashlib.sha384(certificate_der).digest()),
        )


def _extend_from_zero(digest: bytes) -> bytes:
    return hashlib.sha384(bytes(48) + digest).digest()
