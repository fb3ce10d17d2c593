"""``python3 -m sparkvault_host.agent``: look, decide, do one thing, and again, for as long as the host lives."""

from __future__ import annotations

import sys
import threading
import time

from sparkvault_host.agent.act import Actor
from sparkvault_host.agent.decide import decide, readiness
from sparkvault_host.agent.model import Action, PullImage
from sparkvault_host.agent.observe import Observer
from sparkvault_host.agent.records import Records
from sparkvault_host.agent.systemd import notify
from sparkvault_host.engine_api import EngineApi
from sparkvault_host.errors import HostError
from sparkvault_host.identity import HostIdentity, Metadata, host_identity, use_region

#: Seconds between two looks: after something was done, while something is awaited, and once all is well.
AFTER_ACTION, RESTLESS, SETTLED = 0.02, 1.0, 3.0
#: Seconds that an action which failed rests: at first, and at most.
FIRST_REST, LONGEST_REST = 1.0, 15.0


class Rests:
    """Actions that failed, and until when each of them is left alone; others may go on meanwhile."""

    def __init__(self) -> None:
        self._until: dict[str, tuple[float, float]] = {}

    def is_resting(self, action: Action, now: float) -> bool:
        """Whether it failed a moment ago."""
        return now < self._until.get(repr(action), (0.0, 0.0))[0]

    def failed(self, action: Action, now: float) -> None:
        """Let it rest, longer each time."""
        pause = min(LONGEST_REST, max(FIRST_REST, self._until.get(repr(action), (0.0, 0.0))[1] * 2))
        self._until[repr(action)] = (now + pause, pause)

    def done(self, action: Action) -> None:
        """It may be needed again, and then at once."""
        self._until.pop(repr(action), None)


class Pulls:
    """Images that are being fetched, one at a time and beside the loop: a host that pulls must still lead or leave."""

    def __init__(self, actor: Actor, rests: Rests) -> None:
        self._actor = actor
        self._rests = rests
        self._thread: threading.Thread | None = None

    def is_busy(self) -> bool:
        """Whether one is on its way."""
        return self._thread is not None and self._thread.is_alive()

    def start(self, action: PullImage) -> None:
        """Begin to fetch; a failure lets the action rest."""
        self._thread = threading.Thread(target=self._pull, args=(action,), name="pull", daemon=True)
        self._thread.start()

    def _pull(self, action: PullImage) -> None:
        try:
            self._actor.do(action)
        except HostError as error:
            print(f"agent: {error}", flush=True)
            self._rests.failed(action, time.time())


class Agent:
    """The loop; ``step`` is one turn of it."""

    def __init__(self, observer: Observer, actor: Actor) -> None:
        self._observer = observer
        self._actor = actor
        self._rests = Rests()
        self._pulls = Pulls(actor, self._rests)
        self._said = ""
        self._was_ready = False

    def step(self) -> float:
        """Look, decide, do one thing; returns the seconds until the next turn."""
        # Asked first: one that ends during the look is not in what was seen.
        pulling = self._pulls.is_busy()
        snapshot = self._observer.observe()
        self._tell(*readiness(snapshot))
        actions = decide(snapshot)
        self._observer.settled = self._was_ready and not actions and not snapshot.ending
        for action in actions:
            if isinstance(action, PullImage) and (pulling or self._pulls.is_busy()):
                continue
            if self._rests.is_resting(action, snapshot.now):
                continue
            return self._do(action, snapshot.now)
        return SETTLED if self._observer.settled else RESTLESS

    def _do(self, action: Action, now: float) -> float:
        print(f"agent: {action}", flush=True)
        if isinstance(action, PullImage):
            self._pulls.start(action)
            return RESTLESS
        try:
            self._actor.do(action)
        except HostError as error:
            print(f"agent: {error}", flush=True)
            self._rests.failed(action, now)
            self._observer.forget(action)
            return RESTLESS
        self._rests.done(action)
        self._observer.learn(action)
        return AFTER_ACTION

    def _tell(self, is_ready: bool, words: str) -> None:
        notify("WATCHDOG=1", "STATUS=" + words)
        if words != self._said:
            # Also the reason that boot gives if the host never gets ready: it takes the last line.
            print(f"agent: {words}", flush=True)
            self._said = words
        if is_ready and not self._was_ready:
            self._was_ready = True
            notify("READY=1")


def _who_am_i(metadata: Metadata) -> HostIdentity:
    """Asked until it is known: the metadata service may need a moment after boot."""
    while True:
        try:
            return host_identity(metadata=metadata)
        except HostError as error:
            print(f"agent: {error}", flush=True)
            time.sleep(RESTLESS)


def main() -> int:
    """Run until the host ends."""
    metadata = Metadata()
    identity = _who_am_i(metadata)
    use_region(identity)
    engine, records = EngineApi(), Records()
    observer = Observer(identity, engine, records, metadata)
    agent = Agent(observer, Actor(identity, engine, records, lambda: observer.parameter_key))
    while True:
        try:
            pause = agent.step()
        except HostError as error:
            print(f"agent: {error}", flush=True)
            pause = RESTLESS
        time.sleep(pause)


if __name__ == "__main__":
    sys.exit(main())
