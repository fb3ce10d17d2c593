"""Target `swarm`: jobs go into the bucket, a document with their id starts them, CloudWatch shows their output."""

from collections.abc import Iterator
from typing import Any

from spark_constructs.job_interface import DAEMON_UI_PORTS
from sparkvault.console import say
from sparkvault.enclave_reports import enclave_components
from sparkvault.errors import NotAvailable, SparkvaultError, UsageError
from sparkvault.jobs import JobRecord, JobSpec, JobState, is_job_id, new_job_id
from sparkvault.targets.interruption import interruptible, uninterrupted
from sparkvault.targets.protocol import ClusterStatus, Component, Language, UiName
from sparkvault.targets.remote import log_stream
from sparkvault.targets.remote.documents import Documents
from sparkvault.targets.remote.host_target import HostTarget
from sparkvault.targets.remote.sessions import Sessions
from sparkvault.targets.remote.submission import check, check_shell
from sparkvault.targets.remote.terminal_session import find_plugin

#: How long a shell's container may take to start (an image may have to be pulled), and a cancelled job to end.
SHELL_SECONDS = 300.0
CANCEL_SECONDS = 120.0


class SwarmTarget(HostTarget):
    """Implements `protocol.Target`."""

    name = "swarm"
    cancel_seconds = CANCEL_SECONDS
    reporter = "managers'"

    def submit(self, spec: JobSpec) -> JobRecord:
        """Start the job and return with its first record.

        Raises UsageError for an application or flag that cannot be, SparkvaultError with what the launcher said.
        """
        return self._start(check(spec))

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
        with interruptible():
            self._start(check_shell(spec, language))
            say(f"shell {spec.id} is starting on {self.name}")
            try:
                record = self._wait(
                    spec.id,
                    SHELL_SECONDS,
                    "to start",
                    lambda one: one.state.ended or (one.host is not None and _runs(one)),
                )
                if record.state.ended or record.host is None:
                    raise SparkvaultError(f"shell {spec.id} {record.state}: {record.message or 'it said nothing'}")
                document = self._documents.name(f"job.{spec.tenant}.shell")
                return Sessions(self._account).terminal(record.host, document, {"job": [spec.id]})
            finally:
                with uninterrupted():
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
        components = self._groups.components()
        hosts = sum(component.kind == "host" for component in components)
        if self._deployment.enclaves.enabled and self._deployment.enclaves.image:
            workers = self._groups.workers()
            components += enclave_components(self._account, self.name, workers)
        try:
            report = self._report()
        except SparkvaultError as error:
            components.append(Component("swarm", "swarm", "unknown", False, error.what))
        else:
            components += _swarm_components(report)
        healthy = all(component.healthy for component in components)
        return ClusterStatus(self.name, f"{hosts} hosts", healthy, components)

    def scale(self, workers: int) -> ClusterStatus:
        """Bring the cluster to that many workers; those that go are drained by their host's agent first."""
        self._groups.scale(workers, say)
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
