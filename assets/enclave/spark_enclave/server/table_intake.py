"""A table on its way into a session: the manifest is verified first, then every byte is held against it."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Final

from spark_enclave.kms import KmsKeyArn
from spark_enclave.protocol.messages import KMS, OWN_KEYS, Query, TableHeader
from spark_enclave.protocol.result_chunks import TableVersion
from spark_enclave.tables import (
    Grant,
    TableKey,
    TableRefused,
    VerifiedManifest,
    enforce,
    verify_grant,
    verify_manifest,
    worker_table,
)
from spark_enclave.tables.refusals import ParametersNotGranted, QueryNotGranted

_OTHER_SOURCE: Final = "The table's key comes from somewhere else than its manifest says."


class IntakeRefused(Exception):
    """A table, a file of it, or a query on it is refused; `rule` is stable, `what` is for the client alone."""

    def __init__(self, rule: str, what: str) -> None:
        super().__init__(rule)
        self.rule, self.what = rule, what


@dataclass(slots=True)
class Table:
    """One table of a session: what was verified about it, its key, and where its (encrypted) files lie."""

    name: str
    manifest: VerifiedManifest
    seen: TableVersion
    key: TableKey | None = field(repr=False)
    """None: under KMS, and no query was allowed on it yet."""
    grant: Grant | None
    folder: Path
    size: int

    def for_worker(self) -> dict[str, object]:
        """As the worker wants it, with the keys."""
        assert self.key is not None  # noqa: S101 (a table is handed on when its key is here)
        return worker_table(self.manifest, self.key, name=self.name, directory=self.folder)

    def share_with(self, uid: int | None) -> None:
        """Let the worker of that user read the files, and nobody else; only the broker writes them."""
        if uid is None:
            return
        for path in (self.folder, *self.folder.iterdir()):
            os.chown(path, 0, uid)
            path.chmod(0o750 if path.is_dir() else 0o640)

    def remove(self) -> None:
        """Delete the files."""
        shutil.rmtree(self.folder, ignore_errors=True)


class TableIntake:
    """Takes the bytes of a table's files, back to back in the manifest's order, and refuses the first wrong one.

    Raises IntakeRefused from here on; whoever made it calls `discard` when it was not finished.
    """

    def __init__(self, header: TableHeader, client_key: bytes, into: Path, most_bytes: int) -> None:
        self._manifest = _verified(header)
        # Before any key is looked at: a table of another owner needs a grant for this client.
        self._grant = _grant(header, client_key, self._manifest)
        self._key = _table_key(header, self._manifest)
        self._header = header
        self.total = sum(file.length for file in self._manifest.files)
        if self.total > most_bytes:
            raise IntakeRefused(
                "table-size", f"The table has {self.total} bytes; this session has room for {most_bytes} more."
            )
        self.folder = Path(tempfile.mkdtemp(prefix="table-", dir=into))
        self._files = iter(self._manifest.files)
        self._open: IO[bytes] | None = None
        self._next_file()

    def take(self, content: bytes) -> None:
        """The next bytes."""
        view = memoryview(content)
        while view:
            if self._open is None:
                raise IntakeRefused("file-length", "More bytes came than the manifest has.")
            part = view[: self._left]
            self._open.write(part)
            self._digest.update(part)
            self._left -= len(part)
            view = view[len(part) :]
            if not self._left:
                self._finish_file()

    def finish(self) -> Table:
        """All bytes are here."""
        if self._open is not None:
            raise IntakeRefused("file-length", f"The bytes end in the middle of {self._name}.")
        manifest = self._manifest
        seen = TableVersion(manifest.table_id, manifest.version, hashlib.sha384(self._header.manifest).digest())
        return Table(self._header.name, manifest, seen, self._key, self._grant, self.folder, self.total)

    def discard(self) -> None:
        """Remove what came so far."""
        if self._open is not None:
            self._open.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _next_file(self) -> None:
        self._open = None
        file = next(self._files, None)
        if file is not None:
            self._name, self._left, self._expected = file.name, file.length, file.sha256
            self._digest = hashlib.sha256()
            # The manifest's names are plain file names: whoever verified it saw to that; here it is made sure.
            self._open = (self.folder / Path(file.name).name).open("xb")

    def _finish_file(self) -> None:
        assert self._open is not None  # noqa: S101 (a file is being taken)
        self._open.close()
        if self._digest.digest() != self._expected:
            raise IntakeRefused("file-digest", f"The file {self._name} is not the one in the manifest.")
        self._next_file()


def allowed(tables: Mapping[str, Table], client_key: bytes, query: Query) -> dict[str, object] | None:
    """What the owners' grants allow of this query, for the worker; None where all tables are the client's own.

    Raises IntakeRefused.
    """
    now, parameters = datetime.now(UTC), worker_parameters(query)
    found: dict[str, object] = {}
    try:
        for name, table in tables.items():
            part = enforce(table.grant, client_key, query.sql, now, manifest=table.manifest, parameters=parameters)
            if part is not None:
                found[name] = part
    except TableRefused as error:
        raise IntakeRefused(error.rule, str(error)) from None
    return {"tables": found} if found else None


def worker_parameters(query: Query) -> dict[str, dict[str, str | None]]:
    """As the worker and grants want them: name → type and value."""
    return {one.name: {"type": one.type, "value": one.value} for one in query.parameters}


def _verified(header: TableHeader) -> VerifiedManifest:
    try:
        return verify_manifest(header.manifest, header.owner_key, header.minimum_version)
    except TableRefused as error:
        raise IntakeRefused(error.rule, str(error)) from None


def _grant(header: TableHeader, client_key: bytes, manifest: VerifiedManifest) -> Grant | None:
    try:
        grant = verify_grant(header.grant, header.owner_key) if header.grant else None
        with contextlib.suppress(QueryNotGranted, ParametersNotGranted):
            # Which queries the grant covers is asked when there is one; whether it is for this client and table, now.
            enforce(grant, client_key, "", datetime.now(UTC), manifest=manifest)
    except TableRefused as error:
        raise IntakeRefused(error.rule, str(error)) from None
    return grant


def _table_key(header: TableHeader, manifest: VerifiedManifest) -> TableKey | None:
    """The client's own key; None for one under KMS, which is asked for when a query is allowed, and not before."""
    source = manifest.manifest.key
    if (header.key_source, source.kind) not in ((OWN_KEYS, "own"), (KMS, "kms")):
        raise IntakeRefused("key-source", _OTHER_SOURCE)
    if source.kind == "kms":
        try:
            KmsKeyArn(source.key_arn or "")
        except ValueError as error:
            raise IntakeRefused("key-source", f"The table's key cannot be asked for: {error}.") from None
        return None
    try:
        key = TableKey(header.table_key)
        check_key(manifest, key)
    except ValueError:
        raise IntakeRefused("key-source", "The table's key does not have 32 bytes.") from None
    return key


def check_key(manifest: VerifiedManifest, key: TableKey) -> None:
    """Whether the key is that table's; raises IntakeRefused."""
    try:
        manifest.schema(key)
    except TableRefused as error:
        raise IntakeRefused(error.rule, str(error)) from None
