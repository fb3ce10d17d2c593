"""Stops executors whose driver is gone, from outside: EventBridge and a function of forty lines."""

from dataclasses import dataclass
from pathlib import Path

from aws_cdk import Duration, Stack
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from constructs import Construct

from spark_constructs.log_retention import retention
from spark_constructs.naming import log_group_name
from spark_constructs.permissions import Permission, acknowledge_wildcards

#: The function's source.
SOURCE = Path(__file__).resolve().parents[2] / "assets" / "fargate-reaper"

#: How often it looks, beside the moments when a driver stops.
SWEEP_MINUTES = 5


@dataclass(frozen=True)
class FargateReaperProps:
    """What FargateReaper needs to know."""

    cluster: str
    """Name of the cluster."""
    ecs_cluster_name: str
    """Name of the ECS cluster."""
    ecs_cluster_arn: str
    """Its ARN."""
    driver_families: tuple[str, ...]
    """Families of the task definitions that run drivers, shells included."""
    executor_families: tuple[str, ...]
    """Families of those that run executors."""
    log_key: kms.IKey
    """Encrypts the function's log group."""
    log_retention_days: int = 90
    """Days that its log is kept; default: 90."""
    permissions_boundary: iam.IManagedPolicy | None = None
    """A managed policy that bounds its role; default: none."""


class FargateReaper(Construct):
    """Runs when a driver's task stops, and every five minutes; stops executors of jobs that have no driver.

    Attributes:
        function: the function.
    """

    function: lambda_.Function

    def __init__(self, scope: Construct, construct_id: str, props: FargateReaperProps) -> None:
        super().__init__(scope, construct_id)
        log_group = logs.LogGroup(
            self,
            "Logs",
            log_group_name=log_group_name(props.cluster, "fargate-reaper"),
            encryption_key=props.log_key,
            retention=retention(props.log_retention_days),
        )
        permissions = self._permissions(props, log_group)
        role = iam.Role(
            self,
            "Role",
            description=f"Stops executors of {props.cluster} that have lost their driver",
            assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"),
            permissions_boundary=props.permissions_boundary,
            inline_policies={"Reaper": iam.PolicyDocument(statements=[each.statement() for each in permissions])},
        )
        acknowledge_wildcards(role, permissions)
        self.function = lambda_.Function(
            self,
            "Function",
            function_name=f"{props.cluster}-fargate-reaper",
            description="Stops executors whose driver is gone",
            runtime=lambda_.Runtime.PYTHON_3_14,
            handler="reaper.handler",
            code=lambda_.Code.from_asset(str(SOURCE), exclude=["**/__pycache__"]),
            # By its ARN: the reference is dependency enough, and nothing adds policies to it.
            role=iam.Role.from_role_arn(self, "RoleByArn", role.role_arn, mutable=False),
            timeout=Duration.minutes(2),
            # Two at once would only stop the same tasks twice.
            reserved_concurrent_executions=1,
            log_group=log_group,
            environment={
                "CLUSTER": props.ecs_cluster_name,
                "DRIVER_FAMILIES": ",".join(props.driver_families),
                "EXECUTOR_FAMILIES": ",".join(props.executor_families),
            },
        )
        target = targets.LambdaFunction(self.function, retry_attempts=2, max_event_age=Duration.hours(1))
        events.Rule(
            self,
            "DriverStopped",
            description=f"A driver of {props.cluster} has stopped",
            event_pattern=events.EventPattern(
                source=["aws.ecs"],
                detail_type=["ECS Task State Change"],
                detail={
                    "clusterArn": [props.ecs_cluster_arn],
                    "lastStatus": ["STOPPED"],
                    "group": [f"family:{family}" for family in props.driver_families],
                },
            ),
            targets=[target],
        )
        events.Rule(
            self,
            "Sweep",
            description=f"Looks for executors of {props.cluster} without a driver",
            schedule=events.Schedule.rate(Duration.minutes(SWEEP_MINUTES)),
            targets=[target],
        )

    def _permissions(self, props: FargateReaperProps, log_group: logs.ILogGroup) -> list[Permission]:
        on_cluster = {"ArnEquals": {"ecs:cluster": props.ecs_cluster_arn}}
        tasks = Stack.of(self).format_arn(service="ecs", resource="task", resource_name=f"{props.ecs_cluster_name}/*")
        return [
            Permission(
                "FindTasks",
                ("ecs:ListTasks",),
                ("*",),
                conditions=on_cluster,
                wildcard="ListTasks has no resource to name; the condition admits the one cluster.",
            ),
            Permission(
                "StopOrphans",
                ("ecs:DescribeTasks", "ecs:StopTask"),
                (tasks,),
                conditions=on_cluster,
                wildcard="Tasks of the one cluster; their ids are not known beforehand.",
            ),
            Permission(
                "OwnLog",
                ("logs:CreateLogStream", "logs:PutLogEvents"),
                (log_group.log_group_arn,),
                wildcard="Streams of the function's own log group.",
            ),
        ]
