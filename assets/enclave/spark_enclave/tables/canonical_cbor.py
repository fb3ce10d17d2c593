"""The one encoding of what is signed here: canonical CBOR (RFC 8949, section 4.2), read back strictly."""

from __future__ import annotations

from spark_enclave.protocol import canonical_cbor
from spark_enclave.protocol.canonical_cbor import encode
from spark_enclave.protocol.refusals import MessageMalformed

__all__ = ["NotCanonical", "decode", "encode"]


class NotCanonical(Exception):
    """These bytes are not the canonical encoding of one value."""


def decode(data: bytes, *, limit: int) -> object:
    """The value that `data` encodes canonically; `limit`: the most bytes that are looked at. Raises NotCanonical."""
    if len(data) > limit:
        raise NotCanonical(f"{len(data)} bytes, and {limit} are the most")
    try:
        return canonical_cbor.decode(data, "encoding")
    except MessageMalformed:
        raise NotCanonical("not in canonical form") from None
