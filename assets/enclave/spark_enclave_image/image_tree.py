"""The files of a ramdisk: what lies where, with which mode; everything belongs to root and nothing has a time."""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from spark_enclave_image.errors import EifInputError

_FOLDER_MODE: Final = 0o755


@dataclass(frozen=True, slots=True)
class Entry:
    """A file (from `source`, or `content` where it was made here), a symbolic link (to `target`) or a folder."""

    kind: int
    mode: int
    source: Path | None = None
    content: bytes = b""
    target: str = ""

    def read(self) -> bytes:
        """The data of a file, the target of a link, nothing of a folder."""
        if self.kind == stat.S_IFLNK:
            return self.target.encode()
        return self.source.read_bytes() if self.source else self.content

    @property
    def size(self) -> int:
        """Bytes of `read`, without reading."""
        if self.kind == stat.S_IFLNK:
            return len(self.target.encode())
        return self.source.stat().st_size if self.source else len(self.content)

    def sha256(self) -> str:
        """Of the data, hexadecimal."""
        return hashlib.sha256(self.read()).hexdigest()


class ImageTree:
    """Paths (relative, `usr/bin/python3.11`) to entries. Adding a path twice is refused unless it is a folder."""

    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}

    def add_file(
        self, path: str, *, source: Path | None = None, content: bytes = b"", executable: bool = False
    ) -> None:
        """A file, readable by all, writable by nobody but root. Raises EifInputError for a path that is taken."""
        self._add(path, Entry(stat.S_IFREG, 0o755 if executable else 0o644, source, content))

    def add_link(self, path: str, target: str) -> None:
        """A symbolic link. Raises EifInputError for a path that is taken."""
        self._add(path, Entry(stat.S_IFLNK, 0o777, target=target))

    def add_folder(self, path: str) -> None:
        """A folder and those above it."""
        for part in (PurePosixPath(path), *PurePosixPath(path).parents):
            if str(part) != ".":
                self._entries.setdefault(str(part), Entry(stat.S_IFDIR, _FOLDER_MODE))

    def add_tree(self, under: str, folder: Path) -> None:
        """All files and links below `folder`, sorted; a file that its owner can execute stays so."""
        for path in sorted(folder.rglob("*")):
            name = str(PurePosixPath(under) / path.relative_to(folder).as_posix())
            if path.is_symlink():
                self.add_link(name, str(path.readlink()))
            elif path.is_file():
                self.add_file(name, source=path, executable=bool(path.stat().st_mode & stat.S_IXUSR))
            elif path.is_dir():
                self.add_folder(name)

    def remove(self, path: str) -> None:
        """One entry; a folder stays unless it is removed after what is in it."""
        self._entries.pop(path, None)

    def get(self, path: str) -> Entry | None:
        """What lies there, without following links."""
        return self._entries.get(path)

    def __iter__(self) -> Iterator[tuple[str, Entry]]:
        """Sorted by path, so that a folder comes before what is in it."""
        return iter(sorted(self._entries.items(), key=lambda item: item[0].encode()))

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def unpacked_bytes(self) -> int:
        """What the files take in memory, each rounded up to pages of 4 KiB."""
        return sum(-(-entry.size // 4096) * 4096 for _, entry in self if entry.kind == stat.S_IFREG)

    def _add(self, path: str, entry: Entry) -> None:
        if path.startswith("/") or ".." in PurePosixPath(path).parts:
            raise EifInputError(f"{path} is no place in an image: paths are relative and go down only.")
        if path in self._entries:
            raise EifInputError(f"Two inputs of the image have the file {path}; leave one of them out in the recipe.")
        self.add_folder(str(PurePosixPath(path).parent))
        self._entries[path] = entry
