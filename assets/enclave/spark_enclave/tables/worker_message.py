"""A table as the session worker is told of it."""

from __future__ import annotations

import base64
from pathlib import Path

from spark_enclave.tables.manifest import VerifiedManifest
from spark_enclave.tables.table_keys import TableKey, aad_prefix


def worker_table(manifest: VerifiedManifest, key: TableKey, *, name: str, directory: Path) -> dict[str, object]:
    """One entry of a `tables` message (assets/spark-plugins/enclave/README.md): `name` in SQL, files in `directory`.

    Only a verified manifest comes this far. Raises KeyMismatch where `key` is not the table's. The result holds keys:
    it goes down the worker's pipe and nowhere else.
    """
    table_id, version = manifest.table_id, manifest.version
    return {
        "name": name,
        "directory": str(directory),
        "schema": _text(manifest.schema(key)),
        "files": [
            {
                "name": file.name,
                "length": file.length,
                "sha256": file.sha256.hex(),
                "key": _text(key.file_key(table_id, version, file.name, file.salt)),
                "aad_prefix": _text(aad_prefix(table_id, version, file.name)),
            }
            for file in manifest.files
        ],
    }


def _text(value: bytes) -> str:
    return base64.b64encode(value).decode("ascii")
