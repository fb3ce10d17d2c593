"""Which container a request comes from, by its address on the bridge that joins this host's swarm tasks to the host."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from sparkvault_host.broker.tokens import Claim
from sparkvault_host.engine_api import EngineApi

#: Every swarm task on an overlay network is on this bridge, too; Docker makes it.
BRIDGE = "docker_gwbridge"

#: Labels that the agent and the launcher give to containers.
SERVICE, JOB, TENANT = "sparkvault.service", "sparkvault.job", "sparkvault.tenant"
#: What the history server's token calls itself; no tenant's name can hold an underscore.
HISTORY_JOB = "history"
HISTORY_TENANT = "_history"

#: Seconds that an address is believed to be the same container's.
KEPT_SECONDS = 5.0


@dataclass(frozen=True)
class Source:
    """A container, by the labels that only root on a manager can have given it."""

    service: str = ""
    job: str = ""
    tenant: str = ""

    def may_use(self, claim: Claim) -> bool:
        """Whether a token with this claim may come from here.

        A driver shows its own job's token. Executors of all jobs live in the host's Spark worker, so from there any
        job's token is taken: jobs of one swarm are one trust domain. The history server shows its own.
        """
        if self.job:
            return (self.job, self.tenant) == (claim.job, claim.tenant)
        if self.service == "spark-worker":
            return claim.job != HISTORY_JOB
        return self.service == "spark-history" and claim.job == HISTORY_JOB


class Sources:
    """Looks addresses up in the engine. Raises EngineError."""

    def __init__(self, engine: EngineApi, clock: Callable[[], float] = time.monotonic) -> None:
        self._engine = engine
        self._clock = clock
        self._lock = threading.Lock()
        self._known: dict[str, tuple[float, Source]] = {}

    def at(self, address: str) -> Source | None:
        """The swarm task with this address, None where there is none."""
        with self._lock:
            kept = self._known.get(address)
            if kept is not None and self._clock() - kept[0] < KEPT_SECONDS:
                return kept[1]
            source = self._look(address)
            if source is None:
                self._known.pop(address, None)
            else:
                self._known[address] = (self._clock(), source)
            return source

    def _look(self, address: str) -> Source | None:
        sandbox = ""
        for endpoint in (self._engine.get(f"/networks/{BRIDGE}").get("Containers") or {}).values():
            # The endpoint is named after the task's network sandbox.
            if str(endpoint.get("IPv4Address", "")).partition("/")[0] == address:
                sandbox = str(endpoint.get("Name", "")).rpartition("_")[2]
        if not sandbox:
            return None
        for container in self._engine.get("/containers/json") or []:
            inspected = self._engine.get(f"/containers/{container['Id']}/json")
            if str(inspected["NetworkSettings"].get("SandboxID", "")).startswith(sandbox):
                labels = inspected["Config"].get("Labels") or {}
                return Source(labels.get(SERVICE, ""), labels.get(JOB, ""), labels.get(TENANT, ""))
        return None
