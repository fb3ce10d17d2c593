"""Ctrl-C and SIGTERM for programs that run until one of them comes."""

from __future__ import annotations

import signal
from queue import Empty, SimpleQueue


class Ending:
    """Hears both signals from now on, in the main thread.

    No `threading.Event`: a handler that sets one while the main thread is about to wait for it waits for that thread,
    and so for ever. What `SimpleQueue.put` does may be done in a handler (Python library reference, "queue").
    """

    def __init__(self) -> None:
        self._told: SimpleQueue[int] = SimpleQueue()
        self._has_come = False
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda number, frame: self._told.put(number))

    def wait(self, seconds: float | None = None) -> bool:
        """Whether one has come, now or before; without ``seconds`` this waits until it has."""
        if not self._has_come:
            try:
                self._told.get(timeout=seconds)
                self._has_come = True
            except Empty:
                pass
        return self._has_come
