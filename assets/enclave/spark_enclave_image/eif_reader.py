"""Reads an enclave image file strictly: what two readers could understand differently is refused.

The Nitro tools read the sections one after the other, the loader may follow the header's table: here both must say the
same, without gap, overlap or rest, and the CRC and the signature must be right.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from spark_enclave.attestation.description import printable
from spark_enclave_image.eif_format import (
    ARCHITECTURE_FLAGS,
    CRC_BYTES,
    HEADER_BYTES,
    MAGIC,
    MAX_SECTIONS,
    SECTION_HEADER_BYTES,
    SECTION_LIMITS,
    VERSION,
    Architecture,
    Header,
    SectionHeader,
    SectionType,
)
from spark_enclave_image.errors import EifError, EifMalformed
from spark_enclave_image.image_signing import ImageSignature, parse_signature
from spark_enclave_image.measurements import Measurements, SectionHasher

_CHUNK_BYTES: Final = 1 << 20
_ONCE: Final = (SectionType.KERNEL, SectionType.CMDLINE, SectionType.SIGNATURE, SectionType.METADATA)
_KEPT: Final = (SectionType.CMDLINE, SectionType.SIGNATURE, SectionType.METADATA)


@dataclass(frozen=True, slots=True)
class Section:
    """Where a section's data begin in the file, and how long they are, in bytes."""

    kind: SectionType
    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class EifImage:
    """A well-formed image: what it measures to and what it says about itself."""

    path: Path
    size: int
    architecture: Architecture
    cmdline: str
    sections: tuple[Section, ...]
    measurements: Measurements
    signature: ImageSignature | None
    metadata: dict[str, object] | None

    def describe(self) -> str:
        """The image in plain words, a line for each fact."""
        parts = ", ".join(f"{section.kind.name.lower()} {section.size:,}" for section in self.sections)
        lines = [
            f"{self.path.name}: EIF version {VERSION}, {self.architecture}, {self.size:,} bytes, CRC right.",
            f"Sections (bytes): {parts}.",
            f"Kernel command line: {self.cmdline}",
            *(f"{name} {value}" for name, value in self.measurements.to_json().items()),
        ]
        if self.signature:
            subject = printable(self.signature.certificate.subject.rfc4514_string())
            until = f"{self.signature.certificate.not_valid_after_utc:%Y-%m-%d}"
            lines.append(
                f"Signed by {subject}, certificate {self.signature.certificate_sha256[:16]}…, valid until {until}."
            )
        else:
            lines.append("Not signed: PCR8 stays zero.")
        if self.metadata:
            lines.append("Says of itself, unmeasured: " + json.dumps(self.metadata, sort_keys=True))
        return "\n".join(lines)

    def to_json(self) -> dict[str, object]:
        """The same as data that `json.dumps` takes."""
        return {
            "version": VERSION,
            "architecture": self.architecture,
            "size": self.size,
            "cmdline": self.cmdline,
            "sections": [{"kind": part.kind.name.lower(), "size": part.size} for part in self.sections],
            "measurements": self.measurements.to_json(),
            "signing_certificate_sha256": self.signature and self.signature.certificate_sha256,
            "metadata": self.metadata,
        }


def read(path: Path) -> EifImage:
    """Read and check a whole image, in little memory; raises EifError, EifMalformed or EifSignatureInvalid."""
    try:
        with path.open("rb") as file:
            return _read(file, path, os.fstat(file.fileno()).st_size)
    except OSError as error:
        raise EifError(f"{path}: {error.strerror}.") from None
    except EifError as error:
        raise type(error)(f"{path}: {error}") from None


def measure(path: Path) -> Measurements:
    """The registers that an enclave with this image will have; raises as `read`."""
    return read(path).measurements


def describe(path: Path) -> str:
    """An image in plain words; raises as `read`."""
    return read(path).describe()


def _read(file: IO[bytes], path: Path, size: int) -> EifImage:
    encoded = file.read(HEADER_BYTES)
    if len(encoded) < HEADER_BYTES:
        raise EifMalformed(f"The file has {len(encoded)} bytes, less than an EIF's header.")
    header = Header.unpack(encoded)
    architecture = _check_header(header, size)
    crc, hasher = zlib.crc32(encoded[:-CRC_BYTES]), SectionHasher()
    sections: list[Section] = []
    kept: dict[SectionType, bytes] = {}
    for index in range(header.section_count):
        encoded = file.read(SECTION_HEADER_BYTES)
        if len(encoded) < SECTION_HEADER_BYTES:
            raise EifMalformed("The file became shorter while it was read.")
        crc = zlib.crc32(encoded, crc)
        section = _section(SectionHeader.unpack(encoded), header, index)
        hasher.begin(section.kind)
        pieces: list[bytes] = []
        for chunk in _chunks(file, section.size):
            crc = zlib.crc32(chunk, crc)
            hasher.update(chunk)
            if section.kind in _KEPT:
                pieces.append(chunk)
        kept[section.kind] = b"".join(pieces)
        sections.append(section)
    if crc != header.crc32:
        raise EifMalformed(f"The CRC is {crc:08x}, the header says {header.crc32:08x}: the file is damaged.")
    _check_order([section.kind for section in sections])
    signature = parse_signature(kept[SectionType.SIGNATURE]) if SectionType.SIGNATURE in kept else None
    measurements = hasher.finish(signature.certificate_der if signature else None)
    if signature:
        signature.verify(measurements.pcr0)
    return EifImage(
        path=path,
        size=size,
        architecture=architecture,
        cmdline=_cmdline(kept[SectionType.CMDLINE]),
        sections=tuple(sections),
        measurements=measurements,
        signature=signature,
        metadata=_metadata(kept[SectionType.METADATA]) if SectionType.METADATA in kept else None,
    )


def _check_header(header: Header, size: int) -> Architecture:
    """All that the header promises, before anything behind it is read."""
    if header.magic != MAGIC:
        raise EifMalformed("The file does not begin with `.eif`.")
    if header.version != VERSION:
        raise EifMalformed(f"The file is of EIF version {header.version}, not {VERSION}.")
    architectures = [name for name, flags in ARCHITECTURE_FLAGS.items() if flags == header.flags]
    if not architectures or header.reserved or header.unused:
        raise EifMalformed("The header has flags or reserved fields with a meaning that nobody knows.")
    count = header.section_count
    if not 3 <= count <= MAX_SECTIONS:
        raise EifMalformed(f"The header promises {count} sections, not 3 to {MAX_SECTIONS}.")
    if any(header.offsets[count:]) or any(header.sizes[count:]):
        raise EifMalformed("The header's table has entries beyond its last section.")
    position = HEADER_BYTES
    for index in range(count):
        if header.offsets[index] != position:
            raise EifMalformed(f"Section {index} begins at {header.offsets[index]}, not {position}.")
        position += SECTION_HEADER_BYTES + header.sizes[index]
    if position != size:
        raise EifMalformed(f"The sections end at {position}, the file at {size}.")
    return architectures[0]


def _section(found: SectionHeader, header: Header, index: int) -> Section:
    try:
        kind = SectionType(found.kind)
    except ValueError:
        raise EifMalformed(f"Section {index} is of an unknown kind, {found.kind}.") from None
    if found.flags:
        raise EifMalformed(f"Section {index} has flags with a meaning that nobody knows.")
    if found.size != header.sizes[index]:
        raise EifMalformed(f"Section {index} has {found.size} bytes, the header's table says {header.sizes[index]}.")
    if not 0 < found.size <= SECTION_LIMITS[kind]:
        raise EifMalformed(f"The {kind.name.lower()} has {found.size} bytes, not 1 to {SECTION_LIMITS[kind]}.")
    return Section(kind, header.offsets[index] + SECTION_HEADER_BYTES, found.size)


def _check_order(kinds: list[SectionType]) -> None:
    # The registers hash data without kinds between them, in the file's order: only this order has one reading.
    if kinds[:2] != [SectionType.KERNEL, SectionType.CMDLINE]:
        raise EifMalformed("The image does not begin with its kernel and command line.")
    repeated = [kind.name.lower() for kind in _ONCE if kinds.count(kind) > 1]
    if repeated:
        raise EifMalformed(f"There are two {repeated[0]} sections.")
    if SectionType.RAMDISK not in kinds:
        raise EifMalformed("The image has no ramdisk.")


def _chunks(file: IO[bytes], size: int) -> Iterator[bytes]:
    remaining = size
    while remaining:
        chunk = file.read(min(_CHUNK_BYTES, remaining))
        if not chunk:
            raise EifMalformed("The file became shorter while it was read.")
        remaining -= len(chunk)
        yield chunk


def _cmdline(data: bytes) -> str:
    text = data.decode("latin-1")
    if not text.isascii() or not text.isprintable():
        raise EifMalformed("The kernel's command line is not printable ASCII.")
    return text


def _metadata(data: bytes) -> dict[str, object]:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise EifMalformed(f"The metadata are not JSON ({error}).") from None
    if not isinstance(value, dict):
        raise EifMalformed("The metadata are not a JSON object.")
    return value
