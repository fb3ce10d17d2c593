"""Asks the agent to rotate join tokens and Spark's RPC secret, and waits until it has."""

from __future__ import annotations

import time

from sparkvault_host.engine_api import EngineApi, EngineError
from sparkvault_host.launcher.errors import LauncherError

#: Labels of the swarm by which the agent is asked and answers.
WANTED = "sparkvault.rotation-wanted"
DONE = "sparkvault.rotation-done"

TIMEOUT_SECONDS = 240.0
_ATTEMPTS = 5


def rotate(engine: EngineApi, timeout_seconds: float = TIMEOUT_SECONDS) -> str:
    """Returns what was done. Raises LauncherError if it is not done in time, EngineError."""
    # The agent makes a new RPC secret of this number as well as new tokens.
    wanted = f"rpc:{int(time.time())}"
    for attempt in range(1, _ATTEMPTS + 1):
        swarm = engine.get("/swarm")
        spec = swarm["Spec"]
        spec["Labels"] = {**(spec.get("Labels") or {}), WANTED: wanted}
        try:
            engine.post("/swarm/update", spec, version=swarm["Version"]["Index"])
            break
        except EngineError as error:
            if "out of sequence" not in error.message or attempt == _ATTEMPTS:
                raise
            time.sleep(0.5)
    deadline = time.monotonic() + timeout_seconds
    while time.monotonic() < deadline:
        if (engine.get("/swarm")["Spec"].get("Labels") or {}).get(DONE) == wanted:
            return "join tokens and the RPC secret are new"
        time.sleep(1)
    raise LauncherError(f"waited {timeout_seconds:.0f} s for the agent to rotate the secrets; its journal says why")
