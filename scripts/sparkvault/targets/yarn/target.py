"""Target `yarn`: jobs go into the bucket, a document with their id starts them on the master, as their tenant."""

import json
import time
from collections.abc import Iterator
from typing import Any

from spark_constructs.config import Deployment
from spark_constructs.naming import log_group_name
from spark_constructs.yarn_settings import YARN_FAMILY
from sparkvault.account import Account
from sparkvault.console import say
from sparkvault.errors import NotAvailable, SparkvaultError, UsageError, WaitTimeout
from sparkvault.jobs import JobRecord, JobSpec, JobState, checked_job_id, is_job_id
from sparkvault.targets.protocol import ClusterStatus, Component, Language, UiName
from sparkvault.targets.remote import log_stream
from sparkvault.targets.remote.job_bucket import JobBucket
from sparkvault.targets.remote.submission import check
from sparkvault.targets.swarm.documents import DeniedError, Documents, LauncherFailedError
from sparkvault.targets.swarm.groups import HostGroups

#: How often a job's record is read while its output is followed, in seconds.
RECORD_SECONDS = 2.0

#: How long a cancelled job may take to end: YARN is asked, then its client is.
CANCEL_SECONDS = 240.0

#: What YARN's side can run: a driver without a terminal, in a container of the cluster.
_KINDS = ("python", "jar")


class YarnTarget:
    """Implements `protocol.Target`; there are no shells and web UIs, as nothing connects to containers from outside."""

    name = "yarn"

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
        return Documents(self._account, self._deployment.cluster, family=YARN_FAMILY, group="yarn-masters")

    @property
    def _groups(self) -> HostGroups:
        return HostGroups(self._account, self._deployment, target=self.name, kinds=("yarn-masters", "yarn-nodes"))

    @property
    def _log_group(self) -> str:
        return log_group_name(self._deployment.cluster, "yarn")

    def submit(self, spec: JobSpec) -> JobRecord:
        """Start the job and return with its first record.

        Raises UsageError for an application or flag that cannot be, SparkvaultError with what the launcher said.
        """
        if spec.supervise:
            raise UsageError("--supervise is not for YARN, which starts a driver again by itself", "leave it out")
        submission = check(spec)
        if submission.kind not in _KINDS:
            raise UsageError(
                f"{spec.application}: YARN runs applications of the kinds {' and '.join(_KINDS)}",
                "use --target swarm for .scala and .sql, or call spark.sql(…) in a .py",
            )
        bucket = self._bucket
        bucket.upload(submission)
        try:
            self._documents.run(f"job.{spec.tenant}.submit", spec.id)
        except LauncherFailedError as error:
            # Any other end leaves open whether the job will start; its record then says what the master knows.
            record = bucket.read(spec.id)
            if not record.state.ended:
                bucket.write(record.model_copy(update={"state": JobState.FAILED, "message": error.what}))
            raise
        return bucket.read(spec.id)

    def follow(self, job_id: str) -> Iterator[str]:
        """What YARN says of the job as it comes, and what its driver printed, at its end."""
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

    def job(self, job_id: str) -> JobRecord:
        """The record of one job; the master keeps it up to date."""
        return self._bucket.read(job_id)

    def jobs(self) -> list[JobRecord]:
        """The newest jobs of this target that are on record, newest first."""
        return [record for record in self._bucket.all() if record.spec.target == self.name]

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
        deadline = time.monotonic() + CANCEL_SECONDS
        while time.monotonic() < deadline:
            record = bucket.read(job_id)
            if record.state.ended:
                return record
            time.sleep(1)
        raise WaitTimeout(f"job {job_id} to end", CANCEL_SECONDS, f"`sparkvault jobs {job_id} --target yarn` shows it")

    def logs(self, component: str | None, *, follow: bool, lines: int) -> Iterator[str]:
        """The last lines of a stream of the cluster's log group: a job by its id, a host by its stream."""
        if component is None:
            raise UsageError("which log?", "give a job's id, or a stream such as boot/INSTANCE")
        if follow:
            raise UsageError("streams other than a job's are not followed", "give a job's id, or leave out --follow")
        stream = log_stream.job_stream(component) if is_job_id(component) else component
        yield from log_stream.last_lines(self._account.client("logs"), self._log_group, stream, lines)

    def shell(self, language: Language, spark_arguments: list[str], tenant: str) -> int:
        """There is none: a shell's driver would run outside of the cluster's containers."""
        raise NotAvailable(
            "YARN has no shells: a shell's driver would run outside of the enforced containers",
            "use --target swarm or fargate for one",
        )

    def ui(self, which: UiName) -> str:
        """There is none: Hadoop's pages ask for a ticket, and are for the master's own loopback."""
        raise NotAvailable(
            f"YARN's cluster forwards no page ({which}): they ask for a Kerberos ticket",
            "`sparkvault status` and `sparkvault jobs` show what there is",
        )

    def status(self) -> ClusterStatus:
        """Groups, hosts and NodeManagers: what is there against what should be."""
        components = self._groups.components()
        hosts = sum(component.kind == "host" for component in components)
        try:
            report = self._report()
        except SparkvaultError as error:
            components.append(Component("resourcemanager", "master", "unknown", False, error.what))
        else:
            nodes = report["nodes"]
            components.append(
                Component("resourcemanager", "master", "answers", True, f"tenants: {', '.join(report['tenants'])}")
            )
            components += [
                Component(
                    node["host"],
                    "node",
                    node["state"].lower(),
                    node["state"] == "RUNNING",
                    f"{node['containers']} containers",
                )
                for node in nodes
                # Those that have gone stay listed for a while; they are history, not illness.
                if node["state"] not in ("DECOMMISSIONED", "SHUTDOWN")
            ]
        healthy = all(component.healthy for component in components)
        return ClusterStatus(self.name, f"{hosts} hosts", healthy, components)

    def _report(self) -> dict[str, Any]:
        documents = self._documents
        try:
            text = documents.run("host.status")
        except DeniedError:
            text = documents.run("view.status")
        try:
            report: dict[str, Any] = json.loads(text)
        except ValueError as error:
            raise SparkvaultError("the master's report is cut or not JSON") from error
        return report

    def scale(self, workers: int) -> ClusterStatus:
        """Bring the cluster to that many nodes; those that go stop their NodeManager first."""
        self._groups.scale(workers, say)
        return self.status()
