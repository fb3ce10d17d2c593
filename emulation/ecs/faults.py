"""What goes wrong, on a seed, so that a run that failed can be run again."""

import random
import threading
import time
from collections import deque
from dataclasses import dataclass, field

#: Texts as AWS writes them (ECS developer guide, "Stopped tasks error messages"; API reference, Failure).
NO_CAPACITY = "Capacity is unavailable at this time. Please try again later or in a different availability zone"
NO_PULL = (
    "CannotPullContainerError: pull image manifest has been retried 5 time(s): failed to resolve ref "
    "registry/spark:latest: not found"
)
OUT_OF_MEMORY = "OutOfMemoryError: Container killed due to memory usage"
SPOT_NOTICE = "Your Spot Task was interrupted."


@dataclass
class Faults:
    """Faults that are on. Fractions are of 1; times are seconds from when they are set."""

    seed: int = 0
    throttle: float = 0.0
    partial: float = 0.0
    missing_seconds: float = 0.0
    #: Answers that never arrive though the call was done.
    lost_answers: float = 0.0
    #: Each of the next tasks fails to start with such a reason; an empty one starts.
    start_failures: deque[str] = field(default_factory=deque)
    #: So many of the next tasks run something that never registers.
    mute_tasks: int = 0

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)  # noqa: S311 - a seed that repeats is the point
        self._lock = threading.RLock()
        self._no_capacity_until = 0.0
        self._describe_down_until = 0.0

    def chance(self, fraction: float) -> bool:
        """True in that fraction of cases."""
        with self._lock:
            return self._random.random() < fraction

    def no_capacity_for(self, seconds: float) -> None:
        """No task can be placed for so long."""
        self._no_capacity_until = time.monotonic() + seconds

    def describe_down_for(self, seconds: float) -> None:
        """DescribeTasks answers 500 for so long."""
        self._describe_down_until = time.monotonic() + seconds

    @property
    def without_capacity(self) -> bool:
        """Whether nothing can be placed now."""
        return time.monotonic() < self._no_capacity_until

    @property
    def describe_is_down(self) -> bool:
        """Whether DescribeTasks fails now."""
        return time.monotonic() < self._describe_down_until

    def next_start_failure(self) -> str:
        """Why the next task does not start; empty where it does."""
        with self._lock:
            return self.start_failures.popleft() if self.start_failures else ""

    def next_is_mute(self) -> bool:
        """Whether the next task runs something that never registers."""
        with self._lock:
            if self.mute_tasks <= 0:
                return False
            self.mute_tasks -= 1
            return True
