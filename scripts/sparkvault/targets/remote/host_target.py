"""What targets on our own hosts share: a document with a job's id starts it there, its record says the rest."""

import json
import time
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

from spark_constructs.config import Deployment
from spark_constructs.naming import log_group_name
from sparkvault.account import Account
from sparkvault.errors import SparkvaultError, WaitTimeout
from sparkvault.jobs import JobRecord, JobState, checked_job_id
from sparkvault.targets.remote import log_stream
from sparkvault.targets.remote.documents import DeniedError, Documents, LauncherFailedError
from sparkvault.targets.remote.host_groups import HostGroups
from sparkvault.targets.remote.job_bucket import JobBucket
from sparkvault.targets.remote.submission import Submission

#: How often a job's record is read while its output is followed, in seconds.
RECORD_SECONDS = 2.0


class HostTarget:
    """The part of `protocol.Target` that does not depend on what the hosts run."""

    name: ClassVar[str]
    #: How long a cancelled job may take to end, in seconds.
    cancel_seconds: ClassVar[float]
    #: Who says how the cluster is, for a report that cannot be read.
    reporter: ClassVar[str]

    def __init__(self, deployment: Deployment, account: Account | None = None) -> None:
        self._deployment = deployment
        self._given = account

    @property
    def _account(self) -> Account:
        """Asked for when it is needed: flags are checked without credentials."""
        if self._given is None:
            self._given = Account(self._deployment)
        return self._given

    @property
    def _bucket(self) -> JobBucket:
        return JobBucket(self._account, self._deployment.cluster, target=self.name, tagged=True)

    @property
    def _documents(self) -> Documents:
        return Documents(self._account, self._deployment.cluster)

    @property
    def _groups(self) -> HostGroups:
        return HostGroups(self._account, self._deployment)

    @property
    def _log_group(self) -> str:
        return log_group_name(self._deployment.cluster, self.name)

    def _start(self, submission: Submission) -> JobRecord:
        job_id = submission.spec.id
        bucket = self._bucket
        bucket.upload(submission)
        try:
            self._documents.run(f"job.{submission.spec.tenant}.submit", job_id)
        except LauncherFailedError as error:
            # Any other end leaves open whether the job will start; its record then says what the hosts know.
            record = bucket.read(job_id)
            if not record.state.ended:
                bucket.write(record.model_copy(update={"state": JobState.FAILED, "message": error.what}))
            raise
        return bucket.read(job_id)

    def follow(self, job_id: str) -> Iterator[str]:
        """What the job's stream says, line by line without line ends, from its start until the job has ended."""
        bucket = self._bucket
        bucket.read(job_id)
        ended, next_look = False, 0.0

        def has_ended() -> bool:
            nonlocal ended, next_look
            if not ended and time.monotonic() >= next_look:
                ended = bucket.read(job_id).state.ended
                next_look = time.monotonic() + RECORD_SECONDS
            return ended

        yield from log_stream.follow(
            self._account.client("logs"), self._log_group, log_stream.job_stream(job_id), has_ended
        )

    def jobs(self) -> list[JobRecord]:
        """The newest jobs of this target that are on record, newest first."""
        return self._bucket.all(self.name)

    def job(self, job_id: str) -> JobRecord:
        """The record of one job; the hosts keep it up to date."""
        return self._bucket.read(job_id)

    def cancel(self, job_id: str) -> JobRecord:
        """End a job and wait until it has ended; one that has ended already is left as it is."""
        bucket = self._bucket
        record = bucket.read(checked_job_id(job_id))
        if record.state.ended:
            return record
        if self._documents.run(f"job.{record.spec.tenant}.cancel", job_id).strip() == "not running":
            record = bucket.read(job_id)
            if not record.state.ended:
                record = record.model_copy(update={"state": JobState.CANCELLED, "message": "cancelled"})
                bucket.write(record)
            return record
        return self._wait(job_id, self.cancel_seconds, "to end", lambda one: one.state.ended)

    def _wait(self, job_id: str, seconds: float, what: str, done: Callable[[JobRecord], bool]) -> JobRecord:
        deadline = time.monotonic() + seconds
        bucket = self._bucket
        while time.monotonic() < deadline:
            record = bucket.read(job_id)
            if done(record):
                return record
            time.sleep(1)
        raise WaitTimeout(f"job {job_id} {what}", seconds, f"`sparkvault jobs {job_id} --target {self.name}` shows it")

    def _report(self) -> dict[str, Any]:
        documents = self._documents
        try:
            text = documents.run("host.status")
        except DeniedError:
            text = documents.run("view.status")
        try:
            report: dict[str, Any] = json.loads(text)
        except ValueError as error:
            raise SparkvaultError(f"the {self.reporter} report is cut or not JSON") from error
        return report
