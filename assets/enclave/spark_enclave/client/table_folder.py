"""An encrypted table on disk, as `sparkvault encrypt` leaves it, and what its client knows about it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from spark_enclave.protocol.messages import OWN_KEYS
from spark_enclave.protocol.result_chunks import TableVersion
from spark_enclave.tables import MANIFEST_NAME, VerifiedManifest, verify_manifest


@dataclass(frozen=True, slots=True)
class TableFolder:
    """A manifest that was verified on this side already, and the files beside it."""

    folder: Path
    manifest: VerifiedManifest
    manifest_bytes: bytes
    owner_key: bytes
    minimum_version: int
    table_key: bytes = field(repr=False)
    grant: bytes = b""
    key_source: str = OWN_KEYS

    @classmethod
    def open(
        cls, folder: Path, *, table_key: bytes, owner_key: bytes, minimum_version: int = 1, grant: bytes = b""
    ) -> Self:
        """Read and verify the manifest in `folder`; raises ManifestRefused, OSError.

        `table_key`: 32 bytes; `owner_key`: the Ed25519 public key that must have signed the manifest;
        `minimum_version`: the lowest version that is accepted.
        """
        data = (folder / MANIFEST_NAME).read_bytes()
        manifest = verify_manifest(data, owner_key, minimum_version)
        return cls(folder, manifest, data, owner_key, minimum_version, table_key, grant)

    def files(self) -> Iterator[Path]:
        """The encrypted files in the manifest's order."""
        return (self.folder / file.name for file in self.manifest.files)

    @property
    def seen(self) -> TableVersion:
        """What results on this table are bound to."""
        return TableVersion(self.manifest.table_id, self.manifest.version, hashlib.sha384(self.manifest_bytes).digest())
