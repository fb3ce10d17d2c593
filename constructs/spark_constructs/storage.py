"""Everything at rest: the cluster's key, the bucket of its jobs, and its log groups."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from aws_cdk import Duration, RemovalPolicy, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_logs as logs
from aws_cdk import aws_s3 as s3
from constructs import Construct

from spark_constructs.acknowledgments import acknowledge
from spark_constructs.kms_key import cluster_key_policy
from spark_constructs.log_retention import retention
from spark_constructs.naming import bucket_name, key_alias, log_group_name

#: Everything of a job lies under it: ``jobs/<id>/``.
JOBS_PREFIX = "jobs/"

#: Event logs of ended jobs, for the history server.
EVENT_LOGS_PREFIX = "eventlog/"

#: Days after which an overwritten or deleted object is gone for good.
NONCURRENT_DAYS = 7

#: Days that access logs are kept: long enough for an audit of a quarter.
ACCESS_LOG_DAYS = 120


@dataclass(frozen=True)
class ClusterStorageProps:
    """What ClusterStorage needs to know."""

    cluster: str
    """Name of the cluster."""
    log_groups: tuple[str, ...] = ("swarm",)
    """Log groups by the last part of their names, one per target; default: that of target swarm."""
    key_arn: str | None = None
    """An existing key in place of our own; default: our own. Its policy must allow what docs/operations.md lists."""
    other_object_keys: tuple[str, ...] = ()
    """ARNs of further keys that objects may be encrypted under, as tenants' own; default: the cluster's key alone."""
    key_used_through: tuple[str, ...] = ()
    """Services through which our own key works beside those of every cluster; default: none."""
    job_retention_days: int = 30
    """Days that files of jobs are kept; default: 30."""
    log_retention_days: int = 90
    """Days that logs are kept, one of the numbers that CloudWatch Logs knows; default: 90."""
    scratch: Mapping[str, int] = field(default_factory=dict)
    """Prefix of what nobody needs for long → days after which it goes, older versions a day later; default: none."""
    may_delete: bool = False
    """Whether data goes when the stack goes, once the bucket is empty; default: everything is retained."""


class UnknownLogGroupError(KeyError):
    """A log group was asked for that this cluster does not have."""


class ClusterStorage(Construct):
    """A customer-managed key, the job bucket with its access logs, and one log group per target.

    The key works only through S3, EBS, DynamoDB, Parameter Store and CloudWatch Logs, and nobody holds ``kms:*``.
    The bucket takes objects over TLS 1.2 or newer and under the key only. Nothing empties a bucket on deletion: even
    with ``may_delete`` whoever deletes the stack must empty it first, as ``sparkvault destroy`` does.

    Example::

        storage = ClusterStorage(self, "Storage", ClusterStorageProps(cluster="analytics"))
        storage.job_bucket.grant_read(role, "jobs/*")
        handler = logs.SubscriptionFilter(self, "Errors", log_group=storage.log_group("swarm"), ...)

    Attributes:
        key: encrypts everything at rest.
        job_bucket: ``jobs/<id>/`` holds specification, files, event log and exit code of a job.
        access_log_bucket: who read and wrote the job bucket.
    """

    key: kms.IKey
    job_bucket: s3.Bucket
    access_log_bucket: s3.Bucket

    def __init__(self, scope: Construct, construct_id: str, props: ClusterStorageProps) -> None:
        super().__init__(scope, construct_id)
        self._props = props
        stack = Stack.of(self)
        self._job_bucket_name = bucket_name(props.cluster, "jobs", stack.account, stack.region)
        self._removal = RemovalPolicy.DESTROY if props.may_delete else RemovalPolicy.RETAIN
        self.key = self._own_key() if props.key_arn is None else kms.Key.from_key_arn(self, "Key", props.key_arn)
        self.access_log_bucket = self._access_logs()
        self.job_bucket = self._jobs()
        self._deliver_access_logs()
        self._log_groups: Mapping[str, logs.LogGroup] = {name: self._logs(name) for name in props.log_groups}

    def log_group(self, target: str) -> logs.ILogGroup:
        """The log group of a target, ``/sparkvault/<cluster>/<target>``. Raises UnknownLogGroupError."""
        if target not in self._log_groups:
            raise UnknownLogGroupError(f"no log group {target!r}; there are {', '.join(self._log_groups)}")
        return self._log_groups[target]

    def _own_key(self) -> kms.Key:
        cluster = self._props.cluster
        return kms.Key(
            self,
            "Key",
            description=f"Everything at rest of {cluster}",
            alias=key_alias(cluster),
            enable_key_rotation=True,
            policy=cluster_key_policy(self, cluster, self._props.key_used_through),
            removal_policy=self._removal,
            # The longest that KMS offers to think again.
            pending_window=Duration.days(30),
        )

    def _access_logs(self) -> s3.Bucket:
        stack = Stack.of(self)
        bucket = s3.Bucket(
            self,
            "AccessLogs",
            bucket_name=bucket_name(self._props.cluster, "s3-logs", stack.account, stack.region),
            # The one exception from our own key: S3 delivers access logs only to buckets with default encryption by
            # S3's keys (S3 user guide, "Enabling Amazon S3 server access logging").
            encryption=s3.BucketEncryption.S3_MANAGED,
            enforce_ssl=True,
            minimum_tls_version=1.2,
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
            versioned=True,
            lifecycle_rules=[
                s3.LifecycleRule(
                    id="expire-access-logs",
                    expiration=Duration.days(ACCESS_LOG_DAYS),
                    noncurrent_version_expiration=Duration.days(NONCURRENT_DAYS),
                    abort_incomplete_multipart_upload_after=Duration.days(1),
                )
            ],
            removal_policy=self._removal,
        )
        acknowledge(
            bucket,
            "AwsSolutions-S1",
            "This bucket receives the access logs of the job bucket; logging its own access into itself would make "
            "every delivered log write another one.",
        )
        return bucket

    def _jobs(self) -> s3.Bucket:
        bucket = s3.Bucket(
            self,
            "Jobs",
            bucket_name=self._job_bucket_name,
            encryption=s3.BucketEncryption.KMS,
            encryption_key=self.key,
            bucket_key_enabled=True,
            enforce_ssl=True,
            minimum_tls_version=1.2,
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
            versioned=True,
            lifecycle_rules=[
                s3.LifecycleRule(
                    id="expire-jobs",
                    prefix=JOBS_PREFIX,
                    expiration=Duration.days(self._props.job_retention_days),
                ),
                s3.LifecycleRule(
                    id="expire-event-logs",
                    prefix=EVENT_LOGS_PREFIX,
                    expiration=Duration.days(self._props.job_retention_days),
                ),
                *(
                    s3.LifecycleRule(
                        id=f"expire-{prefix.rstrip('/').replace('/', '-')}",
                        prefix=prefix,
                        expiration=Duration.days(days),
                        noncurrent_version_expiration=Duration.days(1),
                    )
                    for prefix, days in self._props.scratch.items()
                ),
                s3.LifecycleRule(
                    id="clean-up",
                    noncurrent_version_expiration=Duration.days(NONCURRENT_DAYS),
                    abort_incomplete_multipart_upload_after=Duration.days(1),
                ),
            ],
            removal_policy=self._removal,
        )
        self._refuse_other_encryption(bucket)
        return bucket

    def _refuse_other_encryption(self, bucket: s3.Bucket) -> None:
        """Default encryption only fills in what a request leaves out; these deny requests that ask for another."""
        keys = [self.key.key_arn, *self._props.other_object_keys]
        for sid, header, allowed in (
            ("OnlyKmsEncryption", "s3:x-amz-server-side-encryption", ["aws:kms"]),
            ("OnlyKnownKeys", "s3:x-amz-server-side-encryption-aws-kms-key-id", keys),
        ):
            bucket.add_to_resource_policy(
                iam.PolicyStatement(
                    sid=sid,
                    effect=iam.Effect.DENY,
                    principals=[iam.AnyPrincipal()],
                    actions=["s3:PutObject"],
                    resources=[bucket.arn_for_objects("*")],
                    # StringNotEquals alone is also true where the header is absent, and then the default applies.
                    conditions={"StringNotEquals": {header: allowed}, "Null": {header: "false"}},
                )
            )

    def _deliver_access_logs(self) -> None:
        """Log access to the job bucket.

        Written out, not left to ``server_access_logs_bucket``, which turns to ACLs where an application lacks a CDK
        feature flag; buckets whose owner is enforced refuse ACLs.
        """
        prefix, stack = "jobs/", Stack.of(self)
        self.access_log_bucket.add_to_resource_policy(
            iam.PolicyStatement(
                sid="AccessLogsOfTheJobBucket",
                principals=[iam.ServicePrincipal("logging.s3.amazonaws.com")],
                actions=["s3:PutObject"],
                resources=[self.access_log_bucket.arn_for_objects(f"{prefix}*")],
                conditions={
                    # By name: a reference would make bucket and policy wait for each other.
                    "ArnLike": {"aws:SourceArn": f"arn:{stack.partition}:s3:::{self._job_bucket_name}"},
                    "StringEquals": {"aws:SourceAccount": stack.account},
                },
            )
        )
        bucket = self.job_bucket.node.default_child
        if not isinstance(bucket, s3.CfnBucket):
            raise TypeError("the job bucket has no CloudFormation bucket; the CDK's structure has changed")
        bucket.logging_configuration = s3.CfnBucket.LoggingConfigurationProperty(
            destination_bucket_name=self.access_log_bucket.bucket_name, log_file_prefix=prefix
        )
        # S3 refuses to log to a bucket whose policy does not let it.
        if self.access_log_bucket.policy is not None:
            self.job_bucket.node.add_dependency(self.access_log_bucket.policy)

    def _logs(self, name: str) -> logs.LogGroup:
        return logs.LogGroup(
            self,
            f"{name.capitalize()}Logs",
            log_group_name=log_group_name(self._props.cluster, name),
            encryption_key=self.key,
            retention=retention(self._props.log_retention_days),
            removal_policy=self._removal,
        )
