"""What of a service can be reached in the overlay: daemons, and drivers of jobs, whose tasks Swarm wants complete."""

from typing import Any

import pytest

from sparkvault_host.launcher.errors import LauncherError
from sparkvault_host.launcher.overlay import Overlay


def task(created: str, state: str, desired: str, address: str) -> dict[str, Any]:
    attachment = {"Network": {"Spec": {"Name": "spark-overlay-net"}}, "Addresses": [f"{address}/24"]}
    return {
        "CreatedAt": created,
        "Status": {"State": state},
        "DesiredState": desired,
        "NetworksAttachments": [attachment],
    }


class Engine:
    """An engine that knows one service with these tasks."""

    def __init__(self, *tasks: dict[str, Any]) -> None:
        self.tasks = tasks

    def get(self, path: str, **query: Any) -> Any:
        return [{"Spec": {"Name": "job"}}] if path == "/services" else list(self.tasks)


def test_the_newest_task_that_runs_and_is_wanted_is_reached() -> None:
    engine: Any = Engine(
        task("1", "running", "shutdown", "10.0.0.1"),
        task("2", "running", "complete", "10.0.0.2"),
        task("3", "running", "running", "10.0.0.3"),
        task("4", "preparing", "running", "10.0.0.4"),
        task("5", "running", "remove", "10.0.0.5"),
    )
    assert Overlay(engine).addresses({"label": ["x"]}, "job") == ["10.0.0.3", "10.0.0.2"]


def test_a_driver_that_has_ended_is_not_there() -> None:
    engine: Any = Engine(task("1", "complete", "complete", "10.0.0.1"))
    with pytest.raises(LauncherError, match="no task of job runs"):
        Overlay(engine).address_of("job")
