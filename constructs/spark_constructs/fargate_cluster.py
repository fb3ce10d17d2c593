"""Spark on Fargate: the ECS cluster, its key, and for each tenant roles and task definitions."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from aws_cdk import Duration, RemovalPolicy, Stack
from aws_cdk import aws_budgets as budgets
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_ecr as ecr
from aws_cdk import aws_ecs as ecs
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_logs as logs
from constructs import Construct

from spark_constructs.fargate_key import fargate_key_policy
from spark_constructs.fargate_reaper import FargateReaper, FargateReaperProps
from spark_constructs.fargate_roles import (
    TASK_KINDS,
    ExecutionRole,
    ExecutionRoleProps,
    TenantTaskRoles,
    TenantTaskRolesProps,
    task_role_name,
)
from spark_constructs.fargate_sizes import EPHEMERAL_STORAGE_GIB, MAX_STOP_TIMEOUT_SECONDS, is_offered
from spark_constructs.instance_types import Architecture
from spark_constructs.naming import KEY_ALIAS, checked, ecs_cluster_name, task_family
from spark_constructs.permissions import Permission
from spark_constructs.refusal import RefusedError

#: Where a container may write although its root file system is read-only: volume → path in the image.
WRITABLE = {"tmp": "/tmp", "work": "/opt/spark/work-dir"}  # noqa: S108 - a path in the image


class InvalidFargateClusterError(RefusedError):
    """Tasks that Fargate would refuse to run: what is wrong, and what to give instead."""


@dataclass(frozen=True)
class TaskSize:
    """What a task gets."""

    vcpu: float
    """vCPU: 0.25 to 16."""
    memory_mib: int
    """Memory in MiB; Fargate offers certain sizes for each number of vCPU."""
    ephemeral_storage_gib: int = EPHEMERAL_STORAGE_GIB[0]
    """Disk for shuffle and spill in GiB; default: 21."""


@dataclass(frozen=True)
class SparkFargateClusterProps:
    """What SparkFargateCluster needs to know."""

    cluster: str
    """Name of the cluster."""
    image: str
    """The image by digest: ``repository@sha256:…``; a token is taken as it is."""
    log_group: logs.ILogGroup
    """Where tasks log."""
    log_key: kms.IKey
    """Encrypts the reaper's log group."""
    tenants: Mapping[str, tuple[Permission, ...]]
    """Tenant → what its jobs read and write (tenant_permissions.py)."""
    driver: TaskSize = field(default_factory=lambda: TaskSize(1, 4096))
    """Size of a driver where a job says nothing else; default: 1 vCPU, 4 GiB."""
    executor: TaskSize = field(default_factory=lambda: TaskSize(2, 8192, 50))
    """Size of an executor where a job says nothing else; default: 2 vCPU, 8 GiB, 50 GiB disk."""
    architecture: Architecture = "x86_64"
    """CPU architecture of the image; default: x86_64."""
    stop_timeout_seconds: int = MAX_STOP_TIMEOUT_SECONDS
    """Seconds between SIGTERM and SIGKILL; default: 120."""
    image_repositories: tuple[ecr.IRepository, ...] = ()
    """Repositories that images are pulled from; default: none."""
    log_retention_days: int = 90
    """Days that the reaper's log is kept; default: 90."""
    monthly_budget_usd: int | None = None
    """Mail when the month's cost of tasks reaches it; default: no budget."""
    budget_email: str | None = None
    """Who gets that mail; needed with a budget."""
    permissions_boundary: iam.IManagedPolicy | None = None
    """A managed policy that bounds every role; default: none."""
    removal_policy: RemovalPolicy = RemovalPolicy.RETAIN
    """What happens to the key when the stack goes; default: it is retained."""


class SparkFargateCluster(Construct):
    """An ECS cluster on Fargate and Fargate Spot, for executors that are tasks.

    Disks, shell sessions and applications' secrets are encrypted under one key whose policy names tenants. Each tenant
    has a definition for drivers, executors and shells: no capability, no root, a read-only root file system but in
    shells, which ECS Exec enters; executors cannot be entered.

    Example::

        SparkFargateCluster(self, "Fargate", SparkFargateClusterProps(cluster="analytics", image=image_by_digest,
                            log_group=log_group, log_key=key, tenants={"default": permissions}))

    Attributes:
        cluster: the ECS cluster.
        key: the key of secrets, disks and sessions.
        definitions: (tenant, kind) → task definition; kinds are driver, executor, shell.
        roles: tenant → its task roles.
        execution_role: the role with which ECS starts tasks.
        reaper: stops what has lost its driver.
    """

    cluster: ecs.Cluster
    key: kms.Key
    definitions: Mapping[tuple[str, str], ecs.FargateTaskDefinition]
    roles: Mapping[str, TenantTaskRoles]
    execution_role: iam.Role
    reaper: FargateReaper

    def __init__(self, scope: Construct, construct_id: str, props: SparkFargateClusterProps, *, vpc: ec2.IVpc) -> None:
        """Raises InvalidFargateClusterError for tasks that Fargate would refuse."""
        super().__init__(scope, construct_id)
        _refuse_impossible(props)
        self._props = props
        stack = Stack.of(self)
        name = ecs_cluster_name(props.cluster)
        self.key = kms.Key(
            self,
            "Key",
            alias=checked(KEY_ALIAS, f"alias/{name}"),
            description=f"Secrets, disks and shell sessions of Spark on Fargate, {props.cluster}",
            enable_key_rotation=True,
            policy=fargate_key_policy(
                self,
                name,
                {
                    stack.format_arn(
                        service="iam",
                        region="",
                        resource="role",
                        resource_name=task_role_name(props.cluster, tenant, kind, stack.region),
                    ): tenant
                    for tenant in props.tenants
                    for kind in TASK_KINDS
                },
            ),
            removal_policy=props.removal_policy,
        )
        # The CDK would add statements of its own to the key's policy, wider than what stands there already.
        key = kms.Key.from_key_arn(self, "KeyByArn", self.key.key_arn)
        self.cluster = ecs.Cluster(
            self,
            "Cluster",
            cluster_name=name,
            vpc=vpc,
            container_insights_v2=ecs.ContainerInsights.ENABLED,
            enable_fargate_capacity_providers=True,
            managed_storage_configuration=ecs.ManagedStorageConfiguration(fargate_ephemeral_storage_kms_key=key),
            execute_command_configuration=ecs.ExecuteCommandConfiguration(
                kms_key=key,
                logging=ecs.ExecuteCommandLogging.OVERRIDE,
                log_configuration=ecs.ExecuteCommandLogConfiguration(
                    cloud_watch_log_group=props.log_group, cloud_watch_encryption_enabled=True
                ),
            ),
        )
        self.execution_role = ExecutionRole(
            self,
            "Execution",
            ExecutionRoleProps(props.cluster, props.log_group, props.image_repositories, props.permissions_boundary),
        ).role
        self.roles = {tenant: self._roles(tenant, data) for tenant, data in props.tenants.items()}
        self.definitions = {
            (tenant, kind): self._definition(tenant, kind) for tenant in props.tenants for kind in TASK_KINDS
        }
        self.reaper = FargateReaper(
            self,
            "Reaper",
            FargateReaperProps(
                cluster=props.cluster,
                ecs_cluster_name=name,
                ecs_cluster_arn=ecs_cluster_arn(self, props.cluster),
                driver_families=tuple(
                    task_family(props.cluster, tenant, kind) for tenant in props.tenants for kind in ("driver", "shell")
                ),
                executor_families=tuple(task_family(props.cluster, tenant, "executor") for tenant in props.tenants),
                log_key=props.log_key,
                log_retention_days=props.log_retention_days,
                permissions_boundary=props.permissions_boundary,
            ),
        )
        if props.monthly_budget_usd is not None and props.budget_email is not None:
            self._budget(props.monthly_budget_usd, props.budget_email)

    def _roles(self, tenant: str, data: tuple[Permission, ...]) -> TenantTaskRoles:
        props = self._props
        return TenantTaskRoles(
            self,
            f"Tenant{_camel(tenant)}",
            TenantTaskRolesProps(
                cluster=props.cluster,
                tenant=tenant,
                ecs_cluster_arn=ecs_cluster_arn(self, props.cluster),
                key_arn=self.key.key_arn,
                execution_role=self.execution_role,
                data=data,
                session_key=self.key,
                permissions_boundary=props.permissions_boundary,
            ),
        )

    def _definition(self, tenant: str, kind: str) -> ecs.FargateTaskDefinition:
        props = self._props
        size = props.executor if kind == "executor" else props.driver
        roles = self.roles[tenant]
        definition = ecs.FargateTaskDefinition(
            self,
            f"{_camel(tenant)}{kind.capitalize()}Task",
            family=task_family(props.cluster, tenant, kind),
            cpu=int(size.vcpu * 1024),
            memory_limit_mib=size.memory_mib,
            ephemeral_storage_gib=size.ephemeral_storage_gib,
            execution_role=self.execution_role.without_policy_updates(),
            task_role=getattr(roles, kind).without_policy_updates(),
            runtime_platform=ecs.RuntimePlatform(
                cpu_architecture=(
                    ecs.CpuArchitecture.ARM64 if props.architecture == "arm64" else ecs.CpuArchitecture.X86_64
                ),
                operating_system_family=ecs.OperatingSystemFamily.LINUX,
            ),
            volumes=[] if kind == "shell" else [ecs.Volume(name=name) for name in WRITABLE],
        )
        linux = ecs.LinuxParameters(self, f"{_camel(tenant)}{kind.capitalize()}Linux", init_process_enabled=True)
        linux.drop_capabilities(ecs.Capability.ALL)
        container = definition.add_container(
            f"spark-{kind}",
            container_name=f"spark-{kind}",
            image=ecs.ContainerImage.from_registry(props.image),
            essential=True,
            user="185:185",
            # ECS Exec writes where its agent lies, so that a shell's root file system cannot be read-only.
            readonly_root_filesystem=kind != "shell",
            linux_parameters=linux,
            stop_timeout=Duration.seconds(props.stop_timeout_seconds),
            logging=ecs.LogDrivers.aws_logs(
                log_group=props.log_group, stream_prefix=f"{tenant}/{kind}", mode=ecs.AwsLogDriverMode.NON_BLOCKING
            ),
        )
        if kind != "shell":
            container.add_mount_points(
                *(
                    ecs.MountPoint(source_volume=name, container_path=path, read_only=False)
                    for name, path in WRITABLE.items()
                )
            )
        return definition

    def _budget(self, monthly_usd: int, email: str) -> None:
        cluster = self._props.cluster
        budgets.CfnBudget(
            self,
            "Budget",
            budget=budgets.CfnBudget.BudgetDataProperty(
                budget_name=f"{cluster}-fargate",
                budget_type="COST",
                time_unit="MONTHLY",
                budget_limit=budgets.CfnBudget.SpendProperty(amount=monthly_usd, unit="USD"),
                cost_filters={"TagKeyValue": [f"user:sparkvault:cluster${cluster}"]},
            ),
            notifications_with_subscribers=[
                budgets.CfnBudget.NotificationWithSubscribersProperty(
                    notification=budgets.CfnBudget.NotificationProperty(
                        comparison_operator="GREATER_THAN",
                        notification_type="ACTUAL",
                        threshold=100,
                        threshold_type="PERCENTAGE",
                    ),
                    subscribers=[budgets.CfnBudget.SubscriberProperty(address=email, subscription_type="EMAIL")],
                )
            ],
        )


def ecs_cluster_arn(scope: Construct, cluster: str) -> str:
    """Its ARN by name, so that policies say what they mean to whoever reads the template."""
    return Stack.of(scope).format_arn(service="ecs", resource="cluster", resource_name=ecs_cluster_name(cluster))


def _camel(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("-"))


def _refuse_impossible(props: SparkFargateClusterProps) -> None:
    if not props.tenants:
        raise InvalidFargateClusterError("no tenant is given: name at least one, for example default")
    for kind, size in (("driver", props.driver), ("executor", props.executor)):
        if not is_offered(size.vcpu, size.memory_mib):
            raise InvalidFargateClusterError(
                f"Fargate offers no {kind} with {size.vcpu:g} vCPU and {size.memory_mib} MiB: see fargate_sizes.py"
            )
        least, most = EPHEMERAL_STORAGE_GIB
        if not least <= size.ephemeral_storage_gib <= most:
            raise InvalidFargateClusterError(
                f"the {kind}'s disk of {size.ephemeral_storage_gib} GiB is not within {least} to {most} GiB"
            )
    if not 2 <= props.stop_timeout_seconds <= MAX_STOP_TIMEOUT_SECONDS:
        raise InvalidFargateClusterError(
            f"a stop timeout of {props.stop_timeout_seconds} s is not within 2 to {MAX_STOP_TIMEOUT_SECONDS} s"
        )
    if (props.monthly_budget_usd is None) != (props.budget_email is None):
        raise InvalidFargateClusterError("a budget needs an address, and an address a budget: give both or neither")
