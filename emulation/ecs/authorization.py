"""What IAM checks for each call of ECS (service authorization reference, "Amazon Elastic Container Service")."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from emulation.ecs.definitions import cluster_name

if TYPE_CHECKING:
    from emulation.ecs.service import EcsService

#: Condition keys and their values.
Conditions = Mapping[str, str]


@dataclass(frozen=True)
class Check:
    """One question to IAM."""

    action: str
    resource: str
    conditions: Conditions = field(default_factory=dict)


def checks_of(service: "EcsService", action: str, wanted: Mapping[str, Any]) -> Iterator[Check]:
    """All that must be allowed for the call."""
    account = service.account
    cluster = account.arn(f"cluster/{cluster_name(wanted)}")
    of_cluster = {"ecs:cluster": cluster}
    tags = {f"aws:RequestTag/{tag['key']}": tag["value"] for tag in wanted.get("tags", [])}
    match action:
        case "RunTask":
            entered = str(bool(wanted.get("enableExecuteCommand"))).lower()
            definition = service.definition_arn(wanted.get("taskDefinition", ""))
            yield Check("ecs:RunTask", definition, of_cluster | tags | {"ecs:enable-execute-command": entered})
            if tags:
                task = account.arn(f"task/{cluster_name(wanted)}/*")
                yield Check("ecs:TagResource", task, of_cluster | tags | {"ecs:CreateAction": "RunTask"})
        case "DescribeTasks" | "StopTask":
            given = wanted.get("tasks") or [wanted.get("task", "")]
            for name in given:
                yield Check(f"ecs:{action}", *_task(service, str(name), wanted, of_cluster))
        case "ExecuteCommand":
            container = {"ecs:container-name": wanted.get("container", "")}
            yield Check("ecs:ExecuteCommand", cluster, of_cluster)
            resource, conditions = _task(service, wanted.get("task", ""), wanted, of_cluster)
            yield Check("ecs:ExecuteCommand", resource, {**conditions, **container})
        case _:
            yield Check(f"ecs:{action}", "*", of_cluster)


def _task(
    service: "EcsService", name: str, wanted: Mapping[str, Any], of_cluster: dict[str, str]
) -> tuple[str, Conditions]:
    """A task's ARN, and its tags as condition keys; one that is not there has none."""
    task = service.task(name)
    if task is None:
        return service.account.arn(f"task/{cluster_name(wanted)}/{name.rpartition('/')[2]}"), of_cluster
    return task.arn, of_cluster | {f"aws:ResourceTag/{tag['key']}": tag["value"] for tag in task.tags}
