"""The one encoding of what is signed here: canonical CBOR (RFC 8949, section 4.2), read back strictly."""

from __future__ import annotations

from typing import Final

import cbor2

from spark_enclave.attestation import strict_cbor
from spark_enclave.attestation.refusals import NotADocument

#: Map → list → map → list of plain values is the deepest that anything here is nested.
_MAX_DEPTH: Final = 6


class NotCanonical(Exception):
    """These bytes are not the canonical encoding of one value."""


def encode(value: object) -> bytes:
    """The canonical encoding: shortest forms, sorted keys, no indefinite lengths."""
    encoded: bytes = cbor2.dumps(value, canonical=True)
    return encoded


def decode(data: bytes, *, limit: int) -> object:
    """The value that `data` encodes canonically; `limit`: the most bytes that are looked at. Raises NotCanonical."""
    if len(data) > limit:
        raise NotCanonical(f"{len(data)} bytes, and {limit} are the most")
    try:
        value = strict_cbor.decode(data, "It", max_depth=_MAX_DEPTH)
    except NotADocument as refused:
        raise NotCanonical(refused.what) from None
    if encode(value) != data:
        raise NotCanonical("not in canonical form")
    return value
