"""Takes a Debian package apart: its files and nothing else. No maintainer script of a package is ever run."""

from __future__ import annotations

import io
import lzma
import stat
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Final

from spark_enclave_image.errors import EifInputError

_AR_MAGIC: Final = b"!<arch>\n"
_AR_HEADER_BYTES: Final = 60


def members(package: Path) -> Iterator[tuple[str, tarfile.TarInfo, bytes]]:
    """Path (relative), what tar says of it, and its data, for all that the package installs. Raises EifInputError."""
    with tarfile.open(fileobj=io.BytesIO(lzma.decompress(_data_archive(package)))) as archive:
        for member in archive:
            path = str(PurePosixPath(member.name.removeprefix("./")))
            if path in (".", "") or path.startswith("/") or ".." in PurePosixPath(path).parts:
                continue
            if member.islnk() or member.isfile():
                file = archive.extractfile(member)
                yield path, member, file.read() if file else b""
            elif member.issym() or member.isdir():
                yield path, member, b""
            else:
                raise EifInputError(f"{package.name} wants to install the device {path}; images take files only.")


def unpack(package: Path, folder: Path) -> None:
    """Onto the disk, as a tool that takes part in a build; absolute links stay inside of `folder`."""
    for path, member, data in members(package):
        place = folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        if member.isdir():
            place.mkdir(exist_ok=True)
        elif member.issym():
            target = member.linkname
            place.unlink(missing_ok=True)
            place.symlink_to(folder / target.lstrip("/") if target.startswith("/") else target)
        else:
            place.write_bytes(data)
            place.chmod(stat.S_IMODE(member.mode) & 0o755)


def _data_archive(package: Path) -> bytes:
    with package.open("rb") as file:
        if file.read(len(_AR_MAGIC)) != _AR_MAGIC:
            raise EifInputError(f"{package} is no Debian package.")
        while header := file.read(_AR_HEADER_BYTES):
            name, size = header[:16].decode("ascii").strip(), int(header[48:58])
            if name.startswith("data.tar"):
                if not name.startswith("data.tar.xz"):
                    raise EifInputError(f"{package} holds {name}; Debian 12 packs with xz.")
                return file.read(size)
            file.seek(size + size % 2, io.SEEK_CUR)
    raise EifInputError(f"{package} holds no files.")
