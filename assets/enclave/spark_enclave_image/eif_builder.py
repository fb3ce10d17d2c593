"""Builds an enclave image file from a kernel, a command line and ramdisks: the same inputs give the same bytes.

The order of sections is that of nitro-cli (aws-nitro-enclaves-image-format 0.8.1, src/utils/mod.rs): kernel, cmdline,
metadata, ramdisks, signature.
"""

from __future__ import annotations

import json
import os
import tempfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final

from spark_enclave_image.eif_format import (
    ARCHITECTURE_FLAGS,
    CRC_BYTES,
    HEADER_BYTES,
    MAX_SECTIONS,
    SECTION_HEADER_BYTES,
    SECTION_LIMITS,
    Architecture,
    Header,
    SectionHeader,
    SectionType,
)
from spark_enclave_image.errors import EifInputError
from spark_enclave_image.image_signing import ImageSigner
from spark_enclave_image.measurements import Measurements, SectionHasher

_CHUNK_BYTES: Final = 1 << 20
#: The metadata's format demands a time; this one says to every reader that none was recorded.
_NO_BUILD_TIME: Final = "1970-01-01T00:00:00+00:00"


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildMetadata:
    """What `nitro-cli describe-eif` prints about an image; not measured, so never a base of trust.

    `build_time` in ISO 8601; without one the epoch stands there, so that the same inputs give the same bytes.
    """

    image_name: str
    image_version: str
    build_tool: str = "sparkvault"
    build_tool_version: str = "0.1.0"
    operating_system: str = "Linux"
    kernel_version: str = "Unknown"
    build_time: str | None = None
    custom: Mapping[str, object] = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        """The section's data: JSON with the names of EifIdentityInfo; raises EifInputError."""
        try:
            return json.dumps(
                {
                    "ImageName": self.image_name,
                    "ImageVersion": self.image_version,
                    "BuildMetadata": {
                        "BuildTime": self.build_time or _NO_BUILD_TIME,
                        "BuildTool": self.build_tool,
                        "BuildToolVersion": self.build_tool_version,
                        "OperatingSystem": self.operating_system,
                        "KernelVersion": self.kernel_version,
                    },
                    "DockerInfo": None,
                    "CustomMetadata": dict(self.custom),
                },
                sort_keys=True,
                allow_nan=False,
                separators=(",", ":"),
            ).encode()
        except (TypeError, ValueError) as error:
            raise EifInputError(f"The image's metadata are not JSON: {error}") from None


def build(
    out: Path,
    *,
    kernel: Path,
    cmdline: str,
    ramdisks: Sequence[Path],
    metadata: BuildMetadata,
    signer: ImageSigner | None = None,
    architecture: Architecture = "x86_64",
) -> Measurements:
    """Write an image to `out` (replaced in one step when it is complete) and return its measurements.

    `ramdisks`: at least one; the first is measured with the kernel as PCR1, the others as PCR2. The inputs are read
    twice, in little memory. Raises EifInputError.
    """
    sections = _sections(kernel, cmdline, ramdisks, metadata)
    measurements = _measure(sections, signer.certificate_der if signer else None)
    if signer:
        sections.append(_Section.of_bytes(SectionType.SIGNATURE, signer.sign(measurements.pcr0)))
    written = _write_replacing(out, lambda file: _write(file, sections, ARCHITECTURE_FLAGS[architecture]))
    if written.pcr0 != measurements.pcr0:
        out.unlink()
        raise EifInputError("A kernel or ramdisk changed while the image was being built; build it again.")
    return measurements


@dataclass(frozen=True, slots=True)
class _Section:
    kind: SectionType
    size: int
    name: str
    chunks: Callable[[], Iterator[bytes]]

    @classmethod
    def of_bytes(cls, kind: SectionType, data: bytes) -> _Section:
        return cls(kind, len(data), kind.name.lower(), lambda: iter([data])).checked()

    @classmethod
    def of_file(cls, kind: SectionType, path: Path) -> _Section:
        try:
            with path.open("rb") as file:
                size = os.fstat(file.fileno()).st_size
        except OSError as error:
            raise EifInputError(f"{kind.name.lower()} {path}: {error.strerror}.") from None
        return cls(kind, size, f"{kind.name.lower()} {path}", lambda: _read(path, size)).checked()

    def checked(self) -> _Section:
        if not 0 < self.size <= SECTION_LIMITS[self.kind]:
            raise EifInputError(f"{self.name} has {self.size} bytes, not 1 to {SECTION_LIMITS[self.kind]}.")
        return self


def _sections(kernel: Path, cmdline: str, ramdisks: Sequence[Path], metadata: BuildMetadata) -> list[_Section]:
    if not cmdline.isascii() or not cmdline.isprintable():
        raise EifInputError("The kernel's command line must be printable ASCII on one line.")
    # The signature's place is kept free whether there is one or not, so that any image can be signed.
    most = MAX_SECTIONS - 4
    if not 1 <= len(ramdisks) <= most:
        raise EifInputError(f"An image has 1 to {most} ramdisks, not {len(ramdisks)}.")
    return [
        _Section.of_file(SectionType.KERNEL, kernel),
        _Section.of_bytes(SectionType.CMDLINE, cmdline.encode()),
        _Section.of_bytes(SectionType.METADATA, metadata.to_bytes()),
        *(_Section.of_file(SectionType.RAMDISK, path) for path in ramdisks),
    ]


def _read(path: Path, size: int) -> Iterator[bytes]:
    remaining = size
    try:
        with path.open("rb") as file:
            while chunk := file.read(min(_CHUNK_BYTES, remaining + 1)):
                remaining -= len(chunk)
                if remaining < 0:
                    break
                yield chunk
    except OSError as error:
        raise EifInputError(f"{path}: {error.strerror}.") from None
    if remaining:
        raise EifInputError(f"{path} changed while the image was being built; build it again.")


def _measure(sections: Sequence[_Section], certificate_der: bytes | None) -> Measurements:
    hasher = SectionHasher()
    for section in sections:
        hasher.begin(section.kind)
        for chunk in section.chunks():
            hasher.update(chunk)
    return hasher.finish(certificate_der)


def _write(file: IO[bytes], sections: Sequence[_Section], flags: int) -> Measurements:
    offsets, position = [], HEADER_BYTES
    for section in sections:
        offsets.append(position)
        position += SECTION_HEADER_BYTES + section.size
    header = Header(
        flags=flags,
        section_count=len(sections),
        offsets=tuple(offsets),
        sizes=tuple(section.size for section in sections),
        crc32=0,
    ).pack()
    file.write(header)
    crc, hasher = zlib.crc32(header[:-CRC_BYTES]), SectionHasher()
    for section in sections:
        section_header = SectionHeader(kind=section.kind, size=section.size).pack()
        file.write(section_header)
        crc = zlib.crc32(section_header, crc)
        hasher.begin(section.kind)
        for chunk in section.chunks():
            file.write(chunk)
            crc = zlib.crc32(chunk, crc)
            hasher.update(chunk)
    file.seek(HEADER_BYTES - CRC_BYTES)
    file.write(crc.to_bytes(CRC_BYTES, "big"))
    return hasher.finish(None)


def _write_replacing(out: Path, write: Callable[[IO[bytes]], Measurements]) -> Measurements:
    """Nobody ever sees half an image under its final name."""
    try:
        with tempfile.NamedTemporaryFile(dir=out.parent, prefix=f".{out.name}.", delete=False) as file:
            temporary = Path(file.name)
            try:
                written = write(file)
                file.flush()
                os.fchmod(file.fileno(), 0o644)
                temporary.replace(out)
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
    except OSError as error:
        raise EifInputError(f"The image {out} cannot be written: {error.strerror}.") from None
    return written
