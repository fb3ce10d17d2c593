"""Connects a person's session to the terminal of their interactive job, on the host that runs it."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from typing import Any

from sparkvault_host.engine_api import EngineApi, EngineError
from sparkvault_host.launcher.errors import LauncherError
from sparkvault_host.launcher.job_service import JOB_LABEL, KIND_LABEL, TENANT_LABEL

START_TIMEOUT_SECONDS = 60.0


def attach(job_id: str, tenant: str, engine: EngineApi) -> int:
    """Attach until the shell ends, or the session does: then the shell is ended, for nobody could come back to it."""
    container = _container(job_id, tenant, engine)
    # A session that ends hangs up; without this the program would end before the shell is.
    signal.signal(signal.SIGHUP, lambda number, frame: sys.exit(1))
    try:
        # No key ends the attachment and leaves the shell: it ends by itself, or with the session.
        return subprocess.run(
            ["docker", "attach", "--detach-keys=ctrl-@,ctrl-@,ctrl-@", container], check=False
        ).returncode
    finally:
        _end(container, engine)


def _container(job_id: str, tenant: str, engine: EngineApi) -> str:
    deadline = time.monotonic() + START_TIMEOUT_SECONDS
    while True:
        found = _running(job_id, tenant, engine)
        if found is not None:
            return found
        if time.monotonic() >= deadline:
            raise LauncherError(
                f"waited {START_TIMEOUT_SECONDS:.0f} s for the shell of job {job_id} on this host, in vain"
            )
        time.sleep(0.5)


def _running(job_id: str, tenant: str, engine: EngineApi) -> str | None:
    labels = [f"{JOB_LABEL}={job_id}", f"{TENANT_LABEL}={tenant}", f"{KIND_LABEL}=shell"]
    filters = {"label": labels, "status": ["running"]}
    found: list[dict[str, Any]] = engine.get("/containers/json", filters=filters) or []
    return str(found[0]["Id"]) if found else None


def _end(container: str, engine: EngineApi) -> None:
    try:
        engine.post(f"/containers/{container}/stop", t=5)
    except EngineError as error:
        if error.status != 404:
            raise
