"""What became of a job, judged from its service's tasks: a pure function, so that every case can be tested."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sparkvault_host.launcher.job_service import SUPERVISED_ATTEMPTS

#: States of a job of which nothing runs any more.
ENDED = ("succeeded", "failed", "cancelled", "lost")

_WORKING = {"starting", "running"}
_WAITING = {"new", "allocated", "pending", "assigned", "accepted", "preparing", "ready"}
_FAILED = {"failed", "rejected"}


@dataclass(frozen=True)
class Outcome:
    """State of a job (as ``sparkvault.jobs.JobState`` names it), and what is known of its end."""

    state: str
    exit_code: int | None = None
    message: str | None = None
    node: str | None = None
    """Id of the node that its driver is or was on."""
    started_at: str | None = None

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen."""
        return self.state in ENDED


def outcome(tasks: Iterable[Mapping[str, Any]], *, supervise: bool, down: frozenset[str] = frozenset()) -> Outcome:
    """Judge a job by its tasks (Engine API, "Task"); ``down`` holds the nodes that are known to be gone."""
    ordered = sorted(tasks, key=lambda task: str(task["CreatedAt"]))
    if not ordered:
        return Outcome("submitted", message="waits for the swarm to place it")
    task = ordered[-1]
    status = task["Status"]
    state, node = status["State"], task.get("NodeID") or None
    container = status.get("ContainerStatus") or {}
    code = container.get("ExitCode")
    if state in _WAITING:
        return Outcome("submitted", message=status.get("Err") or status.get("Message"), node=node)
    if state in _WORKING:
        if node in down:
            return Outcome("lost", message="the host of its driver is gone", node=node)
        return Outcome("running", node=node, started_at=status.get("Timestamp"))
    if state == "complete":
        return Outcome("succeeded", exit_code=0, node=node)
    if state in _FAILED:
        failures = sum(one["Status"]["State"] in _FAILED for one in ordered)
        if supervise and failures <= SUPERVISED_ATTEMPTS:
            return Outcome("running", message="its driver failed and is started again", node=node)
        return Outcome("failed", exit_code=code or 1, message=_reason(state, code, status.get("Err", "")), node=node)
    return Outcome(
        "lost", message=f"its driver's task is {state}: {status.get('Err') or status.get('Message')}", node=node
    )


def _reason(state: str, code: int | None, error: str) -> str:
    if state == "rejected":
        return f"its container could not be started: {error}"
    if code == 137:
        return "its driver was killed (exit code 137), most likely for want of memory: give more --driver-memory"
    return f"its driver ended with exit code {code}" if code else f"its driver failed: {error}"
