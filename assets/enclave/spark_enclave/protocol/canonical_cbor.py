"""One encoding for one value: what is hashed, signed or sealed must not be sayable in two ways."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Final

import cbor2

from spark_enclave.protocol.refusals import MessageMalformed
from spark_enclave.protocol.untagged_cbor import NO_TAGS, TagFound

#: A list of maps of lists is the deepest that the protocol has; the decoder counts the value itself too.
_MAX_DEPTH: Final = 6
_INT64: Final = range(-(2**63), 2**63)


def encode(value: object) -> bytes:
    """Deterministic CBOR with length-first order of keys (RFC 8949, 4.2.1 and 4.2.3)."""
    return cbor2.dumps(value, canonical=True)


def decode(data: bytes, what: str) -> object:
    """The value that `data` is the canonical encoding of; `what` names it in messages.

    Values are None, bool, 64-bit int, bytes, text, lists and maps with text keys. Raises MessageMalformed, also for
    another encoding of a value that would be allowed.
    """
    try:
        value: object = cbor2.CBORDecoder(
            io.BytesIO(data), semantic_decoders=NO_TAGS, max_depth=_MAX_DEPTH, allow_duplicate_keys=False
        ).decode()
        if not _allowed(value) or encode(value) != data:
            raise MessageMalformed(f"The {what} is not in canonical form.")
    except (cbor2.CBORError, TagFound, UnicodeError, ValueError, RecursionError, OverflowError, MemoryError):
        raise MessageMalformed(f"The {what} is not readable.") from None
    return value


def decode_map(data: bytes, what: str, fields: Mapping[str, type | tuple[type, ...]]) -> dict[str, object]:
    """A map with exactly these fields, each of its type; raises MessageMalformed."""
    value = decode(data, what)
    if not isinstance(value, dict) or value.keys() != fields.keys():
        raise MessageMalformed(f"The {what} does not have the fields {', '.join(fields)}.")
    for name, kinds in fields.items():
        # bool is an int to isinstance, but not to the protocol.
        if type(value[name]) not in (kinds if isinstance(kinds, tuple) else (kinds,)):
            raise MessageMalformed(f"The field {name} of the {what} has another type.")
    return value


def _allowed(value: object) -> bool:
    if value is None or isinstance(value, bool | bytes | str):
        return True
    if isinstance(value, int):
        return value in _INT64
    if isinstance(value, list):
        return all(_allowed(item) for item in value)
    if isinstance(value, dict):
        return all(isinstance(key, str) and _allowed(item) for key, item in value.items())
    return False
