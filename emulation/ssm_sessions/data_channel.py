"""The agent's end of a session's data channel: in order, acknowledged, sent again until the plugin has taken it."""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections import OrderedDict
from collections.abc import Iterator

from websockets.exceptions import ConnectionClosed
from websockets.sync.server import ServerConnection

from emulation.ssm_sessions.message import (
    ACKNOWLEDGE,
    INPUT,
    OUTPUT,
    Message,
    Payload,
    acknowledgment,
    channel_closed,
    decoded,
)

#: Messages that may be on their way without acknowledgment.
WINDOW = 256
RESEND_SECONDS = 0.5
#: Longest payload that is sent in one message, in bytes.
PIECE = 8192


class DataChannel:
    """One connection. ``receive`` yields what the client sends; ``send`` may be called by any thread."""

    def __init__(self, connection: ServerConnection) -> None:
        self._connection = connection
        self._expected = 0
        self._next = 0
        self._waiting: OrderedDict[int, tuple[bytes, float]] = OrderedDict()
        self._changed = threading.Condition()
        self._early: dict[int, Message] = {}
        self.closed = threading.Event()
        threading.Thread(target=self._resend, daemon=True).start()

    def send(self, kind: Payload, payload: bytes) -> None:
        """Send, after waiting for room; dropped where the channel is closed."""
        with self._changed:
            self._changed.wait_for(lambda: len(self._waiting) < WINDOW or self.closed.is_set())
            message = Message(OUTPUT, self._next, kind, payload, uuid.uuid4()).encoded()
            self._waiting[self._next] = (message, time.monotonic())
            self._next += 1
            self._transmit(message)

    def close(self, session: str, output: str = "", timeout: float = 5.0) -> None:
        """Tell the client that it is over, once it has everything."""
        with self._changed:
            self._changed.wait_for(lambda: not self._waiting or self.closed.is_set(), timeout)
        self._transmit(channel_closed(session, output))

    def receive(self) -> Iterator[Message]:
        """The client's messages in order, each once, until it goes."""
        try:
            for data in self._connection:
                if isinstance(data, str):
                    continue
                yield from self._received(decoded(data))
        except (ConnectionClosed, ValueError):
            return
        finally:
            self.closed.set()
            with self._changed:
                self._changed.notify_all()

    def _received(self, message: Message) -> Iterator[Message]:
        if message.kind == ACKNOWLEDGE:
            number = json.loads(message.payload)["AcknowledgedMessageSequenceNumber"]
            with self._changed:
                self._waiting.pop(number, None)
                self._changed.notify_all()
            return
        if message.kind != INPUT:
            return
        self._transmit(acknowledgment(message))
        if message.sequence >= self._expected:
            self._early[message.sequence] = message
        while self._expected in self._early:
            yield self._early.pop(self._expected)
            self._expected += 1

    def _transmit(self, data: bytes) -> None:
        try:
            self._connection.send(data)
        except ConnectionClosed:
            self.closed.set()

    def _resend(self) -> None:
        """The plugin ignores what comes before it is ready, and says nothing of it."""
        while not self.closed.wait(RESEND_SECONDS / 2):
            now = time.monotonic()
            with self._changed:
                late = [number for number, (_, at) in self._waiting.items() if now - at > RESEND_SECONDS]
                for number in late:
                    data = self._waiting[number][0]
                    self._waiting[number] = (data, now)
                    self._transmit(data)
