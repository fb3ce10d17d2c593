"""What the owner of a table allows others: signed by the owner, enforced in the enclave before any key is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from spark_enclave.tables import canonical_cbor, signed_payload
from spark_enclave.tables.manifest import TABLE_ID, VerifiedManifest
from spark_enclave.tables.refusals import (
    GrantExpired,
    GrantForOtherClient,
    GrantForOtherTable,
    GrantMalformed,
    GrantMissing,
    GrantNotYetValid,
    GrantSignatureInvalid,
    OwnerMismatch,
    ParametersNotGranted,
    QueryNotGranted,
)
from spark_enclave.tables.signed_payload import SignedPayload

_DOMAIN: Final = "sparkvault.grant/1"
MAX_BYTES: Final = 1024 * 1024
#: Types of parameters, as in the messages to the session worker.
PARAMETER_TYPES: Final = frozenset({"int", "double", "string", "boolean", "date", "timestamp", "decimal"})

#: Values of a query's parameters: name → {"type": …, "value": text or None}, as the client gives them.
Parameters = Mapping[str, Mapping[str, str | None]]


@dataclass(frozen=True, slots=True)
class GrantedQuery:
    """A query that may be asked, word for word; `parameters` are the types of its `:name`s."""

    sql: str
    parameters: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        if not self.sql.strip():
            raise _malformed("a query is empty")
        for name, kind in self.parameters:
            if not name.isidentifier() or kind not in PARAMETER_TYPES:
                raise _malformed(
                    f"the parameter {name!r} of the type {kind!r}; types are {', '.join(sorted(PARAMETER_TYPES))}"
                )
        names = [name for name, _ in self.parameters]
        if names != sorted(set(names)):
            raise _malformed("parameters are sorted by name, each once")


@dataclass(frozen=True, slots=True)
class Grant:
    """What an owner allows on one table.

    `clients`: public signing keys of who may ask. `queries`: what may be asked; empty: any query, over the granted
    columns and nothing else. `columns`: what may come out. `smallest_group`: every row that comes out stands for at
    least so many rows; 1: no rule. Valid from `issued` until `expires` (seconds since 1970),
    for versions from `first_version`.
    """

    table_id: str
    owner: bytes
    clients: tuple[bytes, ...]
    columns: tuple[str, ...]
    issued: int
    expires: int
    queries: tuple[GrantedQuery, ...] = ()
    smallest_group: int = 1
    first_version: int = 1

    def __post_init__(self) -> None:
        if not TABLE_ID.fullmatch(self.table_id):
            raise _malformed("the table's id")
        if len(self.owner) != 32 or any(len(client) != 32 for client in self.clients):
            raise _malformed("a public key has 32 bytes")
        if not self.clients or list(self.clients) != sorted(set(self.clients)):
            raise _malformed("clients are sorted, each once, and at least one")
        if not self.columns or list(self.columns) != sorted(set(self.columns)):
            raise _malformed("columns are sorted, each once, and at least one")
        if not 0 < self.issued < self.expires:
            raise _malformed("it expires before it is issued")
        if self.smallest_group < 1 or self.first_version < 1:
            raise _malformed("the smallest group and the first version are at least 1")

    def sign(self, signing_key: Ed25519PrivateKey) -> SignedGrant:
        """Signed by the owner. Raises OwnerMismatch where `signing_key` is not the owner's."""
        if signing_key.public_key().public_bytes_raw() != self.owner:
            raise OwnerMismatch("The grant names another owner than the one who signs it.")
        value = {
            "domain": _DOMAIN,
            "table": self.table_id,
            "owner": self.owner,
            "clients": list(self.clients),
            "columns": list(self.columns),
            "queries": [{"sql": query.sql, "parameters": dict(query.parameters)} for query in self.queries],
            "smallest_group": self.smallest_group,
            "first_version": self.first_version,
            "issued": self.issued,
            "expires": self.expires,
        }
        return SignedGrant(signed_payload.sign(value, signing_key, _DOMAIN))


@dataclass(frozen=True, slots=True)
class SignedGrant:
    """A grant and its signature, as bytes: nothing about it is known until `verify_grant` says so."""

    data: bytes


def verify_grant(data: bytes, owner_key: bytes) -> Grant:
    """A grant that `owner_key` (32 bytes) signed.

    Raises GrantMalformed, GrantForOtherTable or GrantSignatureInvalid.
    """
    signed = _read(data)
    grant = _parse(signed.payload)
    if grant.owner != owner_key:
        raise GrantForOtherTable(f"The grant on {grant.table_id} is by another owner.")
    if not signed.is_signed_by(owner_key, _DOMAIN):
        raise GrantSignatureInvalid("The signature of the grant is wrong.")
    return grant


def enforce(
    grant: Grant | None,
    client_key: bytes,
    sql: str,
    now: datetime,
    *,
    manifest: VerifiedManifest,
    parameters: Parameters | None = None,
) -> dict[str, object] | None:
    """Whether `client_key` (32 bytes) may ask `sql` of the table of `manifest` at `now`; comes before any key.

    Returns the table's part of the `grant` in a message to the session worker, which enforces columns and groups on
    the analysed plan: `{"columns", "smallest_group", "approved"}`. None: the client's own table, without a grant.
    Raises a GrantRefused: GrantMissing, GrantForOtherTable, GrantExpired, GrantNotYetValid, GrantForOtherClient,
    QueryNotGranted or ParametersNotGranted.
    """
    if grant is None:
        if manifest.manifest.owner == client_key:
            return None
        raise GrantMissing(f"The table {manifest.table_id} is another owner's, and no grant was shown.")
    wrong_table = grant.table_id != manifest.table_id or grant.owner != manifest.manifest.owner
    if wrong_table or manifest.version < grant.first_version:
        raise GrantForOtherTable(
            f"The grant is on {grant.table_id} from version {grant.first_version}, "
            f"not on {manifest.table_id}, version {manifest.version}, of its owner."
        )
    _check_client_and_time(grant, client_key, now)
    approved = _check_query(grant, sql, parameters or {})
    return {"columns": list(grant.columns), "smallest_group": grant.smallest_group, "approved": approved}


def _check_client_and_time(grant: Grant, client_key: bytes, now: datetime) -> None:
    seconds = now.astimezone(UTC).timestamp()
    if seconds < grant.issued:
        raise GrantNotYetValid(f"The grant on {grant.table_id} begins later.")
    if seconds >= grant.expires:
        raise GrantExpired(f"The grant on {grant.table_id} has expired.")
    if client_key not in grant.clients:
        raise GrantForOtherClient(f"The grant on {grant.table_id} is not for this client.")


def _check_query(grant: Grant, sql: str, parameters: Parameters) -> bool:
    """Whether the owner approved this very query; False where any query over the granted columns is allowed."""
    if not grant.queries:
        return False
    for query in grant.queries:
        if query.sql.strip() == sql.strip():
            given = {name: value.get("type") for name, value in parameters.items()}
            if given != dict(query.parameters):
                raise ParametersNotGranted(
                    "The query's parameters are "
                    + (", ".join(f"{n}: {k}" for n, k in query.parameters) or "none")
                    + "."
                )
            return True
    raise QueryNotGranted(f"The grant on {grant.table_id} lists its queries, and this is none of them.")


def _read(data: bytes) -> SignedPayload:
    try:
        return SignedPayload.read(data, limit=MAX_BYTES)
    except canonical_cbor.NotCanonical as error:
        raise _malformed(str(error)) from None


def _parse(payload: bytes) -> Grant:
    match _decoded(payload):
        case {
            "domain": str() as domain,
            "table": str() as table_id,
            "owner": bytes() as owner,
            "clients": list() as clients,
            "columns": list() as columns,
            "queries": list() as queries,
            "smallest_group": int() as smallest_group,
            "first_version": int() as first_version,
            "issued": int() as issued,
            "expires": int() as expires,
            **rest,
        } if not rest and domain == _DOMAIN:
            if not all(isinstance(one, bytes) for one in clients) or not all(isinstance(one, str) for one in columns):
                raise _malformed("clients or columns")
            return Grant(
                table_id,
                owner,
                tuple(clients),
                tuple(columns),
                issued,
                expires,
                tuple(_query(query) for query in queries),
                smallest_group,
                first_version,
            )
    raise _malformed("not a grant")


def _query(value: object) -> GrantedQuery:
    match value:
        case {"sql": str() as sql, "parameters": dict() as parameters, **rest} if not rest:
            if all(isinstance(part, str) for pair in parameters.items() for part in pair):
                return GrantedQuery(sql, tuple(sorted(parameters.items())))
    raise _malformed("a query")


def _decoded(data: bytes) -> object:
    try:
        return canonical_cbor.decode(data, limit=MAX_BYTES)
    except canonical_cbor.NotCanonical as error:
        raise _malformed(str(error)) from None


def _malformed(why: str) -> GrantMalformed:
    return GrantMalformed(f"This is no grant: {why}.")
