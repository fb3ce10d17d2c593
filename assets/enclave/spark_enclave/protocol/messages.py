"""What stands inside the sealed messages of a session, as canonical CBOR maps."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from spark_enclave.protocol import canonical_cbor
from spark_enclave.protocol.limits import (
    KEY_BYTES,
    MAX_GRANT_BYTES,
    MAX_MANIFEST_BYTES,
    MAX_PARAMETERS,
    MAX_QUERY_SECONDS,
    MAX_RESULT_BYTES,
    MAX_RESULT_ROWS,
    MAX_SQL_BYTES,
    MAX_TABLE_NAME,
)
from spark_enclave.protocol.refusals import MessageMalformed

_NAME: Final = re.compile(rf"[A-Za-z_][A-Za-z0-9_]{{0,{MAX_TABLE_NAME - 1}}}")
_TABLE: Final = {
    "name": str,
    "manifest": bytes,
    "owner_key": bytes,
    "minimum_version": int,
    "key_source": str,
    "table_key": bytes,
    "grant": bytes,
}
_QUERY: Final = {"do": str, "sql": str, "parameters": list, "rows": int, "seconds": int, "bytes": int}
_ANSWER: Final = {"outcome": str, "rule": str, "message": str}

#: The client has the table's key and sends it inside the sealed header, or the enclave asks KMS for it.
OWN_KEYS: Final = "own-keys"
KMS: Final = "kms"


@dataclass(frozen=True, slots=True)
class Limits:
    """What a query may take at most; it fails cleanly where it would take more."""

    rows: int = 10_000_000
    seconds: int = 600
    bytes: int = 4 << 30

    def __post_init__(self) -> None:
        for name, value, most in (
            ("rows", self.rows, MAX_RESULT_ROWS),
            ("seconds", self.seconds, MAX_QUERY_SECONDS),
            ("bytes", self.bytes, MAX_RESULT_BYTES),
        ):
            if not 1 <= value <= most:
                raise MessageMalformed(f"The limit of {name} is {value}, not between 1 and {most}.")


@dataclass(frozen=True, slots=True)
class Parameter:
    """A value for `:name` in the SQL; None is SQL's NULL. Types: docs/enclave-sql.md."""

    name: str
    type: str
    value: str | None


@dataclass(frozen=True, slots=True)
class Query:
    """SQL with its parameters, and what it may take."""

    sql: str
    limits: Limits = field(default_factory=Limits)
    parameters: tuple[Parameter, ...] = ()
    last: bool = False
    """Whether the session ends with this query's result, as when the client goes away meanwhile."""

    def encode(self) -> bytes:
        """The plaintext of a query's message; raises MessageMalformed when the SQL is over 64 KiB."""
        if not 1 <= len(self.sql.encode()) <= MAX_SQL_BYTES:
            raise MessageMalformed(f"The query has {len(self.sql.encode())} bytes, not between 1 and {MAX_SQL_BYTES}.")
        limits = self.limits
        do = "last-query" if self.last else "query"
        return canonical_cbor.encode(
            {
                "do": do,
                "sql": self.sql,
                "parameters": [[one.name, one.type, one.value] for one in self.parameters],
                "rows": limits.rows,
                "seconds": limits.seconds,
                "bytes": limits.bytes,
            }
        )


@dataclass(frozen=True, slots=True)
class EndSession:
    """The client is done: everything of the session is to be wiped."""

    def encode(self) -> bytes:
        """The plaintext of the message."""
        return canonical_cbor.encode({"do": "end", "sql": "", "parameters": [], "rows": 0, "seconds": 0, "bytes": 0})


def decode_request(data: bytes) -> Query | EndSession:
    """What a sealed message of `Query` asks for; raises MessageMalformed."""
    fields = canonical_cbor.decode_map(data, "query", _QUERY)
    if fields["do"] == "end":
        return EndSession()
    sql, rows, seconds, size = fields["sql"], fields["rows"], fields["seconds"], fields["bytes"]
    if (
        fields["do"] not in ("query", "last-query")
        or not isinstance(sql, str)
        or not 1 <= len(sql.encode()) <= MAX_SQL_BYTES
    ):
        raise MessageMalformed("The query asks for nothing that there is, or is too long.")
    parameters = fields["parameters"]
    if not isinstance(parameters, list) or len(parameters) > MAX_PARAMETERS:
        raise MessageMalformed("The query has too many parameters.")
    return Query(
        sql,
        Limits(rows=_int(rows), seconds=_int(seconds), bytes=_int(size)),
        tuple(_parameter(one) for one in parameters),
        last=fields["do"] == "last-query",
    )


@dataclass(frozen=True, slots=True)
class TableHeader:
    """One table on its way in: its signed manifest, whose signature to expect, and where its key comes from."""

    name: str
    """What queries call it: a letter or underscore, then letters, digits, underscores; at most 64."""
    manifest: bytes
    owner_key: bytes
    """Ed25519 public key (32 bytes) that must have signed the manifest, as the client decided."""
    minimum_version: int
    """The client's pin: an older table is refused."""
    key_source: str = OWN_KEYS
    table_key: bytes = field(default=b"", repr=False)
    """With `own-keys` the 32 bytes that the table's keys come from."""
    grant: bytes = b""
    """The owner's signed grant; empty when the table is the client's own."""

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise MessageMalformed("A table's name is a letter or underscore, then letters, digits and underscores.")
        if not 1 <= len(self.manifest) <= MAX_MANIFEST_BYTES or len(self.grant) > MAX_GRANT_BYTES:
            raise MessageMalformed(f"The manifest is empty or over {MAX_MANIFEST_BYTES} bytes, or the grant too large.")
        if len(self.owner_key) != KEY_BYTES or self.minimum_version < 1:
            raise MessageMalformed("The owner's key has 32 bytes and versions start at 1.")
        if self.key_source not in (OWN_KEYS, KMS):
            raise MessageMalformed("The table's key comes from nowhere that there is.")

    def encode(self) -> bytes:
        """The plaintext of the header."""
        return canonical_cbor.encode({name: getattr(self, name) for name in _TABLE})

    @classmethod
    def decode(cls, data: bytes) -> TableHeader:
        """Read it back; raises MessageMalformed."""
        fields = canonical_cbor.decode_map(data, "table's header", _TABLE)
        return cls(**fields)  # type: ignore[arg-type]  # decode_map compared the types


@dataclass(frozen=True, slots=True)
class Answer:
    """What the enclave says to a table or a query before any result: taken, or refused by which rule and why."""

    outcome: str
    rule: str = ""
    message: str = ""

    def encode(self) -> bytes:
        """Canonical CBOR."""
        return canonical_cbor.encode({"outcome": self.outcome, "rule": self.rule, "message": self.message})

    @classmethod
    def decode(cls, data: bytes) -> Answer:
        """Read it back; raises MessageMalformed."""
        fields = canonical_cbor.decode_map(data, "answer", _ANSWER)
        return cls(str(fields["outcome"]), str(fields["rule"]), str(fields["message"]))

    @property
    def taken(self) -> bool:
        """Whether what was asked is being done."""
        return self.outcome == "taken"


def _parameter(value: object) -> Parameter:
    match value:
        case [str(name), str(kind), None | str() as content]:
            return Parameter(name, kind, content)
    raise MessageMalformed("A parameter is not a name, a type and a value.")


def _int(value: object) -> int:
    if type(value) is not int:
        raise MessageMalformed("A limit is not a number.")
    return value
