"""The Amazon-provided DNS server of an emulated VPC: names and addresses of its instances, and nothing else.

Source: Amazon VPC user guide, "DNS attributes for your VPC"; RFC 1035 for the messages.
"""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import struct
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

_A, _PTR, _INTERNET = 1, 12, 1
_ANSWER_FLAGS, _NO_SUCH_NAME = 0x8580, 3
_TTL_SECONDS = 60
#: A name in an answer: that of the question, which begins after the header of twelve bytes.
_NAME_OF_QUESTION = 0xC00C
_LONGEST_QUESTION = 512
#: How long it may take to notice that it was closed.
_PAUSE_SECONDS = 0.5


class Resolver:
    """Answers on a UDP socket until `close`."""

    def __init__(self, questions: socket.socket, instances: Callable[[], Sequence[Mapping[str, Any]]]) -> None:
        self._socket = questions
        self._socket.settimeout(_PAUSE_SECONDS)
        self._instances = instances
        self._ended = threading.Event()
        threading.Thread(target=self._serve, name="VPC resolver", daemon=True).start()

    def close(self) -> None:
        """End it."""
        self._ended.set()

    def _serve(self) -> None:
        with self._socket:
            while not self._ended.is_set():
                # Silence, something that is no question, or one from a host that has gone.
                with contextlib.suppress(ValueError, struct.error, IndexError, OSError):
                    question, asker = self._socket.recvfrom(_LONGEST_QUESTION)
                    self._socket.sendto(self.answer(question), asker)

    def answer(self, message: bytes) -> bytes:
        """The answer to one question. Raises ValueError, struct.error or IndexError where it is none."""
        identity, flags, count = struct.unpack("!HHH", message[:6])
        if flags & 0x8000 or count != 1:
            raise ValueError("not one question")
        labels, at = [], 12
        while message[at]:
            labels.append(message[at + 1 : at + 1 + message[at]].decode("ascii").lower())
            at += 1 + message[at]
        kind, family = struct.unpack("!HH", message[at + 1 : at + 5])
        asked = message[12 : at + 5]
        known, data = self._found(".".join(labels), kind if family == _INTERNET else 0)
        record = b""
        if data:
            record = struct.pack("!HHHIH", _NAME_OF_QUESTION, kind, _INTERNET, _TTL_SECONDS, len(data)) + data
        code = 0 if known else _NO_SUCH_NAME
        return struct.pack("!6H", identity, _ANSWER_FLAGS | code, 1, int(bool(data)), 0, 0) + asked + record

    def _found(self, name: str, kind: int) -> tuple[bool, bytes]:
        """Whether there is such a name, and what it has of that kind."""
        for instance in self._instances():
            address = ipaddress.IPv4Address(instance["address"])
            if name == instance["name"]:
                return True, address.packed if kind == _A else b""
            if name == address.reverse_pointer:
                return True, _encoded(instance["name"]) if kind == _PTR else b""
        return False, b""


def _encoded(name: str) -> bytes:
    return b"".join(bytes([len(label)]) + label.encode("ascii") for label in name.split(".")) + b"\0"
