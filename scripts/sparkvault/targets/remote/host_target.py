"""What targets on our own hosts share: a document with a job's id starts it there, its record says the rest."""

import json
from typing import Any, ClassVar

from spark_constructs.naming import log_group_name
from sparkvault.console import say
from sparkvault.errors import SparkvaultError
from sparkvault.jobs import JobRecord, JobState, checked_job_id
from sparkvault.targets.interruption import uninterrupted
from sparkvault.targets.remote import log_stream
from sparkvault.targets.remote.documents import (
    BOOT_SECONDS,
    DeniedError,
    Documents,
    LauncherFailedError,
    NotReadyError,
)
from sparkvault.targets.remote.host_groups import HostGroups
from sparkvault.targets.remote.remote_target import RemoteTarget
from sparkvault.targets.remote.submission import Submission


class HostTarget(RemoteTarget):
    """The part of `protocol.Target` that does not depend on what the hosts run."""

    #: How long a cancelled job may take to end, in seconds.
    cancel_seconds: ClassVar[float]
    #: Who says how the cluster is, for a report that cannot be read.
    reporter: ClassVar[str]

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
            self._documents.run(f"job.{submission.spec.tenant}.submit", job_id, patience=BOOT_SECONDS)
        except (LauncherFailedError, NotReadyError) as error:
            # Any other end leaves open whether the job will start; its record then says what the hosts know.
            self._ended(job_id, JobState.FAILED, error.what)
            raise
        except KeyboardInterrupt:
            with uninterrupted():
                say(f"cancelling job {job_id}")
                try:
                    self.cancel(job_id)
                except NotReadyError:
                    self._ended(job_id, JobState.CANCELLED, "cancelled")
            raise
        return bucket.read(job_id)

    def _ended(self, job_id: str, state: JobState, message: str) -> JobRecord:
        """The record of a job that runs nowhere; one that says how it ended stays."""
        record = self._bucket.read(job_id)
        if not record.state.ended:
            record = record.model_copy(update={"state": state, "message": message})
            self._bucket.write(record)
        return record

    def _stream(self, record: JobRecord) -> str:
        return log_stream.job_stream(record.id)

    def jobs(self) -> list[JobRecord]:
        """The newest jobs of this target that are on record, newest first."""
        return self._bucket.all()

    def job(self, job_id: str) -> JobRecord:
        """The record of one job; the hosts keep it up to date."""
        return self._bucket.read(job_id)

    def cancel(self, job_id: str) -> JobRecord:
        """End a job and wait until it has ended; one that has ended already is left as it is."""
        record = self._bucket.read(checked_job_id(job_id))
        if record.state.ended:
            return record
        if self._documents.run(f"job.{record.spec.tenant}.cancel", job_id).strip() == "not running":
            return self._ended(job_id, JobState.CANCELLED, "cancelled")
        return self._wait(job_id, self.cancel_seconds, "to end", lambda one: one.state.ended)

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
