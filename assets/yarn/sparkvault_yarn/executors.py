"""Has the Spark executors of a host that leaves hand over their blocks and go, as Spark's own workers do.

YARN names hosts and Spark knows executors by their containers' addresses, so Spark does not learn from YARN which
executors a draining node has. It is told where it listens: an executor takes SIGPWR for "decommission yourself".
"""

from __future__ import annotations

import time
from collections.abc import Callable

from sparkvault_host.engine_api import EngineApi
from sparkvault_host.errors import HostError

from . import hadoop_settings
from .errors import YarnHostError

#: An executor younger than this may not listen yet, and the signal would end it.
_LEAST_AGE_SECONDS = 60.0
#: What YARN's containers are called.
_PREFIX = "container_"
#: Signals the container's JVM where that is an executor; drivers would end by it. The shell that started the JVM has
#: the same words, after its own.
_SCRIPT = r"""
for process in /proc/[0-9]*; do
    case "$(tr '\0' ' ' 2>/dev/null <"${process}/cmdline")" in
        /opt/java/bin/java\ *YarnCoarseGrainedExecutorBackend*) kill -PWR "${process#/proc/}" ;;
    esac
done
"""


class Executors:
    """Of this host; remembers which were told."""

    def __init__(self, engine: EngineApi, clock: Callable[[], float] = time.time) -> None:
        self._engine, self._clock = engine, clock
        self._told: set[str] = set()

    def decommission(self) -> None:
        """Tell those that were not told yet; called again and again while the host leaves. Never raises.

        The script runs as the container's own user: a tenant can do no more with it than without.
        """
        try:
            running = self._engine.get("/containers/json") or []
        except HostError as error:
            print(f"sparkvault: executors are not told to go: {error}", flush=True)
            return
        for container in running:
            name = container["Names"][0].lstrip("/")
            if name in self._told or not name.startswith(_PREFIX):
                continue
            if self._clock() - float(container["Created"]) < _LEAST_AGE_SECONDS:
                continue
            self._told.add(name)
            try:
                hadoop_settings.run("docker", "exec", name, "/bin/sh", "-c", _SCRIPT)
            except YarnHostError as error:
                # It may have ended meanwhile; and what stays runs on until the host goes.
                print(f"sparkvault: {name} is not told to go: {error}", flush=True)
