"""A result on its way: chunks whose place, end, query and table versions are authenticated."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from spark_enclave.protocol import canonical_cbor
from spark_enclave.protocol.limits import CHUNK_BYTES, DOMAIN, GCM_TAG_BYTES, VERSION
from spark_enclave.protocol.refusals import ChunkChanged, ChunkOutOfPlace, MessageMalformed
from spark_enclave.protocol.session_keys import SessionKeys

Outcome = Literal["done", "refused", "failed"]
_TRAILER: Final = {"outcome": str, "rows": int, "rule": str, "message": str}
_OUTCOMES: Final = ("done", "refused", "failed")


@dataclass(frozen=True, slots=True)
class TableVersion:
    """Which state of which table a query saw."""

    table_id: str
    version: int
    manifest_sha384: bytes


@dataclass(frozen=True, slots=True)
class Trailer:
    """How a query ended, sealed in the last chunk: `rule` and `message` say why when it was refused or failed."""

    outcome: Outcome
    rows: int = 0
    rule: str = ""
    message: str = ""

    def encode(self) -> bytes:
        """Canonical CBOR."""
        return canonical_cbor.encode(
            {"outcome": self.outcome, "rows": self.rows, "rule": self.rule, "message": self.message}
        )

    @classmethod
    def decode(cls, data: bytes) -> Trailer:
        """Read it back; raises MessageMalformed."""
        fields = canonical_cbor.decode_map(data, "end of the result", _TRAILER)
        outcome = next((one for one in _OUTCOMES if one == fields["outcome"]), None)
        if outcome is None:
            raise MessageMalformed("The end of the result has an unknown outcome.")
        return cls(outcome, int(str(fields["rows"])), str(fields["rule"]), str(fields["message"]))


def result_context(session_id: bytes, number: int, query: bytes, tables: Mapping[str, TableVersion]) -> bytes:
    """What every chunk of a result is bound to (48 bytes): session, number, the query's plaintext, the tables."""
    seen = [[name, one.table_id, one.version, one.manifest_sha384] for name, one in sorted(tables.items())]
    return hashlib.sha384(
        canonical_cbor.encode([DOMAIN, VERSION, "result", session_id, number, hashlib.sha384(query).digest(), seen])
    ).digest()


class ResultSealer:
    """The enclave's side: seals chunk after chunk, each with the next index as nonce under the result's own key."""

    def __init__(self, keys: SessionKeys, number: int, context: bytes) -> None:
        self._gcm = AESGCM(keys.key("result", number, "to-client"))
        self._context = context
        self._next = 0
        self._ended = False

    def seal(self, plaintext: bytes | memoryview, *, end: bool = False) -> tuple[int, bytes]:
        """Index and sealed bytes of the next chunk, of at most 96 KiB plaintext; nothing follows the end."""
        if self._ended or len(plaintext) > CHUNK_BYTES:
            raise ValueError("a chunk after the end, or a chunk that is too large")
        index, self._next, self._ended = self._next, self._next + 1, end
        return index, self._gcm.encrypt(_nonce(index), plaintext, _place(self._context, index, end))

    @property
    def ended(self) -> bool:
        """Whether the last chunk was sealed."""
        return self._ended


class ResultOpener:
    """The client's side: opens chunks in their one right order, and knows when the result is whole.

    `key`: the result's key, 32 bytes; `context`: 48 bytes. Neither opens anything but this one result.
    """

    def __init__(self, key: bytes, context: bytes) -> None:
        self._gcm = AESGCM(key)
        self._context = context
        self._next = 0
        self.trailer: Trailer | None = None
        """How the query ended; None until the authenticated end was seen."""

    def open(self, index: int, end: bool, sealed: bytes) -> bytes:
        """The plaintext of the next chunk, empty for the last one; raises ChunkOutOfPlace, ChunkChanged."""
        if self.trailer is not None:
            raise ChunkOutOfPlace("A result chunk follows the end of the result.")
        if index != self._next:
            raise ChunkOutOfPlace(f"Result chunk {index} came where chunk {self._next} belongs.")
        if len(sealed) > CHUNK_BYTES + GCM_TAG_BYTES:
            raise ChunkChanged(f"Result chunk {index} is larger than any.")
        try:
            plaintext = self._gcm.decrypt(_nonce(index), sealed, _place(self._context, index, end))
        except (InvalidTag, ValueError):
            raise ChunkChanged(f"Result chunk {index} was changed, or is of another result.") from None
        self._next += 1
        if end:
            self.trailer = Trailer.decode(plaintext)
            return b""
        return plaintext


def split(data: bytes) -> Iterable[memoryview]:
    """Pieces of at most 96 KiB, without copying."""
    view = memoryview(data)
    return (view[start : start + CHUNK_BYTES] for start in range(0, len(view), CHUNK_BYTES))


def _nonce(index: int) -> bytes:
    return index.to_bytes(12, "big")


def _place(context: bytes, index: int, end: bool) -> bytes:
    return context + index.to_bytes(8, "big") + (b"\x01" if end else b"\x00")
