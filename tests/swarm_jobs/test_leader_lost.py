"""A manager's engine gives a request to a leader that is lost before it answers: nobody knows whether it was done."""

import json
from typing import Any, cast

import pytest

from sparkvault_host.broker import client
from sparkvault_host.engine_api import EngineApi, EngineError
from sparkvault_host.identity import HostIdentity
from sparkvault_host.launcher import start
from sparkvault_host.launcher.job_service import service_name
from sparkvault_host.launcher.rules import load_rules
from sparkvault_host.launcher.specification import read_specification
from tests.swarm_jobs.specifications import AROUND, GOOD, JOB_ID, TENANTS

SPEC = read_specification(json.dumps(GOOD).encode(), JOB_ID, TENANTS, load_rules())
IDENTITY = cast(HostIdentity, type("Identity", (), {"region": "eu-central-1", "job_bucket": "jobs"})())
UNANSWERED = EngineError(500, "rpc error: code = DeadlineExceeded desc = context deadline exceeded")
REFUSED = EngineError(400, "invalid mount config")


class Swarm:
    """Configs, secrets and services by their names, and what befalls the answers to requests for services."""

    def __init__(self, *troubles: EngineError) -> None:
        self.made: dict[str, dict[str, Any]] = {"configs": {}, "secrets": {}, "services": {}}
        self.troubles = list(troubles)

    def post(self, path: str, body: dict[str, Any], *, headers: Any = None) -> dict[str, str]:
        del headers
        kind, name = path.split("/")[1], body["Name"]
        trouble = self.troubles.pop(0) if kind == "services" and self.troubles else None
        if trouble is not None and not trouble.in_doubt:
            raise trouble
        if name in self.made[kind]:
            raise EngineError(409, f"name conflicts with an existing object: {name}")
        self.made[kind][name] = body
        if trouble is not None:
            raise trouble
        return {"ID": name}

    def get(self, path: str, *, filters: dict[str, list[str]]) -> list[dict[str, Any]]:
        found = self.made[path.strip("/")].items()
        [(by, [wanted])] = filters.items()
        key, _, value = wanted.partition("=")
        return [
            {"ID": name, "Spec": body}
            for name, body in found
            if (name == wanted if by == "name" else (body.get("Labels") or {}).get(key) == value)
        ]

    def delete(self, path: str) -> None:
        kind, name = path.strip("/").split("/")
        del self.made[kind][name]

    def of_the_job(self) -> set[str]:
        return {name for names in self.made.values() for name in names if JOB_ID in name}


@pytest.fixture(autouse=True)
def broker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "issue", lambda job, tenant: f"token of {job} for {tenant}")


def create(swarm: Swarm) -> None:
    start.create(SPEC, AROUND, ["submit"], IDENTITY, cast(EngineApi, swarm), {})


@pytest.mark.parametrize(
    ("error", "not_ready", "in_doubt"),
    [
        (UNANSWERED, True, True),
        (EngineError(500, "rpc error: code = Canceled desc = grpc: the client connection is closing"), True, True),
        (
            EngineError(500, "rpc error: code = Unknown desc = raft: failed to process the request: node lost"),
            True,
            True,
        ),
        (EngineError(0, "POST /services/create: timed out"), True, True),
        (EngineError(503, "The swarm does not have a leader."), True, False),
        (EngineError(500, "rpc error: code = Unknown desc = update out of sequence"), False, False),
        (EngineError(404, "context deadline exceeded"), False, False),
        (REFUSED, False, False),
    ],
    ids=str,
)
def test_a_lost_leader_is_told_from_a_refusal(error: EngineError, not_ready: bool, in_doubt: bool) -> None:
    assert (error.not_ready, error.in_doubt) == (not_ready, in_doubt)


def test_a_job_in_doubt_keeps_what_it_needs_and_starts_once() -> None:
    swarm = Swarm(UNANSWERED)
    with pytest.raises(EngineError, match="DeadlineExceeded"):
        create(swarm)
    kept = swarm.of_the_job()
    assert kept == {service_name(JOB_ID), start.launch_name(JOB_ID), start.token_name(JOB_ID)}
    create(swarm)
    assert swarm.of_the_job() == kept


def test_a_job_that_is_refused_leaves_nothing() -> None:
    swarm = Swarm(REFUSED)
    with pytest.raises(EngineError, match="invalid mount config"):
        create(swarm)
    assert swarm.of_the_job() == set()
