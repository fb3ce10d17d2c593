"""How fast AWS lets one call and launch. Source: ECS developer guide, "Request throttling" and "Fargate throttling"."""

import threading
import time
from dataclasses import dataclass, field


@dataclass
class Pace:
    """A token bucket: ``burst`` at once, then ``rate`` a second."""

    burst: float
    rate: float
    _tokens: float = field(init=False)
    _at: float = field(init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    def __post_init__(self) -> None:
        self._tokens = self.burst
        self._at = time.monotonic()

    def take(self, count: int = 1) -> bool:
        """Take so many tokens, all or none."""
        with self._lock:
            now = time.monotonic()
            self._tokens = min(self.burst, self._tokens + (now - self._at) * self.rate)
            self._at = now
            if self._tokens < count:
                return False
            self._tokens -= count
            return True


def call_paces() -> dict[str, Pace]:
    """The buckets of the calls that we answer."""
    read = Pace(100, 20)
    modify = Pace(100, 40)
    definitions = Pace(20, 1)
    return {
        "RunTask": Pace(20, 20),
        "StopTask": modify,
        "DescribeTasks": read,
        "ExecuteCommand": Pace(50, 20),
        "ListTasks": read,
        "DescribeClusters": Pace(50, 20),
        "RegisterTaskDefinition": definitions,
        "DeregisterTaskDefinition": definitions,
        "DescribeTaskDefinition": Pace(50, 20),
        "TagResource": modify,
        "ListTagsForResource": read,
    }


def launch_pace() -> Pace:
    """Fargate's task launches: 100 at once, then 20 a second."""
    return Pace(100, 20)
