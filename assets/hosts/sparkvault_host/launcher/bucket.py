"""What a job has in the job bucket: its specification, which is read, and its record, which is written."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from sparkvault_host.aws_cli import AwsError, aws
from sparkvault_host.launcher.errors import LauncherError
from sparkvault_host.launcher.specification import MAX_BYTES


class JobBucket:
    """``jobs/<id>/`` in the bucket, reached with the host's own role. Methods raise AwsError, LauncherError."""

    def __init__(self, bucket: str) -> None:
        self.name = bucket

    def specification(self, job_id: str) -> bytes:
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

    def write_record(self, job_id: str, record: dict[str, Any]) -> None:
        """Replace ``record.json``; S3 shows the old one or the new one, nothing between."""
        with tempfile.TemporaryDirectory(prefix="sparkvault-") as folder:
            body = Path(folder) / "record.json"
            body.write_text(json.dumps(record), encoding="utf-8")
            aws(
                "s3api", "put-object", "--bucket", self.name, "--key", f"jobs/{job_id}/record.json", "--body", str(body)
            )

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
