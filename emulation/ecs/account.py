"""What the emulated account has: clusters, subnets, roles, and who may do what. Nothing undeclared exists."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from emulation.ecs.task import Task

ACCOUNT_ID = "123456789012"

#: What a driver's role may do: everything the cluster manager calls, nothing else.
DRIVER_ACTIONS = frozenset(
    f"ecs:{name}"
    for name in (
        "RunTask",
        "StopTask",
        "DescribeTasks",
        "ListTasks",
        "RegisterTaskDefinition",
        "DeregisterTaskDefinition",
        "DescribeClusters",
        "TagResource",
    )
)


@dataclass(frozen=True)
class Permissions:
    """What a role or user may do: actions such as ``ecs:RunTask``, and the roles that it may pass to tasks."""

    actions: frozenset[str] = frozenset()
    pass_roles: frozenset[str] = frozenset()


@dataclass
class Account:
    """Everything declared. ``subnets`` holds each subnet's free addresses, ``users`` the ARN of each access key."""

    region: str = "eu-central-1"
    clusters: dict[str, frozenset[str]] = field(default_factory=dict)
    subnets: dict[str, int] = field(default_factory=dict)
    security_groups: set[str] = field(default_factory=set)
    roles: dict[str, Permissions] = field(default_factory=dict)
    users: dict[str, str] = field(default_factory=dict)
    vcpu_quota: float = 6.0

    def arn(self, kind: str) -> str:
        """The ARN of something of ECS: ``task/cluster/id``."""
        return f"arn:aws:ecs:{self.region}:{ACCOUNT_ID}:{kind}"

    def may(self, who: str, action: str, resource: str, conditions: Mapping[str, str] | None = None) -> bool:
        """Whether a principal may do that; passing a role is limited to the roles named for it."""
        permissions = self.roles.get(who, Permissions())
        if action == "iam:PassRole":
            return resource in permissions.pass_roles
        return action in permissions.actions

    def credentials(self, task: "Task") -> dict[str, str]:
        """What the credentials endpoint answers a task that has a role; ``task.access_key`` tells who it is."""
        return {
            "RoleArn": task.role,
            "AccessKeyId": task.access_key,
            "SecretAccessKey": "emulated-not-a-real-secret",
            "Token": "emulated",
            "Expiration": "2099-01-01T00:00:00Z",
        }


def role_arn(name: str) -> str:
    """The ARN of a role of the account."""
    return f"arn:aws:iam::{ACCOUNT_ID}:role/{name}"
