"""What the jobs of one tenant may read and write: the same for the roles of every target."""

from dataclasses import dataclass

from aws_cdk import Stack
from aws_cdk import aws_s3 as s3
from constructs import Construct

from spark_constructs.endpoints import S3_READ_ACTIONS, S3_WRITE_ACTIONS
from spark_constructs.job_interface import TENANT_TAG
from spark_constructs.permissions import Permission
from spark_constructs.storage import JOBS_PREFIX

#: What a tenant's jobs leave behind lies under it: ``tenants/<tenant>/``.
TENANTS_PREFIX = "tenants/"

#: Read access to a table's description and to where its data lies; nothing that changes the catalog's own settings.
GLUE_READ_ACTIONS = (
    "glue:GetDatabase",
    "glue:GetDatabases",
    "glue:GetPartition",
    "glue:GetPartitions",
    "glue:GetTable",
    "glue:GetTableVersions",
    "glue:GetTables",
    "glue:BatchGetPartition",
)
GLUE_WRITE_ACTIONS = (
    "glue:BatchCreatePartition",
    "glue:CreatePartition",
    "glue:CreateTable",
    "glue:DeletePartition",
    "glue:DeleteTable",
    "glue:UpdatePartition",
    "glue:UpdateTable",
)


@dataclass(frozen=True)
class TenantData:
    """A bucket with data that the tenant's jobs may use."""

    bucket: str
    """Name of the bucket."""
    prefix: str = ""
    """Only keys below it, ending with a slash; empty for the whole bucket."""
    writable: bool = False
    """Whether jobs may write there."""
    key_arn: str | None = None
    """The KMS key its objects are encrypted under, if it is another than the cluster's."""


@dataclass(frozen=True)
class TenantCatalog:
    """Databases of the Glue Data Catalog."""

    databases: tuple[str, ...]
    """The only ones that jobs see."""
    account: str | None = None
    """The catalog's account, if it is another."""


def tenant_prefix(tenant: str) -> str:
    """Where a tenant's jobs leave event logs and shuffle files: ``tenants/<tenant>/``."""
    return f"{TENANTS_PREFIX}{tenant}/"


def tenant_permissions(
    scope: Construct,
    tenant: str,
    *,
    job_bucket: s3.IBucket,
    key_arn: str,
    data: tuple[TenantData, ...] = (),
    catalog: TenantCatalog | None = None,
) -> list[Permission]:
    """Files of the tenant's own jobs, its prefix in the job bucket, its data and its databases.

    ``key_arn``: the key of the job bucket; it is used through S3 only.
    """
    through_s3 = {"StringEquals": {"kms:ViaService": f"s3.{Stack.of(scope).region}.amazonaws.com"}}
    own = tenant_prefix(tenant)
    read = tuple(dict.fromkeys(each.key_arn or key_arn for each in data if not each.writable))
    written = tuple(dict.fromkeys([key_arn, *(each.key_arn or key_arn for each in data if each.writable)]))
    permissions = [
        Permission(
            "FilesOfOwnJobs",
            ("s3:GetObject",),
            (job_bucket.arn_for_objects(f"{JOBS_PREFIX}*"),),
            conditions={"StringEquals": {f"s3:ExistingObjectTag/{TENANT_TAG}": tenant}},
            wildcard="Ids of jobs are made when they are submitted; the tag admits this tenant's alone.",
        ),
        Permission(
            "OwnPrefix",
            ("s3:AbortMultipartUpload", "s3:DeleteObject", "s3:GetObject", "s3:PutObject"),
            (job_bucket.arn_for_objects(f"{own}*"),),
            wildcard="Event logs and shuffle files of this tenant's jobs, under its own prefix.",
        ),
        Permission(
            "ListOwnPrefix",
            ("s3:ListBucket",),
            (job_bucket.bucket_arn,),
            conditions={"StringLike": {"s3:prefix": [own, f"{own}*"]}},
        ),
        Permission("EncryptOwn", ("kms:Decrypt", "kms:GenerateDataKey"), written, conditions=through_s3),
    ]
    only_read = tuple(arn for arn in read if arn not in written)
    if only_read:
        permissions.append(Permission("DecryptData", ("kms:Decrypt",), only_read, conditions=through_s3))
    for index, each in enumerate(data):
        permissions += _data(scope, index, each)
    if catalog is not None:
        permissions.append(_catalog(scope, catalog, writable=any(each.writable for each in data)))
    return permissions


def _data(scope: Construct, index: int, data: TenantData) -> list[Permission]:
    bucket = Stack.of(scope).format_arn(service="s3", region="", account="", resource=data.bucket)
    listing = {"StringLike": {"s3:prefix": [data.prefix, f"{data.prefix}*"]}} if data.prefix else {}
    objects = [name for name in S3_READ_ACTIONS if "Object" in name or name == "s3:ListMultipartUploadParts"]
    return [
        Permission(
            f"Data{index}",
            (*objects, *(S3_WRITE_ACTIONS if data.writable else ())),
            (f"{bucket}/{data.prefix}*",),
            wildcard="The objects of the configured bucket and prefix; their keys are the tenant's matter.",
        ),
        Permission(f"ListData{index}", ("s3:ListBucket",), (bucket,), conditions=listing),
        Permission(f"FindData{index}", ("s3:GetBucketLocation",), (bucket,)),
    ]


def _catalog(scope: Construct, catalog: TenantCatalog, *, writable: bool) -> Permission:
    stack = Stack.of(scope)

    def arn(kind: str, name: str | None = None) -> str:
        account = catalog.account or stack.account
        return stack.format_arn(service="glue", account=account, resource=kind, resource_name=name)

    return Permission(
        "Catalog",
        (*GLUE_READ_ACTIONS, *(GLUE_WRITE_ACTIONS if writable else ())),
        (
            arn("catalog"),
            *(arn("database", name) for name in catalog.databases),
            *(arn("table", f"{name}/*") for name in catalog.databases),
        ),
        wildcard="The tables of the configured databases; Glue checks catalog, database and table each.",
    )
