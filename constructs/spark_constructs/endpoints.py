"""Which AWS services hosts reach without the internet, and what each endpoint's policy lets through."""

from dataclasses import dataclass

from aws_cdk import Stack
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from constructs import Construct

from spark_constructs.naming import table_name


@dataclass(frozen=True)
class InterfaceEndpoint:
    """An interface endpoint: ``name`` is the service's suffix in ``com.amazonaws.REGION.SUFFIX``."""

    name: str
    purpose: str


#: What hosts of target swarm call.
SWARM_ENDPOINTS: tuple[InterfaceEndpoint, ...] = (
    InterfaceEndpoint("ssm", "Parameters, and Systems Manager in place of any open port"),
    # No ec2messages: SSM Agent needs it no longer since 3.3.40.0, and the hosts' roles may not call it.
    InterfaceEndpoint("ssmmessages", "Run Command's and Session Manager's channels"),
    InterfaceEndpoint("ecr.api", "Tokens for pulling images"),
    InterfaceEndpoint("ecr.dkr", "Manifests of images"),
    InterfaceEndpoint("logs", "Logs of hosts and jobs"),
    InterfaceEndpoint("monitoring", "Metrics"),
    InterfaceEndpoint("kms", "The cluster's key, and enclaves' attested decryption"),
    InterfaceEndpoint("sts", "Short-lived sessions of tenants' roles"),
    InterfaceEndpoint("ec2", "Which instances exist, and in which state"),
    InterfaceEndpoint("autoscaling", "Lifecycle hooks"),
    InterfaceEndpoint("cloudformation", "Signals that a host is up"),
)

#: What tasks of target fargate call beside that (their images, logs and keys are above).
FARGATE_ENDPOINTS: tuple[InterfaceEndpoint, ...] = (
    InterfaceEndpoint("ecs", "Starting and watching executor tasks"),
    InterfaceEndpoint("ecs-agent", "The agent of tasks"),
    InterfaceEndpoint("ecs-telemetry", "Metrics of tasks"),
    InterfaceEndpoint("secretsmanager", "Secrets handed to tasks"),
)

#: What hosts of target yarn call beside the swarm's.
YARN_ENDPOINTS: tuple[InterfaceEndpoint, ...] = (InterfaceEndpoint("secretsmanager", "Keytabs of hosts"),)

#: What S3 clients need to read and write objects; no bucket administration.
S3_READ_ACTIONS = (
    "s3:GetBucketLocation",
    "s3:GetObject",
    "s3:GetObjectAttributes",
    "s3:GetObjectTagging",
    "s3:GetObjectVersion",
    "s3:ListBucket",
    "s3:ListBucketMultipartUploads",
    "s3:ListBucketVersions",
    "s3:ListMultipartUploadParts",
)
S3_WRITE_ACTIONS = (
    "s3:AbortMultipartUpload",
    "s3:DeleteObject",
    "s3:DeleteObjectVersion",
    "s3:PutObject",
    "s3:PutObjectTagging",
)

DYNAMODB_ACTIONS = (
    "dynamodb:BatchGetItem",
    "dynamodb:BatchWriteItem",
    "dynamodb:ConditionCheckItem",
    "dynamodb:DeleteItem",
    "dynamodb:DescribeTable",
    "dynamodb:GetItem",
    "dynamodb:PutItem",
    "dynamodb:Query",
    "dynamodb:UpdateItem",
)


@dataclass(frozen=True)
class DataBucketAccess:
    """A bucket with data, of any account, that jobs reach through the S3 endpoint."""

    bucket: str
    """Name of the bucket."""
    prefix: str = ""
    """Only keys below it; default: the whole bucket."""
    writable: bool = False
    """Whether jobs may write there; default: read only."""


def interface_endpoint_policy(scope: Construct) -> list[iam.PolicyStatement]:
    """Only principals of this account may use the endpoint, so credentials of another cannot carry data out."""
    return [
        iam.PolicyStatement(
            sid="OwnAccount",
            principals=[iam.AnyPrincipal()],
            # Which calls a principal may make is its role's matter; this endpoint's is whose principals they are.
            actions=["*"],
            resources=["*"],
            conditions={"StringEquals": {"aws:PrincipalAccount": Stack.of(scope).account}},
        )
    ]


def s3_endpoint_policy(scope: Construct, data_buckets: tuple[DataBucketAccess, ...]) -> list[iam.PolicyStatement]:
    """Objects of this account, of the named data buckets, and of the public sources of packages and image layers."""
    stack = Stack.of(scope)
    own = {"StringEquals": {"aws:PrincipalAccount": stack.account, "aws:ResourceAccount": stack.account}}
    statements = [
        iam.PolicyStatement(
            sid="BucketsOfThisAccount",
            principals=[iam.AnyPrincipal()],
            actions=[*S3_READ_ACTIONS, *S3_WRITE_ACTIONS],
            resources=["*"],
            conditions=own,
        ),
        # Both are read without credentials of this account: packages by anyone, layers by URLs that ECR signed.
        # ECR user guide, "Minimum Amazon S3 Bucket Permissions"; AL2023 user guide, "repository buckets".
        iam.PolicyStatement(
            sid="ImageLayersAndPackages",
            principals=[iam.AnyPrincipal()],
            actions=["s3:GetObject"],
            resources=[
                f"arn:{stack.partition}:s3:::prod-{stack.region}-starport-layer-bucket/*",
                f"arn:{stack.partition}:s3:::al2023-repos-{stack.region}-*/*",
            ],
        ),
    ]
    for index, data in enumerate(data_buckets):
        bucket_arn = f"arn:{stack.partition}:s3:::{data.bucket}"
        statements.append(
            iam.PolicyStatement(
                sid=f"DataBucket{index}",
                principals=[iam.AnyPrincipal()],
                actions=[*S3_READ_ACTIONS, *(S3_WRITE_ACTIONS if data.writable else ())],
                # Which prefixes a tenant may list is its role's matter: a listing names the bucket as its resource.
                resources=[bucket_arn, f"{bucket_arn}/{data.prefix}*"],
                conditions={"StringEquals": {"aws:PrincipalAccount": stack.account}},
            )
        )
    return statements


def dynamodb_endpoint_policy(scope: Construct, cluster: str) -> list[iam.PolicyStatement]:
    """Items of the cluster's own tables."""
    stack = Stack.of(scope)
    return [
        iam.PolicyStatement(
            sid="TablesOfThisCluster",
            principals=[iam.AnyPrincipal()],
            actions=list(DYNAMODB_ACTIONS),
            resources=[
                stack.format_arn(service="dynamodb", resource="table", resource_name=table_name(cluster, "") + "*")
            ],
            conditions={"StringEquals": {"aws:PrincipalAccount": stack.account}},
        )
    ]


def interface_service(name: str) -> ec2.InterfaceVpcEndpointAwsService:
    """The endpoint service of an AWS service in the stack's region."""
    return ec2.InterfaceVpcEndpointAwsService(name)
