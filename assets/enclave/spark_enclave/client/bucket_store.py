"""Sealed chunks as objects of a bucket."""

from __future__ import annotations

from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from spark_enclave.client.result_store import MOST_BYTES, StoreFailed, chunk_name, pack_chunk, unpack_chunk


class BucketStore:
    """An object for each chunk, under a prefix; `client` is boto3's for S3."""

    def __init__(self, client: Any, bucket: str, prefix: str) -> None:
        self._client, self._bucket, self._prefix = client, bucket, prefix.strip("/")

    @classmethod
    def at(cls, where: str) -> BucketStore:
        """For `s3://BUCKET/PREFIX`, with the usual credentials."""
        bucket, _, prefix = where.removeprefix("s3://").partition("/")
        return cls(boto3.client("s3"), bucket, prefix)

    def put(self, index: int, end: bool, sealed: bytes) -> None:
        """One PutObject."""
        try:
            self._client.put_object(Bucket=self._bucket, Key=self._key(index), Body=pack_chunk(end, sealed))
        except (BotoCoreError, ClientError) as error:
            raise self._failed("written", error) from None

    def get(self, index: int) -> tuple[bool, bytes] | None:
        """One GetObject."""
        try:
            answer = self._client.get_object(Bucket=self._bucket, Key=self._key(index))
            return unpack_chunk(answer["Body"].read(MOST_BYTES + 1))
        except self._client.exceptions.NoSuchKey:
            return None
        except (BotoCoreError, ClientError) as error:
            raise self._failed("read", error) from None

    def _key(self, index: int) -> str:
        return f"{self._prefix}/{chunk_name(index)}" if self._prefix else chunk_name(index)

    def _failed(self, what: str, error: Exception) -> StoreFailed:
        return StoreFailed(
            f"s3://{self._bucket}/{self._prefix} cannot be {what}: {type(error).__name__}.",
            "See that your credentials allow it and the bucket is there.",
        )
