"""A result chunk as bytes for the wire, without the copy of its content that building a protobuf message makes."""

from __future__ import annotations

from typing import Final

from spark_enclave.protocol import enclave_pb2 as wire

#: Field 3 of ResultChunk (`sealed`), of wire type 2 (protobuf, "Encoding", length-delimited records).
_SEALED: Final = bytes([wire.ResultChunk.SEALED_FIELD_NUMBER << 3 | 2])


def chunk_on_wire(index: int, end: bool, sealed: bytes) -> bytes:
    """What `ResultChunk(index, end, sealed).SerializeToString()` gives: the encodings of a message's parts, joined."""
    head = wire.ResultChunk(index=index, end=end).SerializeToString()
    return b"".join((head, _SEALED, _varint(len(sealed)), sealed))


def _varint(value: int) -> bytes:
    groups = []
    while value > 0x7F:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*groups, value])
