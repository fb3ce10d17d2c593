"""Brings third-party archives into the job bucket, by their pinned SHA-512, before hosts that install them boot."""

import hashlib
import tempfile
import urllib.request
from pathlib import Path
from typing import Any

from boto3.exceptions import S3UploadFailedError
from botocore.exceptions import ClientError

from spark_constructs.naming import bucket_name
from spark_constructs.yarn_archives import Archive, archives
from sparkvault.account import Account
from sparkvault.console import Progress
from sparkvault.errors import SparkvaultError

_PIECE = 1 << 20
_SECONDS = 60


def put_archives(account: Account, progress: Progress) -> list[str]:
    """Fetch and upload what is not in the bucket yet; the keys that were put. Nothing for targets without archives.

    Raises SparkvaultError where an archive cannot be fetched or is not the pinned one.
    """
    deployment = account.deployment
    if "yarn" not in deployment.targets:
        return []
    s3 = account.client("s3")
    bucket = bucket_name(deployment.cluster, "jobs", account.id, account.region)
    put = []
    for archive in archives(deployment).values():
        if _is_there(s3, bucket, archive.key):
            continue
        with tempfile.TemporaryDirectory(prefix="sparkvault-") as folder:
            file = Path(folder) / archive.name
            progress(f"fetching {archive.url}")
            fetch(archive, file)
            progress(f"uploading {archive.name}")
            try:
                s3.upload_file(str(file), bucket, archive.key)
            except (ClientError, S3UploadFailedError) as error:
                raise SparkvaultError(f"{archive.name} cannot be put into bucket {bucket}: {error}") from error
        put.append(archive.key)
    return put


def fetch(archive: Archive, file: Path) -> None:
    """The archive in that file, if it is the pinned one. Raises SparkvaultError."""
    digest = hashlib.sha512()
    try:
        # By https alone: the configuration takes no other address.
        with urllib.request.urlopen(archive.url, timeout=_SECONDS) as answer, file.open("wb") as copy:  # noqa: S310
            while piece := answer.read(_PIECE):
                digest.update(piece)
                copy.write(piece)
    except OSError as error:
        raise SparkvaultError(
            f"{archive.url} cannot be fetched: {error}", "name another `mirror` for it in the configuration"
        ) from error
    if digest.hexdigest() != archive.sha512:
        file.unlink()
        raise SparkvaultError(
            f"{archive.url} has the SHA-512 {digest.hexdigest()}, but {archive.sha512} is pinned",
            "do not use it; check the pin against its maker's signature",
        )


def _is_there(s3: Any, bucket: str, key: str) -> bool:
    try:
        s3.head_object(Bucket=bucket, Key=key)
    except ClientError as error:
        if error.response["Error"]["Code"] in ("404", "NoSuchKey", "NotFound"):
            return False
        raise SparkvaultError(f"bucket {bucket} cannot be read: {error}", "use a role that may deploy") from error
    return True
