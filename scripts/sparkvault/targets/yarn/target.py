"""Target `yarn`: jobs go into the bucket, a document with their id starts them on the master, as their tenant."""

from collections.abc import Iterator

from spark_constructs.yarn_settings import YARN_FAMILY
from sparkvault.console import say
from sparkvault.errors import NotAvailable, SparkvaultError, UsageError
from sparkvault.jobs import JobRecord, JobSpec, is_job_id
from sparkvault.targets.protocol import ClusterStatus, Component, Language, UiName
from sparkvault.targets.remote import log_stream
from sparkvault.targets.remote.documents import Documents
from sparkvault.targets.remote.host_groups import HostGroups
from sparkvault.targets.remote.host_target import HostTarget
from sparkvault.targets.remote.submission import check

#: How long a cancelled job may take to end: YARN is asked, then its client is.
CANCEL_SECONDS = 240.0

#: What YARN's side can run: a driver without a terminal, in a container of the cluster.
_KINDS = ("python", "jar")


class YarnTarget(HostTarget):
    """Implements `protocol.Target`; there are no shells and web UIs, as nothing connects to containers from outside."""

    name = "yarn"
    cancel_seconds = CANCEL_SECONDS
    reporter = "master's"

    @property
    def _documents(self) -> Documents:
        return Documents(self._account, self._deployment.cluster, family=YARN_FAMILY, group="yarn-masters")

    @property
    def _groups(self) -> HostGroups:
        return HostGroups(self._account, self._deployment, target=self.name, kinds=("yarn-masters", "yarn-nodes"))

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
        return self._start(submission)

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

    def scale(self, workers: int) -> ClusterStatus:
        """Bring the cluster to that many nodes; those that go stop their NodeManager first."""
        self._groups.scale(workers, say)
        return self.status()
