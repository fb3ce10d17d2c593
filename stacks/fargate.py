"""The stack of target fargate: everything that Spark's drivers and executors need as Fargate tasks."""

from aws_cdk import aws_logs as logs
from aws_cdk import aws_ssm as ssm
from constructs import Construct

from spark_constructs.config import Deployment, FargateTask
from spark_constructs.fargate_access import FargateSubmitter, FargateSubmitterProps
from spark_constructs.fargate_cluster import (
    SparkFargateCluster,
    SparkFargateClusterProps,
    TaskSize,
    ecs_cluster_arn,
)
from spark_constructs.fargate_connect import ConnectDocument
from spark_constructs.images import NOT_PUBLISHED
from spark_constructs.naming import ecs_cluster_name, image_parameter, log_group_name
from spark_constructs.permissions import Permission
from spark_constructs.security_groups import FargateSecurityGroups, SecurityGroupsProps
from spark_constructs.tenant_permissions import tenant_permissions
from stacks.base import SparkvaultStack
from stacks.images import ImagesStack, asset_repositories
from stacks.network import NetworkStack
from stacks.storage import StorageStack
from stacks.tenants import tenant_catalog, tenant_data


class FargateStack(SparkvaultStack):
    """``<cluster>-fargate``: ECS cluster, key, roles and task definitions per tenant, security groups, reaper, budget.

    Its outputs are what ``spark.fargate.*`` needs; the command line reads them, so that ``submit`` needs no flags.
    """

    fargate: SparkFargateCluster
    security_groups: FargateSecurityGroups
    submitters: dict[str, FargateSubmitter]

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        deployment: Deployment,
        network: NetworkStack,
        storage: StorageStack,
        images: ImagesStack,
    ) -> None:
        super().__init__(
            scope,
            construct_id,
            deployment=deployment,
            part="fargate",
            description="sparkvault: Spark on Fargate, one task per executor",
        )
        # cfn-lint objects to outputs that pass another stack's on; here one stack says all that a job needs.
        self.template_options.metadata = {"cfn-lint": {"config": {"ignore_checks": ["W6001"]}}}
        self.add_stack_dependency(images)
        self.add_stack_dependency(storage)
        self.security_groups = FargateSecurityGroups(
            self,
            "Tasks",
            SecurityGroupsProps(
                cluster=deployment.cluster,
                network=network.network,
                gateway_prefix_lists=tuple(deployment.network.gateway_prefix_lists),
            ),
        )
        self._jobs = self.job_bucket()
        configured = deployment.fargate
        log_group = self.log_group("fargate")
        self.fargate = SparkFargateCluster(
            self,
            "Fargate",
            SparkFargateClusterProps(
                cluster=deployment.cluster,
                image=self._image(),
                log_group=log_group,
                log_key=storage.storage.key,
                tenants={name: self._permissions(name, storage) for name in deployment.tenant_names()},
                driver=task_size(configured.driver),
                executor=task_size(configured.executor),
                architecture=deployment.architecture,
                stop_timeout_seconds=configured.stop_timeout_seconds,
                image_repositories=asset_repositories(self),
                log_retention_days=deployment.logging.retention_days,
                monthly_budget_usd=configured.monthly_budget_usd,
                budget_email=configured.budget_email,
                permissions_boundary=self.permissions_boundary,
                removal_policy=self.removal_policy,
            ),
            vpc=network.network.vpc,
        )
        self._connect = ConnectDocument(self, "Connect", cluster=deployment.cluster)
        self.submitters = {tenant: self._submitter(tenant, storage, log_group) for tenant in deployment.tenant_names()}
        self._outputs(network)

    def _submitter(self, tenant: str, storage: StorageStack, log_group: logs.ILogGroup) -> FargateSubmitter:
        return FargateSubmitter(
            self,
            f"Submitter{tenant.title().replace('-', '')}",
            FargateSubmitterProps(
                cluster=self.deployment.cluster,
                tenant=tenant,
                ecs_cluster_arn=ecs_cluster_arn(self, self.deployment.cluster),
                ecs_cluster_name=ecs_cluster_name(self.deployment.cluster),
                roles=self.fargate.roles[tenant],
                execution_role=self.fargate.execution_role,
                key=self.fargate.key,
                job_bucket=self._jobs,
                job_key_arn=storage.storage.key.key_arn,
                log_group=log_group,
                connect_document=self._connect.name,
            ),
        )

    def _image(self) -> str:
        """By digest, from the parameter that the deploy command writes after the image was pushed."""
        if self.deployment.images.source == "none":
            return NOT_PUBLISHED
        return ssm.StringParameter.value_for_string_parameter(self, image_parameter(self.deployment.cluster, "fargate"))

    def _permissions(self, tenant: str, storage: StorageStack) -> tuple[Permission, ...]:
        deployment = self.deployment
        return tuple(
            tenant_permissions(
                self,
                tenant,
                job_bucket=self._jobs,
                key_arn=storage.storage.key.key_arn,
                data=tenant_data(deployment, tenant),
                catalog=tenant_catalog(deployment),
            )
        )

    def _outputs(self, network: NetworkStack) -> None:
        fargate = self.fargate
        self.output("Master", f"spark-fargate://{self.region}/{fargate.cluster.cluster_name}", "Master URL of Spark")
        self.output("ClusterName", fargate.cluster.cluster_name, "spark.fargate.cluster")
        self.output(
            "Subnets",
            ",".join(network.network.private_subnet_ids),
            "spark.fargate.driver.subnets and spark.fargate.executor.subnets",
        )
        groups = self.security_groups
        self.output("DriverSecurityGroups", groups.drivers.security_group_id, "spark.fargate.driver.securityGroups")
        self.output(
            "ExecutorSecurityGroups", groups.executors.security_group_id, "spark.fargate.executor.securityGroups"
        )
        self.output("ExecutionRoleArn", fargate.execution_role.role_arn, "spark.fargate.executionRole")
        self.output("SecretKeyArn", fargate.key.key_arn, "spark.authenticate.kms.key")
        self.output("LogGroupName", log_group_name(self.deployment.cluster, "fargate"), "spark.fargate.logs.group")
        for tenant, submitter in self.submitters.items():
            name = tenant.title().replace("-", "")
            self.output(
                f"{name}SubmitterPolicyArn",
                submitter.policy.managed_policy_arn,
                f"For those who submit jobs in the name of tenant {tenant}",
            )
            self.output(
                f"{name}SessionsPolicyArn",
                submitter.sessions.managed_policy_arn,
                f"Besides, for those who open shells in the name of tenant {tenant}",
            )


def task_size(configured: FargateTask) -> TaskSize:
    """The size of a task as configured."""
    return TaskSize(configured.vcpu, configured.memory_mib, configured.ephemeral_storage_gib)
