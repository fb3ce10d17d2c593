"""Encrypts a table: Parquet with modular encryption, a key of its own for every file, and a signed manifest."""

from __future__ import annotations

import hashlib
import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pyarrow.parquet.encryption import create_encryption_properties

from spark_enclave.tables.manifest import Manifest, SignedManifest, TableFile
from spark_enclave.tables.refusals import SourceRefused
from spark_enclave.tables.source_rows import SourceRows, source_rows
from spark_enclave.tables.table_keys import OWN_KEYS, SALT_BYTES, KeySource, TableKey, aad_prefix

#: Rows and bytes (in memory) of a row group: what is held at a time here, and what one task reads in the enclave.
ROW_GROUP_ROWS: Final = 256 * 1024
ROW_GROUP_BYTES: Final = 64 * 1024 * 1024
#: Bytes in memory after which another file begins.
FILE_BYTES: Final = 512 * 1024 * 1024


def encrypt_table(
    sources: Sequence[str | Path],
    out: Path,
    key: TableKey,
    *,
    table_id: str,
    version: int,
    signing_key: Ed25519PrivateKey,
    columns: Sequence[str] | None = None,
    types: Mapping[str, str] | None = None,
    key_source: KeySource = OWN_KEYS,
) -> SignedManifest:
    """Encrypt CSV or Parquet files into the new folder `out`, one row group in memory at a time; returns the manifest.

    Sources, `columns` and `types` are as for `source_rows`. When this returns, `out` holds the files and
    `manifest.cbor`; it does not exist when this raises: SourceRefused, or
    ManifestMalformed for an id or a version that cannot be.
    """
    rows = source_rows(sources, columns=columns, types=types)
    if out.exists() and any(out.iterdir()):
        raise SourceRefused(f"The folder {out} is not empty, and nothing is overwritten.")
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(f".{out.name}.{secrets.token_hex(4)}")
    partial.mkdir(mode=0o700)
    try:
        files = tuple(_write_files(rows, partial, key, table_id, version))
        owner = signing_key.public_key().public_bytes_raw()
        schema = key.seal_schema(table_id, version, rows.schema.serialize().to_pybytes())
        manifest = Manifest(table_id, version, owner, schema, files, key_source).sign(signing_key)
        manifest.write(partial)
        if out.exists():
            out.rmdir()
        partial.replace(out)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return manifest


def _write_files(rows: SourceRows, folder: Path, key: TableKey, table_id: str, version: int) -> Iterator[TableFile]:
    groups = _row_groups(rows)
    first: Any = next(groups, None)
    number = 0
    while number == 0 or first is not None:
        name, salt = f"part-{number:05}.parquet", secrets.token_bytes(SALT_BYTES)
        properties = create_encryption_properties(
            key.file_key(table_id, version, name, salt),
            aad_prefix=aad_prefix(table_id, version, name),
            store_aad_prefix=False,  # a reader must know which file it means to read
            encryption_algorithm="AES_GCM_V1",
            plaintext_footer=False,
        )
        path = folder / name
        with pa.parquet.ParquetWriter(
            path, rows.schema, compression="snappy", encryption_properties=properties, store_schema=False
        ) as writer:
            written = 0
            while first is not None and written < FILE_BYTES:
                writer.write_table(first, row_group_size=ROW_GROUP_ROWS)
                written += first.nbytes
                first = next(groups, None)
        with path.open("rb") as content:
            digest = hashlib.file_digest(content, "sha256").digest()
        yield TableFile(name, path.stat().st_size, digest, salt)
        number += 1


def _row_groups(rows: SourceRows) -> Iterator[Any]:
    """pyarrow.Table after table, each one row group."""
    held: list[Any] = []
    count = size = 0
    for batch in rows.batches():
        if batch.num_rows == 0:
            continue
        held.append(batch)
        count += batch.num_rows
        size += batch.nbytes
        if count >= ROW_GROUP_ROWS or size >= ROW_GROUP_BYTES:
            yield pa.Table.from_batches(held, rows.schema)
            held, count, size = [], 0, 0
    if held:
        yield pa.Table.from_batches(held, rows.schema)
