"""The stack's function that stops executors without a driver, against an ECS with real processes as tasks."""

import importlib.util
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest

from emulation.ecs import Account, EmulatedEcs, Permissions
from emulation.ecs.account import role_arn
from sparkvault.project import project_root
from tests.support.local_cluster import wait_until

EXECUTION, TASKS = role_arn("execution"), role_arn("tasks")
ACTIONS = ("ListTasks", "DescribeTasks", "StopTask")


@pytest.fixture
def ecs() -> Iterator[EmulatedEcs]:
    account = Account(
        clusters={"analytics-fargate": frozenset({"FARGATE"})},
        subnets={"subnet-0a": 50},
        security_groups={"sg-0e"},
        roles={
            EXECUTION: Permissions(),
            TASKS: Permissions(),
            role_arn("people"): Permissions(
                frozenset({"ecs:RunTask", "ecs:RegisterTaskDefinition", "ecs:TagResource"}),
                frozenset({EXECUTION, TASKS}),
            ),
            # As the stack has it (fargate_reaper.py), and no more.
            role_arn("reaper"): Permissions(frozenset(f"ecs:{name}" for name in ACTIONS)),
        },
        users={"REAPERKEY": role_arn("reaper")},
        vcpu_quota=64,
    )
    with EmulatedEcs(account) as made:
        for kind in ("driver", "executor"):
            definition = {
                "family": f"analytics-fargate-default-{kind}",
                "networkMode": "awsvpc",
                "requiresCompatibilities": ["FARGATE"],
                "cpu": "1024",
                "memory": "2048",
                "executionRoleArn": EXECUTION,
                "taskRoleArn": TASKS,
                "containerDefinitions": [
                    {"name": f"spark-{kind}", "image": "x", "command": ["sleep", "600"], "stopTimeout": 5}
                ],
            }
            made.service.call("RegisterTaskDefinition", definition, role_arn("people"))
        yield made


@pytest.fixture
def reap(ecs: EmulatedEcs, monkeypatch: pytest.MonkeyPatch) -> Callable[[], dict[str, Any]]:
    """Calls the function as Lambda would."""
    environment = {
        "CLUSTER": "analytics-fargate",
        "DRIVER_FAMILIES": "analytics-fargate-default-driver",
        "EXECUTOR_FAMILIES": "analytics-fargate-default-executor",
        "AWS_ENDPOINT_URL_ECS": ecs.endpoint,
        "AWS_ACCESS_KEY_ID": "REAPERKEY",
        "AWS_SECRET_ACCESS_KEY": "emulated",
        "AWS_REGION": "eu-central-1",
        "AWS_DEFAULT_REGION": "eu-central-1",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    # The session that `boto3.client` shares keeps the credentials that it found first, a test's before this one too.
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    spec = importlib.util.spec_from_file_location("reaper", project_root() / "assets/fargate-reaper/reaper.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    def call() -> dict[str, Any]:
        answer: dict[str, Any] = module.handler({}, None)
        return answer

    return call


def start(ecs: EmulatedEcs, kind: str, job: str | None, count: int = 1) -> list[str]:
    """Run tasks of a job; their ARNs once they run."""
    tags = [{"key": "sparkvault:job", "value": job}] if job else []
    answer = ecs.service.call(
        "RunTask",
        {
            "cluster": "analytics-fargate",
            "taskDefinition": f"analytics-fargate-default-{kind}",
            "count": count,
            "launchType": "FARGATE",
            "networkConfiguration": {"awsvpcConfiguration": {"subnets": ["subnet-0a"], "securityGroups": ["sg-0e"]}},
            "tags": tags,
        },
        role_arn("people"),
    )
    arns = [task["taskArn"] for task in answer["tasks"]]
    wait_until("tasks to run", lambda: all(ecs.service.tasks[arn].alive for arn in arns))
    return arns


def test_executors_of_a_dead_driver_are_stopped_and_no_others(
    ecs: EmulatedEcs, reap: Callable[[], dict[str, Any]]
) -> None:
    (dead,) = start(ecs, "driver", "one")
    (alive,) = start(ecs, "driver", "two")
    orphans, kept = start(ecs, "executor", "one", 3), start(ecs, "executor", "two", 2)
    assert reap() == {"stopped": 0}
    ecs.service.stop(ecs.service.tasks[dead], "UserInitiated", "killed")
    assert reap() == {"stopped": 3}
    wait_until("the orphans to end", lambda: not any(ecs.service.tasks[arn].alive for arn in orphans))
    assert all(ecs.service.tasks[arn].alive for arn in [alive, *kept])
    assert reap() == {"stopped": 0}


def test_an_executor_without_a_job_belongs_to_nobody(ecs: EmulatedEcs, reap: Callable[[], dict[str, Any]]) -> None:
    start(ecs, "driver", None)
    start(ecs, "executor", None)
    assert reap() == {"stopped": 1}
