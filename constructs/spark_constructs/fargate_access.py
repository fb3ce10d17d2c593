"""Who may submit to Fargate, and who may open shells there: two managed policies for each tenant."""

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
    connect_document: str
    """Name of the document that forwards a Connect server's port."""


class FargateSubmitter(Construct):
    """Two managed policies: run drivers and shells of one tenant, see and stop its tasks; and enter one's own shells
    and Connect servers. One policy of all would be longer than IAM takes.

    Attributes:
        policy: for those who submit jobs.
        sessions: besides, for those who open shells.
    """

    policy: iam.ManagedPolicy
    sessions: iam.ManagedPolicy

    def __init__(self, scope: Construct, construct_id: str, props: FargateSubmitterProps) -> None:
        super().__init__(scope, construct_id)
        self._props = props
        jobs = submitted_jobs(self, props.job_bucket, props.job_key_arn, props.tenant)
        self.policy = self._policy(
            "Policy", "submitter", "Submit Spark jobs to Fargate", [*self._tasks(), *jobs, *self._secrets_and_logs()]
        )
        self.sessions = self._policy("Sessions", "sessions", "Enter one's own shells on Fargate", self._shells())

    def _policy(self, construct_id: str, name: str, what: str, permissions: list[Permission]) -> iam.ManagedPolicy:
        props = self._props
        policy = iam.ManagedPolicy(
            self,
            construct_id,
            managed_policy_name=policy_name(props.cluster, f"fargate-{props.tenant}-{name}", Stack.of(self).region),
            description=f"{what} for tenant {props.tenant} of {props.cluster}",
            statements=[each.statement() for each in permissions],
        )
        acknowledge_wildcards(policy, permissions)
        return policy

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
            *self._connect(),
        ]

    def _connect(self) -> list[Permission]:
        """Forwarding is Systems Manager's own: it checks document and task, and asks ECS for nothing but the tags.

        Sources: ECS developer guide, "Using IAM policies to limit access to the Start Session action"; Systems Manager
        user guide, "Start a session with a document by specifying the session documents in IAM policies".
        """
        stack, tag = Stack.of(self), f"aws:ResourceTag/{SUBMITTER_TAG}"
        check = {"BoolIfExists": {"ssm:SessionDocumentAccessCheck": "true"}}
        return [
            Permission(
                "ConnectByDocument",
                ("ssm:StartSession",),
                (stack.format_arn(service="ssm", resource="document", resource_name=self._props.connect_document),),
                conditions=check,
            ),
            Permission(
                "ConnectToOwnServers",
                ("ssm:StartSession",),
                (self._any_task(),),
                conditions={**check, "StringEquals": {tag: "${aws:userid}"}},
                wildcard="Tasks of the one cluster; the tag admits those that the caller has run.",
            ),
            # Whatever else the same person may do: into a task of another's there is no way.
            Permission(
                "NoSessionsInOthersTasks",
                ("ssm:StartSession",),
                (self._any_task(),),
                conditions={"StringNotEquals": {tag: "${aws:userid}"}},
                allow=False,
            ),
            Permission(
                "OwnSessions",
                ("ssm:ResumeSession", "ssm:TerminateSession", "ssmmessages:OpenDataChannel"),
                (stack.format_arn(service="ssm", resource="session", resource_name="${aws:userid}-*"),),
                wildcard="The sessions of the caller alone: their ids start with the caller's own.",
            ),
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
