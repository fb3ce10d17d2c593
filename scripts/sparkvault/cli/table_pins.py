"""Remembers the newest version of each table that was used, so that nobody can put an older one in its place."""

import json
import os
from pathlib import Path

from sparkvault.errors import SparkvaultError


class TablePins:
    """A small JSON file: owner and table → version."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            text = "{}"
        try:
            self._versions: dict[str, int] = {name: int(version) for name, version in json.loads(text).items()}
        except (ValueError, AttributeError, TypeError):
            raise SparkvaultError(
                f"{path}, which keeps the newest versions of tables, cannot be read",
                "restore it, or remove it if you are sure that your tables are the newest",
            ) from None

    def lowest(self, owner_key: bytes, table_id: str) -> int:
        """The version below which the table is refused; 1 for one that was never seen."""
        return self._versions.get(_name(owner_key, table_id), 1)

    def seen(self, owner_key: bytes, table_id: str, version: int) -> None:
        """The enclave took this version."""
        name = _name(owner_key, table_id)
        if version > self._versions.get(name, 0):
            self._versions[name] = version
            part = self._path.with_suffix(f".{os.getpid()}")
            part.write_text(json.dumps(self._versions, indent=1, sort_keys=True) + "\n", encoding="utf-8")
            part.replace(self._path)


def _name(owner_key: bytes, table_id: str) -> str:
    return f"{owner_key.hex()}/{table_id}"
