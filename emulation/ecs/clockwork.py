"""One thread that does things later: the lives of a thousand tasks without a thousand threads."""

import heapq
import itertools
import threading
import time
from collections.abc import Callable


class Clockwork:
    """Calls functions at their time, in order, from one thread of its own."""

    def __init__(self) -> None:
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._changed = threading.Condition()
        self._over = False
        threading.Thread(target=self._run, name="ecs-clockwork", daemon=True).start()

    def after(self, seconds: float, what: Callable[[], None]) -> None:
        """Call it in so many seconds."""
        with self._changed:
            heapq.heappush(self._due, (time.monotonic() + seconds, next(self._numbers), what))
            self._changed.notify()

    def stop(self) -> None:
        """Nothing more is called."""
        with self._changed:
            self._over = True
            self._changed.notify()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._over and (not self._due or self._due[0][0] > time.monotonic()):
                    self._changed.wait(self._due[0][0] - time.monotonic() if self._due else None)
                if self._over:
                    return
                what = heapq.heappop(self._due)[2]
            what()
