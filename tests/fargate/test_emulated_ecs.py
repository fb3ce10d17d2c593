"""The stand-in for ECS refuses what AWS refuses: entering tasks, showing tags, patterns that it does not know."""

from collections.abc import Iterator
from typing import Any

import pytest

from emulation.ecs import Account, EmulatedEcs, Permissions, Task
from emulation.ecs.account import role_arn
from emulation.ecs.deployed import calls_of
from emulation.ecs.deployed_rules import matches
from emulation.ecs.errors import EcsError
from emulation.ecs.exec_sessions import AGENT_ACTIONS, TaskAgents
from tests.support.local_cluster import wait_until

EXECUTION, ENTERED, PLAIN, PEOPLE = (role_arn(name) for name in ("execution", "entered", "plain", "people"))


@pytest.fixture
def ecs() -> Iterator[EmulatedEcs]:
    actions = ("RunTask", "RegisterTaskDefinition", "TagResource", "DescribeTasks", "ExecuteCommand")
    account = Account(
        clusters={"c": frozenset({"FARGATE"})},
        subnets={"subnet-0a": 50},
        security_groups={"sg-0e"},
        roles={
            EXECUTION: Permissions(),
            PLAIN: Permissions(),
            ENTERED: Permissions(frozenset(AGENT_ACTIONS)),
            PEOPLE: Permissions(frozenset(f"ecs:{name}" for name in actions), frozenset({EXECUTION, ENTERED, PLAIN})),
        },
    )
    with EmulatedEcs(account) as made:
        yield made


def running(ecs: EmulatedEcs, *, role: str = ENTERED, read_only: bool = False, enabled: bool = True) -> Task:
    """A task that sleeps, once it runs."""
    definition = {
        "family": "f",
        "networkMode": "awsvpc",
        "requiresCompatibilities": ["FARGATE"],
        "cpu": "256",
        "memory": "512",
        "executionRoleArn": EXECUTION,
        "taskRoleArn": role,
        "containerDefinitions": [
            {"name": "main", "image": "x", "command": ["sleep", "600"], "readonlyRootFilesystem": read_only}
        ],
    }
    ecs.service.call("RegisterTaskDefinition", definition, PEOPLE)
    network = {"subnets": ["subnet-0a"], "securityGroups": ["sg-0e"]}
    wanted = {
        "cluster": "c",
        "taskDefinition": "f",
        "launchType": "FARGATE",
        "networkConfiguration": {"awsvpcConfiguration": network},
        "enableExecuteCommand": enabled,
        "tags": [{"key": "a", "value": "b"}],
    }
    (made,) = ecs.service.call("RunTask", wanted, PEOPLE)["tasks"]
    task = ecs.service.tasks[made["taskArn"]]
    wait_until("the task to run", lambda: task.status == "RUNNING")
    return task


def entered(ecs: EmulatedEcs, task: Task) -> dict[str, Any]:
    wanted = {"cluster": "c", "task": task.id, "container": "main", "command": "sh", "interactive": True}
    return ecs.service.call("ExecuteCommand", wanted, PEOPLE)


def test_a_task_is_entered_where_everything_allows_it(ecs: EmulatedEcs) -> None:
    assert entered(ecs, running(ecs))["session"]["streamUrl"].startswith("ws://127.0.0.1:")


@pytest.mark.parametrize(
    "wrong", [{"enabled": False}, {"read_only": True}, {"role": PLAIN}], ids=["not enabled", "read-only", "role"]
)
def test_a_task_is_not_entered_otherwise(ecs: EmulatedEcs, wrong: dict[str, Any]) -> None:
    with pytest.raises(EcsError, match="execute command was not enabled when the task was run"):
        entered(ecs, running(ecs, **wrong))


def test_a_session_finds_the_very_container_that_can_be_entered(ecs: EmulatedEcs) -> None:
    agents, task = TaskAgents(ecs.service), running(ecs)
    assert agents.find(f"ecs:c_{task.id}_{task.runtime_id}") is not None
    for wrong in (f"ecs:c_{task.id}_x", f"ecs:d_{task.id}_{task.runtime_id}", f"ecs:c_x_{task.runtime_id}", "i-0a"):
        assert agents.find(wrong) is None
    closed = running(ecs, enabled=False)
    assert agents.find(f"ecs:c_{closed.id}_{closed.runtime_id}") is None


def test_tags_are_shown_to_those_who_ask_for_them(ecs: EmulatedEcs) -> None:
    asked = {"cluster": "c", "tasks": [running(ecs).arn]}
    (plain,) = ecs.service.call("DescribeTasks", asked, PEOPLE)["tasks"]
    (tagged,) = ecs.service.call("DescribeTasks", asked | {"include": ["TAGS"]}, PEOPLE)["tasks"]
    assert (plain["tags"], tagged["tags"]) == ([], [{"key": "a", "value": "b"}])


def test_patterns_are_of_exact_values() -> None:
    event = {"source": "aws.ecs", "detail": {"lastStatus": "STOPPED", "group": "family:driver"}}
    assert matches({"source": ["aws.ecs"], "detail": {"group": ["family:shell", "family:driver"]}}, event)
    assert not matches({"detail": {"lastStatus": ["RUNNING"]}}, event)
    assert not matches({"detail-type": ["x"]}, event)
    with pytest.raises(NotImplementedError):
        matches({"source": [{"prefix": "aws"}]}, event)


def test_output_is_carried_in_pieces_that_cloudwatch_takes() -> None:
    long = b"x" * 600_000
    calls = list(calls_of(b"first\n\n" + long + b"\n" + long + b"\n" + b"y\n" * 1500))
    assert calls[0][:2] == ["first", " "]
    assert "".join(message for call in calls for message in call).count("x") == 1_200_000
    for call in calls:
        assert len(call) <= 1000
        assert sum(len(message) + 26 for message in call) <= 1_048_576
