"""A job that is submitted to a cluster that is booting waits for it, for a while."""

from typing import Any, cast

import pytest

from spark_constructs.job_documents import COMMAND_SECONDS
from sparkvault.targets.remote.documents import NOT_READY
from sparkvault_host.engine_api import EngineApi, EngineError
from sparkvault_host.launcher import cluster
from sparkvault_host.launcher.__main__ import main
from sparkvault_host.launcher.cluster import BOOT_SECONDS, wait_until_up
from sparkvault_host.launcher.errors import NotReadyError
from tests.swarm_jobs.specifications import JOB_ID

MASTER = "spark://spark-master:7077"
SERVICE = {"Spec": {"Labels": {cluster.MASTER_LABEL: MASTER}}}
SECRET = {"ID": "s1", "CreatedAt": "2026-11-21", "Spec": {"Name": "spark-rpc-secret-1"}}


class BootingEngine:
    """What an engine answers from its start on: one step further at each question for services."""

    def __init__(self, *steps: tuple[Exception | list[Any], list[Any]]) -> None:
        self.steps = list(steps)

    def get(self, path: str, **query: Any) -> Any:
        (services, secrets), *later = self.steps
        if path == "/secrets":
            self.steps = later or self.steps
            return secrets
        if isinstance(services, Exception) or not services:
            self.steps = later or self.steps
        if isinstance(services, Exception):
            raise services
        return services


SILENT = EngineError(0, "GET /services: connection refused")
OUTSIDE = EngineError(503, "This node is not a swarm manager")
LEADER_LOST = EngineError(500, "rpc error: code = DeadlineExceeded desc = context deadline exceeded")


def test_a_job_waits_for_engine_swarm_master_and_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "_PAUSE_SECONDS", 0.0)
    engine = BootingEngine(
        (SILENT, []), (OUTSIDE, []), (LEADER_LOST, []), ([], []), ([SERVICE], []), ([SERVICE], [SECRET])
    )
    wait_until_up(cast(EngineApi, engine))
    assert engine.steps == [([SERVICE], [SECRET])]


@pytest.mark.parametrize(
    ("step", "said"),
    [
        ((OUTSIDE, []), "not a swarm manager"),
        ((LEADER_LOST, []), "deadline exceeded"),
        (([], []), "Spark's master is not up yet"),
        (([SERVICE], []), "no RPC secret yet"),
    ],
)
def test_what_is_missing_at_the_end_is_said(step: tuple[Any, list[Any]], said: str) -> None:
    with pytest.raises(NotReadyError, match=rf"{said}.*\(waited 0 s\)"):
        wait_until_up(cast(EngineApi, BootingEngine(step)), seconds=0.0)


def test_an_engines_refusal_is_not_waited_for() -> None:
    with pytest.raises(EngineError, match="says 400"):
        wait_until_up(cast(EngineApi, BootingEngine((EngineError(400, "invalid filter"), []))))


def test_a_host_that_user_data_has_not_written_down_yet_may_be_asked_again(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["submit", JOB_ID, "default"]) == NOT_READY
    assert "user data writes it at boot" in capsys.readouterr().err


def test_the_launcher_gives_up_before_systems_manager_ends_it() -> None:
    assert BOOT_SECONDS < COMMAND_SECONDS / 2
