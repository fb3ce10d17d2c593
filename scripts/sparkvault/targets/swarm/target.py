"""Target `swarm`: jobs go into the bucket, a document with their id starts them, CloudWatch shows their output."""

import json
import time
from collections.abc import Iterator
from typing import Any

from spark_constructs.config import Deployment
from spark_constructs.job_interface import DAEMON_UI_PORTS
from spark_constructs.naming import log_group_name
from sparkvault.account import Account
from sparkvault.console import say
from sparkvault.enclave_reports import enclave_components
from sparkvault.errors import NotAvailable, SparkvaultError, UsageError, WaitTimeout
from sparkvault.jobs import JobRecord, JobSpec, JobState, checked_job_id, is_job_id, new_job_id
from sparkvault.targets.protocol import ClusterStatus, Component, Language, UiName
from sparkvault.targets.remote import log_stream
from sparkvault.targets.remote.job_bucket import JobBucket
from sparkvault.targets.remote.sessions import Sessions
from sparkvault.targets.remote.submission import Submission, check, check_shell
from sparkvault.targets.remote.terminal_session import find_plugin
from sparkvault.targets.swarm.documents import DeniedError, Documents, LauncherFailedError
from sparkvault.targets.swarm.groups import HostGroups

#: How often a job's record is read while its output is followed, in seconds.
RECORD_SECONDS = 2.0

#: How long a shell's container may take to start (an image may have to be pulled), and a cancelled job to end.
SHELL_SECONDS = 300.0
CANCEL_SECONDS = 120.0


class SwarmTarget:
    """Implements `protocol.Target`."""

    name = "swarm"

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
        return JobBucket(self._account, self._deployment.cluster, tagged=True)

    @property
    def _documents(self) -> Documents:
        return Documents(self._account, self._deployment.cluster)

    @property
    def _log_group(self) -> str:
        return log_group_name(self._deployment.cluster, "swarm")

    def submit(self, spec: JobSpec) -> JobRecord:
        """Start the job and return with its first record.

        Raises UsageError for an application or flag that cannot be, SparkvaultError with what the launcher said.
        """
        return self._start(check(spec))

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
        """The driver's output, line by line without line ends, from its start until the job has ended."""
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
        """The record of one job; the hosts keep it up to date."""
        return self._bucket.read(job_id)

    def jobs(self) -> list[JobRecord]:
        """The newest jobs that are on record, newest first."""
        return self._bucket.all()

    def cancel(self, job_id: str) -> JobRecord:
        """End a job and wait until it has ended; one that has ended already is left as it is."""
        record = self._bucket.read(checked_job_id(job_id))
        if record.state.ended:
            return record
        if self._documents.run(f"job.{record.spec.tenant}.cancel", job_id).strip() == "not running":
            record = self._bucket.read(job_id)
            if not record.state.ended:
                record = record.model_copy(update={"state": JobState.CANCELLED, "message": "cancelled"})
                self._bucket.write(record)
            return record
        return self._wait(job_id, CANCEL_SECONDS, "to end", lambda one: one.state.ended)

    def logs(self, component: str | None, *, follow: bool, lines: int) -> Iterator[str]:
        """The last lines of a stream of the cluster's log group: a job by its id, a host or container by its stream."""
        logs = self._account.client("logs")
        if component is None:
            component = self._newest_stream(logs)
        stream = log_stream.job_stream(component) if is_job_id(component) else component
        yield from log_stream.last_lines(logs, self._log_group, stream, lines)
        if follow:
            raise UsageError("streams other than a job's are not followed", "give a job's id, or leave out --follow")

    def shell(self, language: Language, spark_arguments: list[str], tenant: str) -> int:
        """An interactive shell on this terminal, in a container of its own in the cluster; returns its exit code."""
        find_plugin()
        spec = JobSpec(
            id=new_job_id(),
            target=self.name,
            tenant=tenant,
            application=f"{language} shell",
            spark_arguments=spark_arguments,
        )
        self._start(check_shell(spec, language))
        say(f"shell {spec.id} is starting on {self.name}")
        record = self._wait(
            spec.id, SHELL_SECONDS, "to start", lambda one: one.state.ended or (one.host is not None and _runs(one))
        )
        if record.state.ended or record.host is None:
            raise SparkvaultError(f"shell {spec.id} {record.state}: {record.message or 'it said nothing'}")
        try:
            document = self._documents.name(f"job.{spec.tenant}.shell")
            return Sessions(self._account).terminal(record.host, document, {"job": [spec.id]})
        finally:
            self.cancel(spec.id)

    def ui(self, which: UiName) -> str:
        """Address on this machine at which that web UI can be opened, as long as the forwarding process lives."""
        documents = self._documents
        port = self._driver_port(documents) if which == "driver" else DAEMON_UI_PORTS[which]
        local, process = Sessions(self._account).forward(documents.managers()[0], documents.name("view.port"), port)
        say(f"forwarded by process {process.pid}; end it with `kill {process.pid}`")
        return f"http://localhost:{local}"

    def _driver_port(self, documents: Documents) -> int:
        running = [record for record in self.jobs() if record.state is JobState.RUNNING]
        if not running:
            raise NotAvailable("no job is running", "`sparkvault ui history` shows those that have ended")
        newest = running[0]
        return int(documents.run(f"job.{newest.spec.tenant}.driver-ui", newest.id).strip())

    def status(self) -> ClusterStatus:
        """Groups, hosts, nodes of the swarm, services and Spark's workers: what is there against what should be."""
        components = HostGroups(self._account, self._deployment).components()
        hosts = sum(component.kind == "host" for component in components)
        if self._deployment.enclaves.enabled and self._deployment.enclaves.image:
            workers = HostGroups(self._account, self._deployment).workers()
            components += enclave_components(self._account, self.name, workers)
        try:
            report = self._report()
        except SparkvaultError as error:
            components.append(Component("swarm", "swarm", "unknown", False, error.what))
        else:
            components += _swarm_components(report)
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
            raise SparkvaultError("the managers' report is cut or not JSON") from error
        return report

    def scale(self, workers: int) -> ClusterStatus:
        """Bring the cluster to that many workers; those that go are drained by their host's agent first."""
        HostGroups(self._account, self._deployment).scale(workers, say)
        return self.status()

    def rotate(self) -> str:
        """New join tokens and a new RPC secret; returns what was done."""
        return self._documents.run("host.rotate").strip()

    def _newest_stream(self, logs: Any) -> str:
        found = logs.describe_log_streams(
            logGroupName=self._log_group, orderBy="LastEventTime", descending=True, limit=1
        )["logStreams"]
        if not found:
            raise NotAvailable(f"log group {self._log_group} is empty", "wait until a host has booted")
        return str(found[0]["logStreamName"])

    def _wait(self, job_id: str, seconds: float, what: str, done: Any) -> JobRecord:
        deadline = time.monotonic() + seconds
        bucket = self._bucket
        while time.monotonic() < deadline:
            record = bucket.read(job_id)
            if done(record):
                return record
            time.sleep(1)
        raise WaitTimeout(f"job {job_id} {what}", seconds, f"`sparkvault jobs {job_id} --target swarm` shows it")


def _runs(record: JobRecord) -> bool:
    return record.state is JobState.RUNNING


def _swarm_components(report: dict[str, Any]) -> list[Component]:
    components = []
    for node in report["nodes"]:
        healthy = node["state"] == "ready" and node["availability"] == "active" and node["verified"]
        leader = ", leads" if node["leader"] else ""
        verified = "" if node["verified"] else ", not verified"
        components.append(
            Component(
                node["instance"] or "unknown host",
                "node",
                f"{node['state']}, {node['availability']}{verified}",
                healthy,
                f"{node['role']}{leader}",
                node["address"],
            )
        )
    for service in report["services"]:
        running, wanted = service["running"], service["wanted"]
        components.append(Component(service["name"], "service", f"{running} of {wanted} running", running >= wanted))
    spark = report.get("spark")
    if spark is None:
        components.append(
            Component(
                "spark", "master", "unreachable", False, report.get("spark_error") or "the master does not answer"
            )
        )
        return components
    components.append(
        Component(
            "spark",
            "master",
            str(spark["status"]).lower(),
            spark["status"] == "ALIVE",
            f"{spark['cores_used']} of {spark['cores']} cores in use by {spark['applications']} applications",
        )
    )
    # Workers that have gone stay listed for a while; they are history, not illness.
    components += [
        Component(
            worker["host"],
            "worker",
            str(worker["state"]).lower(),
            True,
            f"{worker['coresused']} of {worker['cores']} cores, {worker['memoryused']} of {worker['memory']} MiB",
        )
        for worker in spark["workers"]
        if worker["state"] != "DEAD"
    ]
    return components
