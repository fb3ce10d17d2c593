"""What all stacks have in common: name, environment, tags, protection, and zones that need no lookup."""

import jsii
from aws_cdk import CfnOutput, Environment, Fn, RemovalPolicy, Stack, Tags
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from aws_cdk import aws_s3 as s3
from constructs import Construct

from spark_constructs.config import Deployment
from spark_constructs.naming import bucket_name, log_group_name, stack_name


class SparkvaultStack(Stack):
    """A stack of one deployment: ``<cluster>-<part>``, in the configured account and region or in that of the caller.

    It is protected against termination for as long as its data is to be retained.

    Attributes:
        deployment: the configuration.
        removal_policy: RETAIN, unless both of the configuration's deletion switches are set.
        permissions_boundary: the configured policy that bounds every role; None where there is none.
    """

    deployment: Deployment

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        deployment: Deployment,
        part: str,
        description: str,
        env: Environment | None = None,
    ) -> None:
        """``env``: another account or region than the configured ones."""
        may_delete = deployment.storage.may_delete(deployment.cluster)
        # Read by the override below, which the CDK may call while the stack is being built.
        self._zones = zone_names(deployment)
        super().__init__(
            scope,
            construct_id,
            stack_name=stack_name(deployment.cluster, part),
            description=description,
            env=env or Environment(account=deployment.account, region=deployment.region),
            termination_protection=not may_delete,
        )
        self.deployment = deployment
        self.removal_policy = RemovalPolicy.DESTROY if may_delete else RemovalPolicy.RETAIN
        self.permissions_boundary: iam.IManagedPolicy | None = None
        if deployment.permissions_boundary is not None:
            boundary = deployment.permissions_boundary
            self.permissions_boundary = iam.ManagedPolicy.from_managed_policy_arn(self, "PermissionsBoundary", boundary)
            iam.PermissionsBoundary.of(self).apply(self.permissions_boundary)
        Tags.of(self).add("sparkvault:cluster", deployment.cluster)
        for key, value in deployment.tags.items():
            Tags.of(self).add(key, value)

    @property
    @jsii.member(jsii_name="availabilityZones")
    def availability_zones(self) -> list[str]:
        """The zones, without asking AWS: the CDK's own answer needs credentials where the environment is explicit."""
        return self._zones

    def job_bucket(self) -> s3.IBucket:
        """The deployment's, by name, not by an export: templates then say what they mean to whoever reads them."""
        return s3.Bucket.from_bucket_name(
            self, "Jobs", bucket_name(self.deployment.cluster, "jobs", self.account, self.region)
        )

    def log_group(self, target: str) -> logs.ILogGroup:
        """That target's, by name as well."""
        return logs.LogGroup.from_log_group_name(self, "Logs", log_group_name(self.deployment.cluster, target))

    def output(self, name: str, value: str, description: str) -> None:
        """A named and documented output of the stack, which the command line reads."""
        CfnOutput(self, name, value=value, description=description)


def zone_names(deployment: Deployment) -> list[str]:
    """The configured zones, or the region's first ones as CloudFormation resolves them at deployment."""
    return list(deployment.network.availability_zones) or [
        Fn.select(index, Fn.get_azs()) for index in range(deployment.network.zones)
    ]
