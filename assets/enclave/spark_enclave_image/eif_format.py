"""The layout of an enclave image file, version 4: a header of 548 bytes, then sections, all big-endian.

Source: aws-nitro-enclaves-image-format 0.8.1, src/defs/mod.rs. The header has a table of where each section's own
header of 12 bytes begins and how long its data are; CRC-32 (IEEE) covers everything but its own four bytes.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, Literal

MAGIC: Final = b".eif"
VERSION: Final = 4
MAX_SECTIONS: Final = 32

_HEADER: Final = struct.Struct(f">4sHHQQHH{MAX_SECTIONS}Q{MAX_SECTIONS}QII")
_SECTION_HEADER: Final = struct.Struct(">HHQ")
HEADER_BYTES: Final = _HEADER.size
SECTION_HEADER_BYTES: Final = _SECTION_HEADER.size
CRC_BYTES: Final = 4

Architecture = Literal["x86_64", "aarch64"]
#: Bit 0 of the header's flags.
ARCHITECTURE_FLAGS: Final[dict[Architecture, int]] = {"x86_64": 0, "aarch64": 1}

#: What nitro-cli writes: 1 GiB and 2 vCPU; run-enclave is always told its own.
DEFAULT_MEMORY_BYTES: Final = 1 << 30
DEFAULT_VCPUS: Final = 2

#: Linux's COMMAND_LINE_SIZE on x86_64 and arm64, without the final zero byte.
MAX_CMDLINE_BYTES: Final = 2047
MAX_METADATA_BYTES: Final = 1 << 20
MAX_SIGNATURE_BYTES: Final = 64 << 10
#: Not a limit of AWS's: an enclave needs four times its image in memory, and none that large fits our hosts.
MAX_SECTION_BYTES: Final = 16 << 30


class SectionType(IntEnum):
    """Kinds of sections."""

    KERNEL = 1
    CMDLINE = 2
    RAMDISK = 3
    SIGNATURE = 4
    METADATA = 5


#: The longest data that a section of each kind may have, in bytes.
SECTION_LIMITS: Final = {
    SectionType.KERNEL: MAX_SECTION_BYTES,
    SectionType.CMDLINE: MAX_CMDLINE_BYTES,
    SectionType.RAMDISK: MAX_SECTION_BYTES,
    SectionType.SIGNATURE: MAX_SIGNATURE_BYTES,
    SectionType.METADATA: MAX_METADATA_BYTES,
}


@dataclass(frozen=True, slots=True)
class Header:
    """The file's header; `offsets` (of section headers) and `sizes` (of section data) in bytes."""

    flags: int
    section_count: int
    offsets: tuple[int, ...]
    sizes: tuple[int, ...]
    crc32: int
    magic: bytes = MAGIC
    version: int = VERSION
    default_memory_bytes: int = DEFAULT_MEMORY_BYTES
    default_vcpus: int = DEFAULT_VCPUS
    reserved: int = 0
    unused: int = 0

    def pack(self) -> bytes:
        """548 bytes."""
        return _HEADER.pack(
            self.magic,
            self.version,
            self.flags,
            self.default_memory_bytes,
            self.default_vcpus,
            self.reserved,
            self.section_count,
            *self.offsets,
            *[0] * (MAX_SECTIONS - len(self.offsets)),
            *self.sizes,
            *[0] * (MAX_SECTIONS - len(self.sizes)),
            self.unused,
            self.crc32,
        )

    @classmethod
    def unpack(cls, data: bytes) -> Header:
        """From 548 bytes, all 32 entries of each table; nothing is checked here."""
        magic, version, flags, memory, vcpus, reserved, count, *rest = _HEADER.unpack(data)
        return cls(
            magic=magic,
            version=version,
            flags=flags,
            default_memory_bytes=memory,
            default_vcpus=vcpus,
            reserved=reserved,
            section_count=count,
            offsets=tuple(rest[:MAX_SECTIONS]),
            sizes=tuple(rest[MAX_SECTIONS : 2 * MAX_SECTIONS]),
            unused=rest[-2],
            crc32=rest[-1],
        )


@dataclass(frozen=True, slots=True)
class SectionHeader:
    """What stands before a section's data; `kind` as a plain number, because a file may say anything."""

    kind: int
    size: int
    flags: int = 0

    def pack(self) -> bytes:
        """12 bytes."""
        return _SECTION_HEADER.pack(self.kind, self.flags, self.size)

    @classmethod
    def unpack(cls, data: bytes) -> SectionHeader:
        """From 12 bytes."""
        kind, flags, size = _SECTION_HEADER.unpack(data)
        return cls(kind=kind, flags=flags, size=size)
