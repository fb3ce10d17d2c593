"""Keys of tables: one master key per owner, one key per table, one key per file that is never used for another."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import Final, Literal

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from spark_enclave.tables.canonical_cbor import encode
from spark_enclave.tables.refusals import KeyMismatch

#: Bytes of every key: AES-256.
KEY_BYTES: Final = 32
#: Bytes of a file's salt: random, so that encrypting the same version of a table again uses other keys.
SALT_BYTES: Final = 32
_NONCE_BYTES: Final = 12

_FILE: Final = "sparkvault.table-file/1"
_SCHEMA: Final = "sparkvault.table-schema/1"
_TABLE: Final = "sparkvault.table/1"


@dataclass(frozen=True, slots=True)
class TableKey:
    """The key of one table, 32 bytes. What opens its files and its schema derives from it, and nothing else does."""

    secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.secret) != KEY_BYTES:
            raise ValueError(f"a table's key has {KEY_BYTES} bytes")

    @classmethod
    def new(cls) -> TableKey:
        """A random key."""
        return cls(secrets.token_bytes(KEY_BYTES))

    @classmethod
    def of_owner(cls, master_key: bytes, table_id: str) -> TableKey:
        """The key of the owner's table `table_id`; it tells nothing of the master key or of other tables' keys."""
        return cls(_derive(master_key, b"", [_TABLE, table_id]))

    def file_key(self, table_id: str, version: int, file: str, salt: bytes) -> bytes:
        """The AES-256 key of one file of one version (HKDF-SHA-384 over the file's random salt)."""
        return _derive(self.secret, salt, [_FILE, table_id, version, file])

    def seal_schema(self, table_id: str, version: int, schema: bytes) -> bytes:
        """A schema so that only holders of this key read it: names of columns are nobody else's business."""
        salt = secrets.token_bytes(SALT_BYTES)
        cipher = AESGCM(_derive(self.secret, salt, [_SCHEMA, table_id, version]))
        nonce = bytes(_NONCE_BYTES)  # the key is used once
        return salt + cipher.encrypt(nonce, schema, encode([_SCHEMA, table_id, version]))

    def open_schema(self, table_id: str, version: int, sealed: bytes) -> bytes:
        """What `seal_schema` sealed for this table and version. Raises KeyMismatch."""
        salt, rest = sealed[:SALT_BYTES], sealed[SALT_BYTES:]
        cipher = AESGCM(_derive(self.secret, salt, [_SCHEMA, table_id, version]))
        try:
            return cipher.decrypt(bytes(_NONCE_BYTES), rest, encode([_SCHEMA, table_id, version]))
        except InvalidTag:
            raise KeyMismatch(f"The key is not that of the table {table_id}, version {version}.") from None


def aad_prefix(table_id: str, version: int, file: str) -> bytes:
    """What every encrypted module of a Parquet file is bound to, and what is not stored in the file."""
    return encode([_FILE, table_id, version, file])


def encryption_context(table_id: str, version: int, owner_key: bytes) -> dict[str, str]:
    """The KMS encryption context under which the key of a table's version is wrapped.

    `owner_key`: the owner's public signing key, 32 bytes. It is here so that a table's key comes out of KMS only
    for who names its owner, and the enclave names the owner that signed manifest and grant.
    """
    return {
        "sparkvault:purpose": "table",
        "sparkvault:table": table_id,
        "sparkvault:version": str(version),
        "sparkvault:owner": owner_key.hex(),
    }


@dataclass(frozen=True, slots=True)
class KeySource:
    """Where a table's key comes from: its owner's own keys, or KMS, where `wrapped` is what KMS decrypts."""

    kind: Literal["own", "kms"] = "own"
    key_arn: str | None = None
    wrapped: bytes | None = None

    def to_value(self) -> dict[str, object]:
        """As it stands in a manifest."""
        if self.kind == "own":
            return {"kind": "own"}
        return {"kind": "kms", "key_arn": self.key_arn, "wrapped": self.wrapped}


#: The key derives from its owner's own master key.
OWN_KEYS: Final = KeySource()


def _derive(secret: bytes, salt: bytes, purpose: list[object]) -> bytes:
    return HKDF(algorithm=hashes.SHA384(), length=KEY_BYTES, salt=salt, info=encode(purpose)).derive(secret)
