"""A table's manifest: what the table is made of, signed by its owner, checked before anything is opened."""

from __future__ import annotations

import hashlib
import re
from dataclasses import InitVar, dataclass
from pathlib import Path
from typing import Final, final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from spark_enclave.tables import canonical_cbor, signed_payload
from spark_enclave.tables.refusals import (
    FileDigestMismatch,
    FileLengthMismatch,
    FileMissing,
    FilePlaintext,
    FileUnexpected,
    ManifestMalformed,
    ManifestSignatureInvalid,
    OwnerMismatch,
    TableMismatch,
    TableRolledBack,
)
from spark_enclave.tables.signed_payload import SignedPayload
from spark_enclave.tables.table_keys import OWN_KEYS, SALT_BYTES, KeySource, TableKey

#: The name of a manifest in the folder of its table.
MANIFEST_NAME: Final = "manifest.cbor"
#: Files of a table, and bytes of a manifest, at most.
MAX_FILES: Final = 10_000
MAX_BYTES: Final = 4 * 1024 * 1024
#: What an identifier of a table looks like: it names folders and KMS contexts, so it holds nothing that needs quoting.
TABLE_ID: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
_FILE_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,126}")
_DOMAIN: Final = "sparkvault.table-manifest/1"
_MAX_VERSION: Final = 2**53 - 1
#: How Parquet begins and ends a file with an encrypted footer (its specification, "Encryption", 5.1).
_MAGIC: Final = b"PARE"


@dataclass(frozen=True, slots=True)
class TableFile:
    """A file: its name, its length in bytes, its SHA-256, and the random salt of its key."""

    name: str
    length: int
    sha256: bytes
    salt: bytes


@dataclass(frozen=True, slots=True)
class Manifest:
    """What an owner signs. `schema` is sealed (`TableKey.seal_schema`): an Arrow schema as an IPC message."""

    table_id: str
    version: int
    owner: bytes
    schema: bytes
    files: tuple[TableFile, ...]
    key: KeySource = OWN_KEYS

    def __post_init__(self) -> None:
        if not TABLE_ID.fullmatch(self.table_id):
            raise _malformed("a table's id has lower-case letters, digits, dots, dashes and underscores, at most 63")
        if not 1 <= self.version <= _MAX_VERSION:
            raise _malformed("versions begin at 1")
        if not 1 <= len(self.files) <= MAX_FILES:
            raise _malformed(f"a table has 1 to {MAX_FILES} files")
        names = [file.name for file in self.files]
        if names != sorted(set(names)):
            raise _malformed("files are sorted by name, each once")
        for file in self.files:
            if not _FILE_NAME.fullmatch(file.name) or type(file.length) is not int or file.length < 1:
                raise _malformed(f"the entry of the file {file.name[:130]!r}")
            if len(file.sha256) != 32:
                raise _malformed(f"the entry of the file {file.name[:130]!r}")
            if len(file.salt) != SALT_BYTES:
                raise _malformed(f"the salt of the file {file.name!r}")

    def sign(self, signing_key: Ed25519PrivateKey) -> SignedManifest:
        """Signed by its owner. Raises OwnerMismatch where `signing_key` is not `owner`'s."""
        if signing_key.public_key().public_bytes_raw() != self.owner:
            raise OwnerMismatch("The manifest names another owner than the one who signs it.")
        return SignedManifest(signed_payload.sign(self._value(), signing_key, _DOMAIN))

    def _value(self) -> dict[str, object]:
        files = [
            {"name": file.name, "length": file.length, "sha256": file.sha256, "salt": file.salt} for file in self.files
        ]
        return {
            "domain": _DOMAIN,
            "table": self.table_id,
            "version": self.version,
            "owner": self.owner,
            "schema": self.schema,
            "files": files,
            "key": self.key.to_value(),
        }


@dataclass(frozen=True, slots=True)
class SignedManifest:
    """A manifest and its signature, as bytes: nothing about it is known until `verify_manifest` says so."""

    data: bytes

    def write(self, directory: Path) -> Path:
        """Put it beside the table's files; returns where."""
        path = directory / MANIFEST_NAME
        path.write_bytes(self.data)
        return path

    @classmethod
    def read(cls, directory: Path) -> SignedManifest:
        """The one in a table's folder. Raises FileMissing."""
        try:
            return cls((directory / MANIFEST_NAME).read_bytes())
        except OSError:
            raise FileMissing(f"There is no {MANIFEST_NAME} in {directory}.") from None


class _Seal:
    """Held by `verify_manifest`: without it a VerifiedManifest cannot be made."""


_SEAL: Final = _Seal()


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedManifest:
    """A manifest whose owner, signature, table and version were checked. Only `verify_manifest` makes one."""

    manifest: Manifest
    sha256: bytes
    """Names this signed manifest: of its bytes."""
    seal: InitVar[_Seal]

    def __post_init__(self, seal: _Seal) -> None:
        if seal is not _SEAL:
            raise TypeError("a VerifiedManifest comes from verify_manifest() only")

    @property
    def table_id(self) -> str:
        """The table's id."""
        return self.manifest.table_id

    @property
    def version(self) -> int:
        """The table's version."""
        return self.manifest.version

    @property
    def files(self) -> tuple[TableFile, ...]:
        """The table's files."""
        return self.manifest.files

    def schema(self, key: TableKey) -> bytes:
        """The Arrow schema as an IPC message. Raises KeyMismatch."""
        return key.open_schema(self.table_id, self.version, self.manifest.schema)

    def check_files(self, directory: Path) -> None:
        """Compare a folder with the manifest: every file there, of the length and SHA-256, encrypted, and none besides.

        Raises FileMissing, FileUnexpected, FileLengthMismatch, FileDigestMismatch or FilePlaintext.
        """
        known = {file.name for file in self.files} | {MANIFEST_NAME}
        for path in sorted(directory.iterdir()):
            if path.name not in known:
                raise FileUnexpected(f"{path} is not in the manifest.")
        for file in self.files:
            _check_file(directory / file.name, file)


def verify_manifest(
    data: bytes, owner_key: bytes | Ed25519PublicKey, minimum_version: int, *, table_id: str | None = None
) -> VerifiedManifest:
    """A manifest that is signed by `owner_key` (32 bytes), of `table_id` if given, and not below `minimum_version`.

    Raises ManifestMalformed, OwnerMismatch, ManifestSignatureInvalid, TableMismatch or TableRolledBack.
    """
    owner = owner_key if isinstance(owner_key, bytes) else owner_key.public_bytes_raw()
    signed = _read(data)
    manifest = _parse(signed.payload)
    if manifest.owner != owner:
        raise OwnerMismatch(f"The table {manifest.table_id} is signed by another owner.")
    if not signed.is_signed_by(owner, _DOMAIN):
        raise ManifestSignatureInvalid(f"The signature of the table {manifest.table_id} is wrong.")
    if table_id is not None and manifest.table_id != table_id:
        raise TableMismatch(f"This is the table {manifest.table_id}, not {table_id}.")
    if manifest.version < minimum_version:
        raise TableRolledBack(
            f"This is version {manifest.version} of the table {manifest.table_id}, and {minimum_version} is the lowest."
        )
    return VerifiedManifest(manifest=manifest, sha256=hashlib.sha256(data).digest(), seal=_SEAL)


def _read(data: bytes) -> SignedPayload:
    try:
        return SignedPayload.read(data, limit=MAX_BYTES)
    except canonical_cbor.NotCanonical as error:
        raise _malformed(str(error)) from None


def _parse(payload: bytes) -> Manifest:
    match _decoded(payload):
        case {
            "domain": str() as domain,
            "table": str() as table_id,
            "version": int() as version,
            "owner": bytes() as owner,
            "schema": bytes() as schema,
            "files": list() as files,
            "key": dict() as key,
            **rest,
        } if not rest and domain == _DOMAIN and len(owner) == 32 and version is not True:
            return Manifest(table_id, version, owner, schema, tuple(_file(file) for file in files), _key(key))
    raise _malformed("not a table's manifest")


def _file(value: object) -> TableFile:
    match value:
        case {
            "name": str() as name,
            "length": int() as length,
            "sha256": bytes() as sha256,
            "salt": bytes() as salt,
            **rest,
        } if not rest:
            return TableFile(name, length, sha256, salt)
    raise _malformed("the entry of a file")


def _key(value: dict[object, object]) -> KeySource:
    match value:
        case {"kind": "own", **rest} if not rest:
            return OWN_KEYS
        case {"kind": "kms", "key_arn": str() as arn, "wrapped": bytes() as wrapped, **rest} if not rest:
            return KeySource("kms", arn, wrapped)
    raise _malformed("where the key comes from")


def _decoded(data: bytes) -> object:
    try:
        return canonical_cbor.decode(data, limit=MAX_BYTES)
    except canonical_cbor.NotCanonical as error:
        raise _malformed(str(error)) from None


def _malformed(why: str) -> ManifestMalformed:
    return ManifestMalformed(f"This is no manifest of a table: {why}.")


def _check_file(path: Path, file: TableFile) -> None:
    if path.is_symlink() or not path.is_file():
        raise FileMissing(f"{path} is not there, or not a file.")
    length = path.stat().st_size
    if length != file.length:
        raise FileLengthMismatch(f"{path} has {length} bytes, not {file.length}.")
    with path.open("rb") as content:
        if hashlib.file_digest(content, "sha256").digest() != file.sha256:
            raise FileDigestMismatch(f"{path} is not the file that was signed.")
        content.seek(0)
        first = content.read(4)
        content.seek(-4, 2)
        if first != _MAGIC or content.read(4) != _MAGIC:
            raise FilePlaintext(f"{path} is not encrypted Parquet.")
