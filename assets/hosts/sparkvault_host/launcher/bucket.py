"""What a job has in the job bucket: its specification, which is read, and its record, which is written."""

from __future__ import annotations

import json
import re
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from sparkvault_host.aws_cli import AwsError, aws
from sparkvault_host.launcher.errors import LauncherError, RefusedSpecificationError
from sparkvault_host.launcher.outcome import ENDED
from sparkvault_host.launcher.specification import MAX_BYTES

#: Tag of a job's objects: whose they are (spark_constructs.job_interface).
TENANT_TAG = "sparkvault:tenant"

_JOB_ID = re.compile(r"[0-9]{8}-[0-9]{6}-[0-9a-f]{8}")


@dataclass(frozen=True)
class Submitted:
    """What lies in the bucket of a job that shall start."""

    specification: bytes
    tenant: str | None
    """Whose submitter has put the specification; None where it has no tag."""
    record: dict[str, Any] | None

    def check(self, job_id: str, tenant: str) -> None:
        """Raise LauncherError for a job that has ended, RefusedSpecificationError for one of another tenant.

        The specification itself is read afterwards. Neither is recorded: the record is not the caller's to change.
        """
        if self.record is not None and self.record.get("state") in ENDED:
            raise LauncherError(f"job {job_id} has ended already; an id is used once")
        if self.tenant != tenant:
            raise RefusedSpecificationError("the whole", f"not put by a submitter of tenant {tenant}")


class JobBucket:
    """``jobs/<id>/`` in the bucket, reached with the host's own role. Methods raise AwsError, LauncherError."""

    def __init__(self, bucket: str) -> None:
        self.name = bucket

    def submitted(self, job_id: str) -> Submitted:
        """All of it, read at once: each call takes a process of its own, and somebody waits."""
        with ThreadPoolExecutor() as pool:
            content, tenant = pool.submit(self._specification, job_id), pool.submit(self._tenant, job_id)
            record = self.record(job_id)
            return Submitted(content.result(), tenant.result(), record)

    def _specification(self, job_id: str) -> bytes:
        """``spec.json`` as it lies there; never more of it than a specification may have, and one byte."""
        found = self._read(f"jobs/{job_id}/spec.json", MAX_BYTES)
        if found is None:
            raise LauncherError(f"there is no jobs/{job_id}/spec.json in bucket {self.name}; submit the job again")
        return found

    def record(self, job_id: str) -> dict[str, Any] | None:
        """``record.json``, None where there is none that can be read."""
        found = self._read(f"jobs/{job_id}/record.json", 2 * MAX_BYTES)
        try:
            record = json.loads(found) if found is not None else None
        except ValueError:
            return None
        return record if isinstance(record, dict) else None

    def _tenant(self, job_id: str) -> str | None:
        """Whose submitter has put the specification, by its tag; None where it has none."""
        where = ("--bucket", self.name, "--key", f"jobs/{job_id}/spec.json", "--query", "TagSet")
        tags = aws("s3api", "get-object-tagging", *where) or []
        return next((str(each["Value"]) for each in tags if each["Key"] == TENANT_TAG), None)

    def write_record(self, job_id: str, tenant: str, record: dict[str, Any]) -> None:
        """Replace ``record.json``; S3 shows the old one or the new one, nothing between."""
        with tempfile.TemporaryDirectory(prefix="sparkvault-") as folder:
            body = Path(folder) / "record.json"
            body.write_text(json.dumps(record), encoding="utf-8")
            where = ("--bucket", self.name, "--key", f"jobs/{job_id}/record.json", "--body", str(body))
            aws("s3api", "put-object", *where, "--tagging", urlencode({TENANT_TAG: tenant}))

    def jobs(self, since: str) -> list[str]:
        """Ids of the jobs on record since a day (``20261121``, in UTC)."""
        found = aws(
            *("s3api", "list-objects-v2", "--bucket", self.name, "--prefix", "jobs/", "--delimiter", "/"),
            *("--start-after", f"jobs/{since}", "--query", "CommonPrefixes[].Prefix"),
        )
        names = (prefix.split("/")[1] for prefix in found or [])
        return [name for name in names if _JOB_ID.fullmatch(name)]

    def _read(self, key: str, most: int) -> bytes | None:
        with tempfile.TemporaryDirectory(prefix="sparkvault-") as folder:
            body = Path(folder) / "object"
            # The range keeps a huge object from filling the disk.
            where = ("--bucket", self.name, "--key", key, "--range", f"bytes=0-{most}")
            try:
                aws("s3api", "get-object", *where, str(body))
            except AwsError as error:
                if error.code in ("NoSuchKey", "404"):
                    return None
                raise
            return body.read_bytes()
