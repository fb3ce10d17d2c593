"""The file that holds a client's own keys: readable by its owner only, and never shown."""

from __future__ import annotations

import base64
import binascii
import json
import os
import secrets
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from spark_enclave.tables.refusals import KeyFileRefused
from spark_enclave.tables.table_keys import KEY_BYTES, TableKey

_FORMAT: Final = "sparkvault-keys-1"
_MAX_BYTES: Final = 4096


@dataclass(frozen=True, slots=True)
class ClientKeys:
    """What a client has: a key that signs for it, and a master key that the keys of its own tables derive from.

    With `kms_key` (the ARN of the owner's key) new tables are encrypted under data keys of KMS instead.
    """

    signing_key: Ed25519PrivateKey = field(repr=False)
    master_key: bytes = field(repr=False)
    kms_key: str | None = None

    @classmethod
    def new(cls, kms_key: str | None = None) -> ClientKeys:
        """Random keys."""
        return cls(Ed25519PrivateKey.generate(), secrets.token_bytes(KEY_BYTES), kms_key)

    @property
    def public_key(self) -> bytes:
        """The public signing key, 32 bytes: who the client is, for manifests, grants and the enclave."""
        return self.signing_key.public_key().public_bytes_raw()

    def table_key(self, table_id: str) -> TableKey:
        """The key of this client's table."""
        return TableKey.of_owner(self.master_key, table_id)


def write_key_file(path: Path, keys: ClientKeys) -> None:
    """Write a new key file, mode 0600. Raises KeyFileRefused if something is there: keys are not overwritten."""
    document = {
        "format": _FORMAT,
        "signing_key": _text(keys.signing_key.private_bytes_raw()),
        "master_key": _text(keys.master_key),
    }
    if keys.kms_key is not None:
        document["kms_key"] = keys.kms_key
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    except FileExistsError:
        raise KeyFileRefused(f"{path} exists already, and what it opens would be lost.") from None
    except OSError as error:
        raise KeyFileRefused(f"{path} cannot be written: {error.strerror}.") from None
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(json.dumps(document, indent=2) + "\n")


def read_key_file(path: Path) -> ClientKeys:
    """The keys in a file. Raises KeyFileRefused, also where others than its owner may read the file."""
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            content = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise KeyFileRefused(f"{path} cannot be read: {error.strerror}.") from None
    if not stat.S_ISREG(mode) or mode & 0o077:
        raise KeyFileRefused(f"{path} is readable by others (mode {stat.S_IMODE(mode):04o}).")
    try:
        document = json.loads(content)
        if document["format"] != _FORMAT or len(content) > _MAX_BYTES:
            raise KeyError
        signing, master = (base64.b64decode(document[name], validate=True) for name in ("signing_key", "master_key"))
        if len(master) != KEY_BYTES:
            raise ValueError
        kms_key = document.get("kms_key")
        if not isinstance(kms_key, str | None):
            raise TypeError
        return ClientKeys(Ed25519PrivateKey.from_private_bytes(signing), master, kms_key)
    except (KeyError, TypeError, ValueError, binascii.Error):
        raise KeyFileRefused(f"{path} is not a key file of sparkvault.") from None  # says nothing of what it holds


def _text(secret: bytes) -> str:
    return base64.b64encode(secret).decode("ascii")
