"""Why a table, a key file or a grant was refused: one class per reason, each with what to do about it."""

from __future__ import annotations

from typing import ClassVar


class TableRefused(Exception):
    """Base of every refusal here. `what` says what was found, `remedy` what to do; `rule` is a stable short name."""

    remedy: ClassVar[str] = "Do not use this table."
    rule: ClassVar[str] = "table"

    def __init__(self, what: str) -> None:
        super().__init__(f"{what} {self.remedy}")
        self.what = what


class ManifestRefused(TableRefused):
    """Base: a manifest that cannot be believed."""

    rule = "manifest"


class ManifestMalformed(ManifestRefused):
    """The manifest is not in the one encoding that manifests have."""

    remedy = "Fetch the table's manifest again, unchanged, or encrypt the table anew."
    rule = "manifest-malformed"


class ManifestSignatureInvalid(ManifestRefused):
    """The owner did not sign this manifest."""

    remedy = "The manifest was changed after it was signed: do not use this table."
    rule = "manifest-signature"


class OwnerMismatch(ManifestRefused):
    """The manifest is somebody else's."""

    remedy = "Compare the owner's key with the one that the owner gave you by another way."
    rule = "owner"


class TableMismatch(ManifestRefused):
    """The manifest is of another table."""

    remedy = "Name the table that is meant; a manifest of another one cannot stand in for it."
    rule = "table-id"


class TableRolledBack(ManifestRefused):
    """The manifest is older than the lowest version that is accepted."""

    remedy = "Fetch the newest version of the table; somebody may have put an old one in its place."
    rule = "version"


class FileMissing(TableRefused):
    """A file of the manifest is not there."""

    remedy = "Fetch the table's files again."
    rule = "file-missing"


class FileUnexpected(TableRefused):
    """A file that the manifest does not name."""

    remedy = "A table's folder holds the files of its manifest and nothing else: remove what does not belong there."
    rule = "file-unexpected"


class FileLengthMismatch(TableRefused):
    """A file is shorter or longer than the manifest says."""

    remedy = "The file was cut or continued: fetch it again."
    rule = "file-length"


class FileDigestMismatch(TableRefused):
    """A file is not the one that the manifest names."""

    remedy = "The file was changed or swapped for another: fetch it again."
    rule = "file-digest"


class FilePlaintext(TableRefused):
    """A file is not Parquet with an encrypted footer."""

    remedy = "Plain files never stand in for encrypted ones: encrypt the table anew."
    rule = "file-plaintext"


class KeyMismatch(TableRefused):
    """The key does not open what the manifest holds."""

    remedy = "Use the key with which this table was encrypted."
    rule = "key"


class SourceRefused(TableRefused):
    """The source of a table cannot be encrypted as it is."""

    remedy = "Change the source or say by --types what its columns are."
    rule = "source"


class KeyFileRefused(TableRefused):
    """A key file is missing, readable by others, or not a key file."""

    remedy = "Make one by `sparkvault keys new`, and keep it readable by its owner only (chmod 600)."
    rule = "key-file"


class GrantRefused(TableRefused):
    """Base: what is asked for is not granted."""

    remedy = "Ask the table's owner for a grant that covers it."
    rule = "grant"


class GrantMalformed(GrantRefused):
    """The grant is not in the one encoding that grants have, or contradicts itself."""

    rule = "grant-malformed"


class GrantSignatureInvalid(GrantRefused):
    """The owner did not sign this grant."""

    rule = "grant-signature"


class GrantMissing(GrantRefused):
    """A table of another owner, and no grant for it."""

    rule = "grant-missing"


class GrantForOtherTable(GrantRefused):
    """The grant is for another table, another owner, or versions before its first."""

    rule = "grant-table"


class GrantExpired(GrantRefused):
    """The grant is no longer valid."""

    rule = "grant-expired"


class GrantNotYetValid(GrantRefused):
    """The grant is dated later than now."""

    rule = "grant-not-yet"


class GrantForOtherClient(GrantRefused):
    """The grant names other clients than the one that asks."""

    rule = "grant-client"


class QueryNotGranted(GrantRefused):
    """The grant lists the queries that may be asked, and this is none of them."""

    rule = "grant-query"


class ParametersNotGranted(GrantRefused):
    """The parameters are not those of the granted query."""

    rule = "grant-parameters"
