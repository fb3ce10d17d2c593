"""Ramdisks as the kernel unpacks them: cpio in the format "newc", one form for the same files.

Source: Linux, Documentation/driver-api/early-userspace/buffer-format.rst. Times, device and owner are zero, inodes
count from one, entries are sorted. Archives end on a multiple of four bytes: one that follows must begin there.
"""

from __future__ import annotations

import stat
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from spark_enclave_image.errors import EifMalformed
from spark_enclave_image.image_tree import Entry, ImageTree

_MAGIC: Final = b"070701"
_HEADER_BYTES: Final = 110
_TRAILER: Final = "TRAILER!!!"
_BLOCK: Final = 512
_GZIP_MAGIC: Final = b"\x1f\x8b"
_XZ_MAGIC: Final = b"\xfd7zXZ\x00"


def write(tree: ImageTree, out: IO[bytes]) -> int:
    """Write the archive; returns its bytes, a multiple of 512."""
    size = 0
    for inode, (path, entry) in enumerate(tree, start=1):
        size += _write_entry(out, inode, path, entry)
    trailer = _header(0, 0, 1, 0, _TRAILER)
    out.write(trailer)
    size += len(trailer)
    rest = -size % _BLOCK
    out.write(bytes(rest))
    return size + rest


def _write_entry(out: IO[bytes], inode: int, path: str, entry: Entry) -> int:
    data = b"" if entry.kind == stat.S_IFDIR else entry.read()
    header = _header(inode, entry.kind | entry.mode, 2 if entry.kind == stat.S_IFDIR else 1, len(data), path)
    padding = bytes(-len(data) % 4)
    out.write(header)
    out.write(data)
    out.write(padding)
    return len(header) + len(data) + len(padding)


def _header(inode: int, mode: int, links: int, size: int, path: str) -> bytes:
    name = path.encode() + b"\0"
    #        inode  mode  uid gid links  mtime size  device (4)  length of the name, checksum
    fields = (inode, mode, 0, 0, links, 0, size, 0, 0, 0, 0, len(name), 0)
    head = _MAGIC + b"".join(b"%08X" % field for field in fields) + name
    return head + bytes(-len(head) % 4)


@dataclass(frozen=True, slots=True)
class ArchivedFile:
    """An entry of a ramdisk, read back: `mode` with its kind, and the data (the target of a link)."""

    path: str
    mode: int
    data: bytes


def read(data: bytes) -> Iterator[ArchivedFile]:
    """The entries of a ramdisk, whatever it is compressed with; raises EifMalformed."""
    archive = _decompressed(data)
    position = 0
    while position < len(archive):
        if archive[position] == 0:
            position += 1
            continue
        header = archive[position : position + _HEADER_BYTES]
        if header[:6] != _MAGIC or len(header) < _HEADER_BYTES:
            raise EifMalformed(f"The ramdisk has no cpio entry at byte {position}.")
        try:
            fields = [int(header[start : start + 8], 16) for start in range(6, _HEADER_BYTES, 8)]
        except ValueError:
            raise EifMalformed(f"The ramdisk has a broken cpio header at byte {position}.") from None
        mode, size, name_bytes = fields[1], fields[6], fields[11]
        name_end = position + _HEADER_BYTES + name_bytes
        begin = name_end + (-name_end % 4)
        end = begin + size
        path = archive[position + _HEADER_BYTES : name_end - 1].decode("utf-8", "surrogateescape")
        position = end + (-end % 4)
        if end > len(archive):
            raise EifMalformed(f"The ramdisk ends in the middle of {path}.")
        if path != _TRAILER:
            yield ArchivedFile(path, mode, archive[begin:end])


def _decompressed(data: bytes) -> bytes:
    try:
        if data.startswith(_GZIP_MAGIC):
            return zlib.decompressobj(16 + zlib.MAX_WBITS).decompress(data)
        if data.startswith(_XZ_MAGIC):
            import lzma

            # Zero bytes fill up the file behind the stream.
            return lzma.LZMADecompressor().decompress(data)
    except (zlib.error, EOFError) as error:
        raise EifMalformed(f"The ramdisk cannot be decompressed: {error}.") from None
    return data


def write_file(tree: ImageTree, out: Path) -> int:
    """The archive as a file; returns its bytes."""
    with out.open("wb") as file:
        return write(tree, file)
