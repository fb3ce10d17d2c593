"""The job bucket as people use it: files and specifications go in, records come out."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlencode

from boto3.exceptions import S3UploadFailedError
from botocore.exceptions import ClientError
from pydantic import ValidationError

from spark_constructs.job_interface import TENANT_TAG
from spark_constructs.naming import bucket_name
from sparkvault.account import Account
from sparkvault.errors import NotAvailable, SparkvaultError
from sparkvault.jobs import JobRecord, checked_job_id, is_job_id, job_prefix
from sparkvault.targets.remote.submission import Submission

#: How many records are read at a time, and how many jobs are listed at most.
_READERS = 16
MAX_LISTED = 500


class JobBucket:
    """Implements `jobs.JobStore` on ``jobs/<id>/`` in the bucket.

    Objects get the tag of their tenant, by which IAM tells whose they are.
    """

    def __init__(self, account: Account, cluster: str, target: str) -> None:
        self._s3 = account.client("s3")
        self._target = target
        self.name = bucket_name(cluster, "jobs", account.id, account.region)

    def upload(self, submission: Submission) -> None:
        """Files first, then the record, then the specification: what is named is there. Raises SparkvaultError.

        The bucket encrypts under the cluster's key by itself, and refuses any other.
        """
        prefix = job_prefix(submission.spec.id)
        try:
            for name, path in submission.files.items():
                key, tag = f"{prefix}/files/{name}", _tag(submission.spec.tenant)
                self._s3.upload_file(str(path), self.name, key, ExtraArgs=tag)
            self.write(JobRecord(spec=submission.spec))
            self._put(f"{prefix}/spec.json", submission.specification(), submission.spec.tenant)
        except (ClientError, S3UploadFailedError) as error:
            raise SparkvaultError(
                f"the job's files cannot be written to bucket {self.name}: {error}",
                "use a role with the submitter policy; `sparkvault status` shows whether the cluster is deployed",
            ) from error

    def write(self, record: JobRecord) -> None:
        """Keep the record, replacing an older one of the same id."""
        self._put(f"{job_prefix(record.id)}/record.json", record.model_dump_json().encode(), record.spec.tenant)

    def read(self, job_id: str) -> JobRecord:
        """The record of that id. Raises NotAvailable where there is none."""
        record = self._record(checked_job_id(job_id))
        if record is None:
            raise NotAvailable(f"there is no job {job_id}", f"`sparkvault jobs --target {self._target}` lists them")
        return record

    def all(self) -> list[JobRecord]:
        """The target's among the newest records, newest first."""
        found: list[str] = []
        try:
            pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=self.name, Prefix="jobs/", Delimiter="/")
            for page in pages:
                found += [each["Prefix"].split("/")[1] for each in page.get("CommonPrefixes", [])]
        except ClientError as error:
            raise _cannot_read(self.name, error) from error
        ids = sorted(filter(is_job_id, found), reverse=True)[:MAX_LISTED]
        with ThreadPoolExecutor(_READERS) as readers:
            read = list(readers.map(self._record, ids))
        return [record for record in read if record is not None and record.spec.target == self._target]

    def _record(self, job_id: str) -> JobRecord | None:
        try:
            answer: Any = self._s3.get_object(Bucket=self.name, Key=f"{job_prefix(job_id)}/record.json")
        except ClientError as error:
            # Of another tenant's jobs one sees that there are such, and no more.
            if error.response["Error"]["Code"] == "NoSuchKey" or _is_denied(error):
                return None
            raise _cannot_read(self.name, error) from error
        try:
            record = JobRecord.model_validate_json(answer["Body"].read())
        except ValidationError:
            return None  # not one that sparkvault wrote
        return record if record.id == job_id else None

    def _put(self, key: str, body: bytes, tenant: str) -> None:
        self._s3.put_object(Bucket=self.name, Key=key, Body=body, **_tag(tenant))


def _tag(tenant: str) -> dict[str, str]:
    return {"Tagging": urlencode({TENANT_TAG: tenant})}


def _cannot_read(bucket: str, error: ClientError) -> SparkvaultError:
    if error.response["Error"]["Code"] == "NoSuchBucket":
        return NotAvailable(f"there is no job bucket {bucket}", "run `sparkvault deploy`")
    return SparkvaultError(f"bucket {bucket} cannot be read: {error}", "use a role with the submitter policy")


def _is_denied(error: ClientError) -> bool:
    return error.response["Error"]["Code"] in ("AccessDenied", "403")
