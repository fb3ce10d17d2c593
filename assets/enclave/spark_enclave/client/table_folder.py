"""An encrypted table on disk, as `sparkvault encrypt` leaves it, and what its client knows about it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from spark_enclave.protocol.messages import KMS, OWN_KEYS
from spark_enclave.protocol.result_chunks import TableVersion
from spark_enclave.tables import ClientKeys, SignedManifest, VerifiedManifest, verify_manifest


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
        """Read and verify the manifest in `folder`; raises TableRefused.

        `table_key`: 32 bytes; `owner_key`: the Ed25519 public key that must have signed the manifest;
        `minimum_version`: the lowest version that is accepted.
        """
        data = SignedManifest.read(folder).data
        manifest = verify_manifest(data, owner_key, minimum_version)
        return cls(folder, manifest, data, owner_key, minimum_version, table_key, grant)

    @classmethod
    def of_client(
        cls,
        folder: Path,
        keys: ClientKeys,
        *,
        owner_key: bytes,
        pinned: Callable[[bytes, str], int],
        grant: bytes = b"",
    ) -> Self:
        """With the client's own keys: `pinned` says the lowest version of an owner's table. Raises TableRefused.

        A table of another owner comes with a grant, and its key from KMS: the client has none.
        """
        data = SignedManifest.read(folder).data
        manifest = verify_manifest(data, owner_key, 1)
        lowest = pinned(owner_key, manifest.table_id)
        manifest = verify_manifest(data, owner_key, lowest)
        if manifest.manifest.key.kind != "own":
            return cls(folder, manifest, data, owner_key, lowest, b"", grant, KMS)
        return cls(folder, manifest, data, owner_key, lowest, keys.table_key(manifest.table_id).secret, grant)

    def files(self) -> Iterator[Path]:
        """The encrypted files in the manifest's order."""
        return (self.folder / file.name for file in self.manifest.files)

    @property
    def seen(self) -> TableVersion:
        """What results on this table are bound to."""
        return TableVersion(self.manifest.table_id, self.manifest.version, hashlib.sha384(self.manifest_bytes).digest())
