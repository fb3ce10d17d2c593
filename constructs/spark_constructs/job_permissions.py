"""What whoever submits one tenant's jobs may do with their files: the same for the submitters of every target."""

from aws_cdk import Stack
from aws_cdk import aws_s3 as s3
from constructs import Construct

from spark_constructs.job_interface import TENANT_TAG
from spark_constructs.permissions import Permission
from spark_constructs.storage import JOBS_PREFIX


def submitted_jobs(scope: Construct, bucket: s3.IBucket, key_arn: str, tenant: str) -> list[Permission]:
    """Write, read and list jobs of the tenant in the job bucket, whose objects are encrypted under that key."""
    files = (bucket.arn_for_objects(f"{JOBS_PREFIX}*"),)
    why = "Jobs lie under jobs/<id>/, and ids are made when jobs are submitted; the tag admits the tenant's alone."
    return [
        Permission(
            "WriteJobs",
            ("s3:PutObject", "s3:PutObjectTagging"),
            files,
            conditions={"StringEquals": {f"s3:RequestObjectTag/{TENANT_TAG}": tenant}},
            wildcard=why,
        ),
        Permission("AbortUploads", ("s3:AbortMultipartUpload",), files, wildcard="An upload has no tag yet."),
        Permission(
            "ReadJobs",
            ("s3:GetObject",),
            files,
            conditions={"StringEquals": {f"s3:ExistingObjectTag/{TENANT_TAG}": tenant}},
            wildcard=why,
        ),
        list_jobs(bucket),
        Permission(
            "JobEncryption",
            ("kms:Decrypt", "kms:GenerateDataKey"),
            (key_arn,),
            conditions={"StringEquals": {"kms:ViaService": f"s3.{Stack.of(scope).region}.amazonaws.com"}},
        ),
    ]


def list_jobs(bucket: s3.IBucket) -> Permission:
    """The names of jobs' files, and of nothing else in the bucket."""
    return Permission(
        "ListJobs",
        ("s3:ListBucket",),
        (bucket.bucket_arn,),
        conditions={"StringLike": {"s3:prefix": f"{JOBS_PREFIX}*"}},
    )
