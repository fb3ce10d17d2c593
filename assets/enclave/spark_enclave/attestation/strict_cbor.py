"""CBOR as an attestation document may use it: no tags, no duplicate keys, no trailing bytes, shallow."""

from __future__ import annotations

import io
from typing import Any, Final

import cbor2

from spark_enclave.attestation.refusals import DuplicateKey, PayloadMalformed, TagRefused, TrailingBytes
from spark_enclave.protocol.untagged_cbor import NO_TAGS, TagFound

#: The payload is a map that holds a map or a list of plain values.
_MAX_DEPTH: Final = 2


def decode(data: bytes, where: str, *, max_depth: int = _MAX_DEPTH) -> object:
    """The one value that `data` encodes, definite or indefinite; `where` names it in messages.

    Raises DuplicateKey, TagRefused, TrailingBytes, or PayloadMalformed for anything else that is wrong.
    """
    stream = io.BytesIO(data)
    try:
        value = _decode(stream, max_depth, duplicates=False)
    except cbor2.CBORDecodeError as error:
        if isinstance(error.__cause__, TagFound):
            raise TagRefused(f"{where} contains a CBOR tag.") from None
        if _decodes_with_duplicates(data, max_depth):
            raise DuplicateKey(f"{where} has a map with the same key twice.") from None
        raise PayloadMalformed(f"{where} is not readable CBOR ({error}).") from None
    if stream.tell() != len(data):
        raise TrailingBytes(f"{where} ends after {stream.tell()} of {len(data)} bytes.")
    return value


def _decode(stream: io.BytesIO, max_depth: int, *, duplicates: bool) -> Any:
    # read_size=1: the position in the stream after decoding is then the end of the value, not of a read-ahead.
    return cbor2.CBORDecoder(
        stream,
        semantic_decoders=NO_TAGS,
        max_depth=max_depth,
        allow_duplicate_keys=duplicates,
        read_size=1,
    ).decode()


def _decodes_with_duplicates(data: bytes, max_depth: int) -> bool:
    try:
        _decode(io.BytesIO(data), max_depth, duplicates=True)
    except cbor2.CBORDecodeError:
        return False
    return True
