"""Messages of a session's data channel, as AWS's session-manager-plugin sends and reads them.

Source: the plugin's own sources (github.com/aws/session-manager-plugin, src/message): big-endian, 116 bytes of header,
then the payload's length and the payload.
"""

from __future__ import annotations

import hashlib
import json
import struct
import time
import uuid
from dataclasses import dataclass
from enum import IntEnum

INPUT = "input_stream_data"
OUTPUT = "output_stream_data"
ACKNOWLEDGE = "acknowledge"
CHANNEL_CLOSED = "channel_closed"

_HEADER = struct.Struct(">I32sIQqQ16s32sI")
_LENGTH = struct.Struct(">I")


class Payload(IntEnum):
    """What a payload is."""

    OUTPUT = 1
    ERROR = 2
    SIZE = 3
    PARAMETER = 4
    HANDSHAKE_REQUEST = 5
    HANDSHAKE_RESPONSE = 6
    HANDSHAKE_COMPLETE = 7
    FLAG = 10
    STDERR = 11
    EXIT_CODE = 12


#: Values of a payload of kind FLAG.
DISCONNECT_TO_PORT, TERMINATE_SESSION, CONNECT_TO_PORT_ERROR = 1, 2, 3


@dataclass(frozen=True)
class Message:
    """One message."""

    kind: str
    sequence: int
    payload_kind: int
    payload: bytes
    id: uuid.UUID

    def encoded(self) -> bytes:
        """The message as it goes over the wire."""
        # Halves of the id are swapped: that is how the plugin reads them.
        swapped = self.id.bytes[8:] + self.id.bytes[:8]
        header = _HEADER.pack(
            _HEADER.size,
            self.kind.encode().ljust(32),
            1,
            int(time.time() * 1000),
            self.sequence,
            0,
            swapped,
            hashlib.sha256(self.payload).digest(),
            self.payload_kind,
        )
        return header + _LENGTH.pack(len(self.payload)) + self.payload


def decoded(data: bytes) -> Message:
    """Raises ValueError for what is no message, or whose payload has another digest."""
    if len(data) < _HEADER.size + _LENGTH.size:
        raise ValueError("shorter than a header")
    length, kind, _version, _at, sequence, _flags, swapped, digest, payload_kind = _HEADER.unpack_from(data)
    (size,) = _LENGTH.unpack_from(data, length)
    payload = data[length + _LENGTH.size : length + _LENGTH.size + size]
    if len(payload) != size or hashlib.sha256(payload).digest() != digest:
        raise ValueError("the payload is not what its header says")
    return Message(
        kind.decode().strip(" \0"), sequence, payload_kind, payload, uuid.UUID(bytes=swapped[8:] + swapped[:8])
    )


def acknowledgment(message: Message) -> bytes:
    """Says that a message has arrived."""
    content = {
        "AcknowledgedMessageType": message.kind,
        "AcknowledgedMessageId": str(message.id),
        "AcknowledgedMessageSequenceNumber": message.sequence,
        "IsSequentialMessage": True,
    }
    return Message(ACKNOWLEDGE, 0, 0, json.dumps(content).encode(), uuid.uuid4()).encoded()


def channel_closed(session: str, output: str) -> bytes:
    """Says that the session has ended, and why."""
    content = {
        "MessageId": str(uuid.uuid4()),
        "CreatedDate": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "DestinationId": "",
        "SessionId": session,
        "MessageType": CHANNEL_CLOSED,
        "SchemaVersion": 1,
        "Output": output,
    }
    return Message(CHANNEL_CLOSED, 0, 0, json.dumps(content).encode(), uuid.uuid4()).encoded()
