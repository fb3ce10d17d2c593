"""What changed between two images, file by file inside their ramdisks: the reviewer's tool."""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from spark_enclave_image import cpio_archive
from spark_enclave_image.eif_format import SectionType
from spark_enclave_image.eif_reader import EifImage, Section, read

_SHOWN_DIGITS: Final = 16


@dataclass(frozen=True, slots=True)
class FileState:
    """One file as an image has it: which ramdisk (from 0), mode with kind, bytes, SHA-256 (of a link: its target)."""

    ramdisk: int
    mode: int
    size: int
    sha256: str

    def describe(self) -> str:
        """For a line of the report."""
        return f"{self.size:,} bytes, mode {stat.S_IMODE(self.mode):04o}, sha256 {self.sha256[:_SHOWN_DIGITS]}…"


@dataclass(frozen=True, slots=True)
class Change:
    """A file, the kernel or its command line that differs; `before` or `after` is None where it is not there."""

    kind: Literal["added", "removed", "changed"]
    path: str
    before: FileState | None
    after: FileState | None

    def describe(self) -> str:
        """One line: what, where, and how it was and is."""
        states = " → ".join(state.describe() for state in (self.before, self.after) if state)
        return f"{self.kind:8} {self.path}  ({states})"

    def to_json(self) -> dict[str, object]:
        """The same as data."""
        return {
            "kind": self.kind,
            "path": self.path,
            **{
                side: {"ramdisk": state.ramdisk, "mode": state.mode, "size": state.size, "sha256": state.sha256}
                for side, state in (("before", self.before), ("after", self.after))
                if state
            },
        }


def compare(before: Path, after: Path) -> list[Change]:
    """All that is measured and differs, sorted by path; folders without change of mode are no files.

    Raises EifError and EifMalformed for what is no image.
    """
    old, new = (_contents(read(path)) for path in (before, after))
    changes = []
    for path in sorted(old.keys() | new.keys()):
        left, right = old.get(path), new.get(path)
        if left == right:
            continue
        kind: Literal["added", "removed", "changed"] = "changed" if left and right else "added" if right else "removed"
        changes.append(Change(kind, path, left, right))
    return changes


def _contents(image: EifImage) -> dict[str, FileState]:
    """What the machine finds when the kernel has unpacked everything: a later ramdisk replaces files of an earlier."""
    found: dict[str, FileState] = {}
    ramdisk = 0
    with image.path.open("rb") as file:
        for section in image.sections:
            if section.kind is SectionType.KERNEL:
                found["[kernel]"] = _part(_data(file.fileno(), section))
            elif section.kind is SectionType.CMDLINE:
                found["[cmdline]"] = _part(_data(file.fileno(), section))
            elif section.kind is SectionType.RAMDISK:
                for entry in cpio_archive.read(_data(file.fileno(), section)):
                    digest = hashlib.sha256(entry.data).hexdigest()
                    if stat.S_ISDIR(entry.mode) and entry.path in found:
                        continue
                    found[entry.path] = FileState(ramdisk, entry.mode, len(entry.data), digest)
                ramdisk += 1
    return found


def _part(data: bytes) -> FileState:
    return FileState(-1, 0, len(data), hashlib.sha256(data).hexdigest())


def _data(descriptor: int, section: Section) -> bytes:
    return os.pread(descriptor, section.size, section.offset)
