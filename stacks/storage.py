"""The stack of everything at rest; the first one, for the others' logs are encrypted under its key."""

from constructs import Construct

from spark_constructs.config import Deployment
from spark_constructs.storage import ClusterStorage, ClusterStorageProps
from spark_constructs.tenant_permissions import tenant_prefix
from stacks.base import SparkvaultStack


class StorageStack(SparkvaultStack):
    """``<cluster>-storage``: the key, the job bucket, the log groups."""

    storage: ClusterStorage

    def __init__(self, scope: Construct, construct_id: str, *, deployment: Deployment) -> None:
        super().__init__(
            scope,
            construct_id,
            deployment=deployment,
            part="storage",
            description="sparkvault: key, job bucket and log groups",
        )
        self.storage = ClusterStorage(
            self,
            "Storage",
            ClusterStorageProps(
                cluster=deployment.cluster,
                log_groups=tuple(deployment.targets),
                key_arn=deployment.kms_key_arn,
                other_object_keys=tuple(
                    dict.fromkeys(tenant.key for tenant in deployment.tenants if tenant.key is not None)
                ),
                key_used_through=("secretsmanager",) if "yarn" in deployment.targets else (),
                job_retention_days=deployment.storage.job_retention_days,
                log_retention_days=deployment.logging.retention_days,
                scratch=_scratch(deployment),
                may_delete=deployment.storage.may_delete(deployment.cluster),
            ),
        )
        self.output("KeyArn", self.storage.key.key_arn, "KMS key of everything at rest")
        self.output(
            "JobBucketName", self.storage.job_bucket.bucket_name, "Bucket of jobs: jobs/<id>/ holds all of one job"
        )
        self.output(
            "AccessLogBucketName",
            self.storage.access_log_bucket.bucket_name,
            "Bucket with the access logs of the job bucket",
        )
        for target in deployment.targets:
            self.output(
                f"{target.capitalize()}LogGroupName",
                self.storage.log_group(target).log_group_name,
                f"Log group of target {target}",
            )


def _scratch(deployment: Deployment) -> dict[str, int]:
    """What a killed driver on Fargate left of its shuffles; event logs, as long as other files of jobs."""
    if "fargate" not in deployment.targets:
        return {}
    days = {"shuffle": deployment.fargate.shuffle_retention_days, "events": deployment.storage.job_retention_days}
    return {
        f"{tenant_prefix(tenant)}{kind}/": limit for tenant in deployment.tenant_names() for kind, limit in days.items()
    }
