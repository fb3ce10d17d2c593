"""Who may submit to Fargate: a managed policy for each tenant."""

from dataclasses import dataclass

from aws_cdk import Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_logs as logs
from aws_cdk import aws_s3 as s3
from constructs import Construct

from spark_constructs.fargate_key import APPLICATION_CONTEXT, TENANT_CONTEXT
from spark_constructs.fargate_roles import TenantTaskRoles
from spark_constructs.job_interface import SUBMITTER_TAG, TENANT_TAG
from spark_constructs.job_permissions import submitted_jobs
from spark_constructs.naming import policy_name, stack_name, task_family
from spark_constructs.permissions import NO_RESOURCE, Permission, acknowledge_wildcards


@dataclass(frozen=True)
class FargateSubmitterProps:
    """What FargateSubmitter needs to know."""

    cluster: str
    """Name of the cluster."""
    tenant: str
    """The tenant in whose name jobs are submitted."""
    ecs_cluster_arn: str
    """ARN of the ECS cluster."""
    ecs_cluster_name: str
    """Its name."""
    roles: TenantTaskRoles
    """The tenant's task roles."""
    execution_role: iam.IRole
    """The role with which ECS starts tasks."""
    key: kms.IKey
    """Wraps applications' secrets."""
    job_bucket: s3.IBucket
    """Bucket of jobs."""
    job_key_arn: str
    """ARN of the job bucket's key."""
    log_group: logs.ILogGroup
    """Where tasks log."""


class FargateSubmitter(Construct):
    """A managed policy: run drivers and shells of one tenant, see and stop its tasks, enter one's own shells.

    Attributes:
        policy: the managed policy.
    """

    policy: iam.ManagedPolicy

    def __init__(self, scope: Construct, construct_id: str, props: FargateSubmitterProps) -> None:
        super().__init__(scope, construct_id)
        self._props = props
        jobs = submitted_jobs(self, props.job_bucket, props.job_key_arn, props.tenant)
        permissions = [*self._tasks(), *self._shells(), *jobs, *self._secrets_and_logs()]
        self.policy = iam.ManagedPolicy(
            self,
            "Policy",
            managed_policy_name=policy_name(props.cluster, f"fargate-{props.tenant}-submitter", Stack.of(self).region),
            description=f"Submit Spark jobs to Fargate for tenant {props.tenant} of {props.cluster}",
            statements=[each.statement() for each in permissions],
        )
        acknowledge_wildcards(self.policy, permissions)

    def _tasks(self) -> list[Permission]:
        props, stack = self._props, Stack.of(self)
        on_cluster = {"ArnEquals": {"ecs:cluster": props.ecs_cluster_arn}}
        definitions = tuple(
            stack.format_arn(
                service="ecs",
                resource="task-definition",
                resource_name=f"{task_family(props.cluster, props.tenant, kind)}:*",
            )
            for kind in ("driver", "shell")
        )
        return [
            Permission(
                "RunDrivers",
                ("ecs:RunTask",),
                definitions,
                conditions={
                    **on_cluster,
                    "StringEquals": {
                        f"aws:RequestTag/{TENANT_TAG}": props.tenant,
                        f"aws:RequestTag/{SUBMITTER_TAG}": "${aws:userid}",
                    },
                },
                wildcard="Revisions of two task definitions; only the stack registers them.",
            ),
            Permission(
                "TagDrivers",
                ("ecs:TagResource",),
                (self._any_task(),),
                conditions={"StringEquals": {"ecs:CreateAction": "RunTask"}},
                wildcard="Tasks of the one cluster, at the moment when they are run; their ids are not known before.",
            ),
            Permission(
                "TasksOfTenant",
                ("ecs:DescribeTasks", "ecs:StopTask"),
                (self._any_task(),),
                conditions={**on_cluster, "StringEquals": {f"aws:ResourceTag/{TENANT_TAG}": props.tenant}},
                wildcard="Tasks of the one cluster; the tag admits this tenant's alone.",
            ),
            Permission("FindTasks", ("ecs:ListTasks",), ("*",), conditions=on_cluster, wildcard=NO_RESOURCE),
            Permission(
                "PassRoles",
                ("iam:PassRole",),
                (props.roles.driver.role_arn, props.roles.shell.role_arn, props.execution_role.role_arn),
                conditions={"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}},
            ),
        ]

    def _shells(self) -> list[Permission]:
        """ECS developer guide, "Using IAM policies to limit access to ECS Exec": cluster and task are checked both."""
        props = self._props
        in_shell = {"ecs:container-name": "spark-shell"}
        return [
            Permission("EnterOnCluster", ("ecs:ExecuteCommand",), (props.ecs_cluster_arn,)),
            Permission(
                "EnterOwnShells",
                ("ecs:ExecuteCommand",),
                (self._any_task(),),
                conditions={
                    "StringEquals": {f"aws:ResourceTag/{SUBMITTER_TAG}": "${aws:userid}", **in_shell},
                },
                wildcard="Tasks of the one cluster; the tag admits those that the caller has run.",
            ),
            # Systems Manager would start a session in any task that it can reach, without asking ECS.
            Permission("NoSessionsPastEcs", ("ssm:StartSession",), (self._any_task(),), allow=False),
        ]

    def _secrets_and_logs(self) -> list[Permission]:
        props, stack = self._props, Stack.of(self)
        return [
            Permission(
                "WrapSecrets",
                ("kms:Encrypt",),
                (props.key.key_arn,),
                conditions={
                    "StringEquals": {f"kms:EncryptionContext:{TENANT_CONTEXT}": props.tenant},
                    "Null": {f"kms:EncryptionContext:{APPLICATION_CONTEXT}": "false"},
                },
            ),
            Permission(
                "LogsOfTenant",
                ("logs:GetLogEvents",),
                (f"{_without_star(props.log_group.log_group_arn)}:log-stream:{props.tenant}/*",),
                wildcard="Streams of the tenant's tasks, whose names hold ids of tasks.",
            ),
            Permission(
                "SeeStacks",
                ("cloudformation:DescribeStacks",),
                tuple(
                    stack.format_arn(
                        service="cloudformation", resource="stack", resource_name=f"{stack_name(props.cluster, part)}/*"
                    )
                    for part in ("fargate", "storage")
                ),
                wildcard="What follows a stack's name is the random id of this one stack, known only once it exists.",
            ),
        ]

    def _any_task(self) -> str:
        return Stack.of(self).format_arn(
            service="ecs", resource="task", resource_name=f"{self._props.ecs_cluster_name}/*"
        )


def _without_star(log_group_arn: str) -> str:
    """The CDK ends a log group's ARN with ``:*``, its streams included."""
    return log_group_arn.removesuffix(":*")
