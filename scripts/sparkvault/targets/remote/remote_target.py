"""What targets in an account share: jobs are on record in the job bucket, their output is in a log stream each."""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import ClassVar

from spark_constructs.config import Deployment
from sparkvault.account import Account
from sparkvault.errors import WaitTimeout
from sparkvault.jobs import JobRecord
from sparkvault.targets.remote import log_stream
from sparkvault.targets.remote.job_bucket import JobBucket

#: How often a job's record is read while its output is followed, in seconds.
RECORD_SECONDS = 2.0


class RemoteTarget(ABC):
    """The part of `protocol.Target` that does not depend on what runs the jobs."""

    name: ClassVar[str]

    def __init__(self, deployment: Deployment, account: Account | None = None) -> None:
        self._deployment = deployment
        self._given = account

    @cached_property
    def _account(self) -> Account:
        """Asked for when it is needed: flags are checked without credentials."""
        return self._given or Account(self._deployment)

    @cached_property
    def _bucket(self) -> JobBucket:
        return JobBucket(self._account, self._deployment.cluster, self.name)

    @property
    @abstractmethod
    def _log_group(self) -> str:
        """The log group of the jobs' streams."""

    @abstractmethod
    def _stream(self, record: JobRecord) -> str:
        """The log stream of a job."""

    @abstractmethod
    def job(self, job_id: str) -> JobRecord:
        """The record of one job, up to date."""

    def follow(self, job_id: str) -> Iterator[str]:
        """What the job's stream says, line by line without line ends, from its start until the job has ended."""
        record = self._bucket.read(job_id)
        ended, next_look = False, 0.0

        def has_ended() -> bool:
            nonlocal ended, next_look
            if not ended and time.monotonic() >= next_look:
                ended = self.job(job_id).state.ended
                next_look = time.monotonic() + RECORD_SECONDS
            return ended

        logs = self._account.client("logs")
        yield from log_stream.follow(logs, self._log_group, self._stream(record), has_ended)

    def _wait(self, job_id: str, seconds: float, what: str, done: Callable[[JobRecord], bool]) -> JobRecord:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            record = self.job(job_id)
            if done(record):
                return record
            time.sleep(1)
        raise WaitTimeout(f"job {job_id} {what}", seconds, f"`sparkvault jobs {job_id} --target {self.name}` shows it")
