"""How a job's fate is judged from its service's tasks, and how lines are shipped."""

from typing import Any

import pytest

from sparkvault_host.launcher.log_stream import EVENT_OVERHEAD_BYTES, MAX_BATCH_BYTES, MAX_EVENTS, Line, batches
from sparkvault_host.launcher.outcome import outcome


def task(state: str, code: int | None = None, *, at: int = 1, node: str = "n1", error: str = "") -> dict[str, Any]:
    status: dict[str, Any] = {"State": state, "Err": error, "Timestamp": "2026-11-21T13:05:00Z"}
    if code is not None:
        status["ContainerStatus"] = {"ExitCode": code}
    return {"CreatedAt": f"2026-11-21T13:04:{at:02}Z", "Status": status, "NodeID": node}


@pytest.mark.parametrize(
    ("tasks", "state", "code"),
    [
        ([], "submitted", None),
        ([task("pending")], "submitted", None),
        ([task("running")], "running", None),
        ([task("complete", 0)], "succeeded", 0),
        ([task("failed", 3)], "failed", 3),
        ([task("failed", 137)], "failed", 137),
        ([task("rejected", error="no such image")], "failed", 1),
        ([task("orphaned")], "lost", None),
        ([task("shutdown")], "lost", None),
    ],
)
def test_a_job_fares_as_its_task_does(tasks: list[dict[str, Any]], state: str, code: int | None) -> None:
    found = outcome(tasks, supervise=False)
    assert (found.state, found.exit_code) == (state, code)


def test_a_driver_that_was_killed_says_why_that_may_be() -> None:
    assert "--driver-memory" in str(outcome([task("failed", 137)], supervise=False).message)


def test_a_job_whose_host_is_gone_is_lost() -> None:
    assert outcome([task("running")], supervise=False, down=frozenset({"n1"})).state == "lost"
    assert outcome([task("running")], supervise=False, down=frozenset({"n2"})).state == "running"


def test_a_supervised_driver_fails_when_it_has_failed_once_more_than_it_is_restarted() -> None:
    failures = [task("failed", 1, at=number) for number in range(4)]
    assert outcome(failures[:3], supervise=True).state == "running"
    assert outcome(failures, supervise=True).state == "failed"
    assert outcome([*failures[:2], task("complete", 0, at=9)], supervise=True).state == "succeeded"


def test_output_is_shipped_within_the_limits_of_one_call() -> None:
    lines = [Line(number, "x" * 150_000) for number in range(20)] + [Line(99, "é")] * 25_000
    shipped = list(batches(lines))
    assert [line for batch in shipped for line in batch] == lines
    for batch in shipped:
        assert len(batch) <= MAX_EVENTS
        assert sum(len(line.text.encode()) + EVENT_OVERHEAD_BYTES for line in batch) <= MAX_BATCH_BYTES
