"""The roles of Fargate tasks: one that ECS itself uses, and three for each tenant."""

from dataclasses import dataclass

from aws_cdk import Stack
from aws_cdk import aws_ecr as ecr
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_logs as logs
from constructs import Construct

from spark_constructs.fargate_key import APPLICATION_CONTEXT, TENANT_CONTEXT
from spark_constructs.image_permissions import pull_images
from spark_constructs.job_interface import TENANT_TAG
from spark_constructs.naming import role_name, task_family
from spark_constructs.permissions import NO_RESOURCE, Permission, acknowledge_wildcards

#: What a task does; the names of roles, task definitions and containers are made of it.
TASK_KINDS = ("driver", "executor", "shell")


def task_role_name(cluster: str, tenant: str, kind: str, region: str) -> str:
    """Name of a task role. Shortened kinds leave room for the longest tenant (IAM: 64 characters)."""
    return (
        role_name(cluster, f"{tenant}-{kind[:2]}", region)
        if len(tenant) > 10
        else role_name(cluster, f"{tenant}-{kind}", region)
    )


@dataclass(frozen=True)
class ExecutionRoleProps:
    """What ExecutionRole needs to know."""

    cluster: str
    """Name of the cluster."""
    log_group: logs.ILogGroup
    """Where tasks log."""
    image_repositories: tuple[ecr.IRepository, ...] = ()
    """Repositories that images are pulled from; default: none."""
    permissions_boundary: iam.IManagedPolicy | None = None
    """A managed policy that bounds the role; default: none."""


class ExecutionRole(Construct):
    """What ECS does for a task before it runs: pull its image, open its log stream. The task itself never has it.

    Attributes:
        role: the IAM role.
    """

    role: iam.Role

    def __init__(self, scope: Construct, construct_id: str, props: ExecutionRoleProps) -> None:
        super().__init__(scope, construct_id)
        permissions = [
            Permission(
                "TaskLogs",
                ("logs:CreateLogStream", "logs:PutLogEvents"),
                (props.log_group.log_group_arn,),
                wildcard="Streams of the one log group; their names hold ids of tasks.",
            ),
            *pull_images(props.image_repositories),
        ]
        self.role = iam.Role(
            self,
            "Role",
            description=f"ECS pulls images and writes logs for tasks of {props.cluster}",
            assumed_by=_tasks_of(self),
            permissions_boundary=props.permissions_boundary,
            inline_policies={"Tasks": iam.PolicyDocument(statements=[each.statement() for each in permissions])},
        )
        acknowledge_wildcards(self.role, permissions)


@dataclass(frozen=True)
class TenantTaskRolesProps:
    """What TenantTaskRoles needs to know."""

    cluster: str
    """Name of the cluster."""
    tenant: str
    """Name of the tenant."""
    ecs_cluster_arn: str
    """ARN of the ECS cluster."""
    key_arn: str
    """ARN of the key that wraps secrets; its policy must name these roles."""
    execution_role: iam.IRole
    """The role that executors' task definitions are run with."""
    data: tuple[Permission, ...]
    """What jobs of the tenant read and write (tenant_permissions.py)."""
    session_key: kms.IKey
    """Encrypts shell sessions."""
    permissions_boundary: iam.IManagedPolicy | None = None
    """A managed policy that bounds the roles; default: none."""


class TenantTaskRoles(Construct):
    """Driver, executor and shell of one tenant.

    Executors can do nothing with ECS. A driver runs tasks from its tenant's executor definition on its own cluster,
    sees and stops tasks of its tenant, and passes two roles. A shell is a driver that can be entered.

    Attributes:
        driver: role of driver tasks.
        executor: role of executor tasks.
        shell: role of shell tasks.
    """

    driver: iam.Role
    executor: iam.Role
    shell: iam.Role

    def __init__(self, scope: Construct, construct_id: str, props: TenantTaskRolesProps) -> None:
        super().__init__(scope, construct_id)
        self._props = props
        common = [*props.data, self._unwrap()]
        self.executor = self._role("executor", common)
        self.driver = self._role("driver", [*common, *self._run_executors()])
        self.shell = self._role("shell", [*common, *self._run_executors(), *self._be_entered()])

    def _role(self, kind: str, permissions: list[Permission]) -> iam.Role:
        props = self._props
        role = iam.Role(
            self,
            kind.capitalize(),
            role_name=task_role_name(props.cluster, props.tenant, kind, Stack.of(self).region),
            description=f"Fargate {kind}s of {props.cluster}, tenant {props.tenant}",
            assumed_by=_tasks_of(self),
            permissions_boundary=props.permissions_boundary,
            inline_policies={"Job": iam.PolicyDocument(statements=[each.statement() for each in permissions])},
        )
        acknowledge_wildcards(role, permissions)
        return role

    def _unwrap(self) -> Permission:
        return Permission(
            "UnwrapSecret",
            ("kms:Decrypt",),
            (self._props.key_arn,),
            conditions={
                "StringEquals": {f"kms:EncryptionContext:{TENANT_CONTEXT}": self._props.tenant},
                "Null": {f"kms:EncryptionContext:{APPLICATION_CONTEXT}": "false"},
            },
        )

    def _run_executors(self) -> list[Permission]:
        props, stack = self._props, Stack.of(self)
        family = task_family(props.cluster, props.tenant, "executor")
        on_cluster = {"ArnEquals": {"ecs:cluster": props.ecs_cluster_arn}}
        of_tenant = {"StringEquals": {f"aws:ResourceTag/{TENANT_TAG}": props.tenant}}
        tasks = stack.format_arn(service="ecs", resource="task", resource_name=f"{props.cluster}-fargate/*")
        return [
            Permission(
                "RunExecutors",
                ("ecs:RunTask",),
                (stack.format_arn(service="ecs", resource="task-definition", resource_name=f"{family}:*"),),
                conditions={
                    **on_cluster,
                    "StringEquals": {f"aws:RequestTag/{TENANT_TAG}": props.tenant},
                    "Bool": {"ecs:enable-execute-command": "false"},
                },
                wildcard="Revisions of the one task definition; only the stack registers them.",
            ),
            Permission(
                "TagExecutors",
                ("ecs:TagResource",),
                (tasks,),
                conditions={"StringEquals": {"ecs:CreateAction": "RunTask"}},
                wildcard="Tasks of the one cluster, at the moment when they are run; their ids are not known before.",
            ),
            Permission(
                "OwnExecutors",
                ("ecs:DescribeTasks", "ecs:StopTask"),
                (tasks,),
                conditions={**on_cluster, **of_tenant},
                wildcard="Tasks of the one cluster; the tag admits this tenant's alone.",
            ),
            Permission("FindExecutors", ("ecs:ListTasks",), ("*",), conditions=on_cluster, wildcard=NO_RESOURCE),
            Permission(
                "PassRolesToExecutors",
                ("iam:PassRole",),
                (self.executor.role_arn, props.execution_role.role_arn),
                conditions={"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}},
            ),
        ]

    def _be_entered(self) -> list[Permission]:
        """ECS developer guide, "Using ECS Exec": the four actions of the agent in the container."""
        return [
            Permission(
                "ShellChannels",
                (
                    "ssmmessages:CreateControlChannel",
                    "ssmmessages:CreateDataChannel",
                    "ssmmessages:OpenControlChannel",
                    "ssmmessages:OpenDataChannel",
                ),
                ("*",),
                wildcard=NO_RESOURCE,
            ),
            Permission(
                "ShellSessionKey",
                ("kms:Decrypt",),
                (self._props.session_key.key_arn,),
                conditions={"Null": {"kms:EncryptionContext:aws:ssm:SessionId": "false"}},
            ),
        ]


def _tasks_of(scope: Construct) -> iam.ServicePrincipal:
    """ECS developer guide, "Task IAM role": against the confused deputy."""
    stack = Stack.of(scope)
    return iam.ServicePrincipal(
        "ecs-tasks.amazonaws.com",
        conditions={
            "StringEquals": {"aws:SourceAccount": stack.account},
            "ArnLike": {"aws:SourceArn": stack.format_arn(service="ecs", resource="*")},
        },
    )
