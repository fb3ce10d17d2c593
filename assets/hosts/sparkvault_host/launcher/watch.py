"""Looks after the jobs that run: ships their output, keeps their records, and cleans up when they have ended.

A loop over what the swarm has, with no memory that matters: it may be killed at any moment and goes on from what is in
the swarm, the log stream and the bucket. It works on the leading manager alone.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field
from typing import Any, Callable

from sparkvault_host.aws_cli import AwsError, aws
from sparkvault_host.engine_api import EngineApi, EngineError
from sparkvault_host.identity import HostIdentity
from sparkvault_host.launcher import event_logs, start
from sparkvault_host.launcher.bucket import JobBucket
from sparkvault_host.launcher.errors import LauncherError
from sparkvault_host.launcher.job_service import CANCEL_LABEL, JOB_LABEL, KIND_LABEL, SUPERVISE_LABEL
from sparkvault_host.launcher.log_stream import LogStream
from sparkvault_host.launcher.outcome import Outcome, outcome
from sparkvault_host.launcher.service_log import Line, read_log

#: Pause between two looks, in seconds, with jobs and without any.
BUSY_SECONDS = 1.0
IDLE_SECONDS = 2.0

#: How long a node may be silent before its driver counts as lost, in seconds: engines restart.
LOST_AFTER_SECONDS = 90.0

#: How often an event log is tried to be copied.
PUBLISH_ATTEMPTS = 5

#: Label of nodes with their instance's id, which the agent sets.
INSTANCE_LABEL = "sparkvault.instance"


@dataclass
class Watched:
    """What the watch remembers of one job, none of which it could not find out again."""

    stream: LogStream
    shipped: int = 0
    """Time of the last line that was shipped, in nanoseconds since 1970."""
    recorded: str = ""
    attempts: int = 0
    """How often its event log could not be copied."""
    seen: dict[str, Any] = field(default_factory=dict)


class Watch:
    """The loop's one step, ``look``, for tests to call."""

    def __init__(self, identity: HostIdentity, engine: EngineApi, clock: Callable[[], float] = time.monotonic) -> None:
        self._identity = identity
        self._engine = engine
        self._bucket = JobBucket(identity.job_bucket)
        self._clock = clock
        self._jobs: dict[str, Watched] = {}
        self._down_since: dict[str, float] = {}

    def look(self) -> int:
        """Bring every job up to date; returns how many there are. Raises EngineError, AwsError."""
        if not self._leads():
            self._jobs.clear()
            return 0
        services = self._engine.get("/services", filters={"label": [JOB_LABEL]}) or []
        down = self._nodes_down() if services else frozenset()
        for service in services:
            try:
                self._job(service, down)
            except (AwsError, EngineError, LauncherError) as error:
                # One job's trouble is not another's; the next look tries again.
                say(f"{service['Spec']['Name']}: {error}")
        there = {service["Spec"]["Labels"][JOB_LABEL] for service in services}
        self._jobs = {job: watched for job, watched in self._jobs.items() if job in there}
        return len(services)

    def _job(self, service: dict[str, Any], down: frozenset[str]) -> None:
        labels, name = service["Spec"]["Labels"], service["Spec"]["Name"]
        job_id = labels[JOB_LABEL]
        watched = self._jobs.get(job_id)
        if watched is None:
            watched = self._jobs[job_id] = self._begin(job_id)
        tasks = self._engine.get("/tasks", filters={"service": [name]}) or []
        # The tasks first, then the output: what an ended driver wrote is all there.
        found = outcome(tasks, supervise=labels.get(SUPERVISE_LABEL) == "true", down=down)
        if labels.get(CANCEL_LABEL) and not found.ended:
            found = Outcome("cancelled", message="cancelled", node=found.node)
        if labels.get(KIND_LABEL) != "shell":
            self._ship(name, watched, found)
        if found.ended:
            self._finish(service["ID"], job_id, watched, found)
        elif watched.recorded != found.state or watched.seen.get("host") != self._instance(found.node):
            self._record(job_id, watched, found)

    def _begin(self, job_id: str) -> Watched:
        """Go on after the last line that is in the stream already."""
        stream = LogStream(self._identity.log_group, job_id)
        query = ("--log-group-name", self._identity.log_group, "--log-stream-name-prefix", f"jobs/{job_id}")
        streams = (aws("logs", "describe-log-streams", *query) or {}).get("logStreams", [])
        shipped = max((int(one.get("lastEventTimestamp") or 0) for one in streams), default=0)
        # CloudWatch keeps milliseconds: the rest of that millisecond counts as shipped.
        return Watched(stream, shipped=shipped * 10**6 + 999_999 if shipped else 0)

    def _ship(self, name: str, watched: Watched, found: Outcome) -> None:
        if found.state == "submitted":
            return
        try:
            lines: list[Line] = read_log(self._engine, name, watched.shipped)
        except EngineError as error:
            # A host that is gone takes its output along; the job's end is recorded all the same.
            if not found.ended:
                raise
            say(f"{name}: the rest of its output is lost: {error}")
            return
        if lines:
            watched.stream.write(lines)
            watched.shipped = lines[-1].at

    def _finish(self, service_id: str, job_id: str, watched: Watched, found: Outcome) -> None:
        """Record first, then remove: killed in between, the next look does it again."""
        self._record(job_id, watched, found)
        self._publish(job_id, watched)
        try:
            self._engine.delete(f"/services/{service_id}")
        except EngineError as error:
            if error.status != 404:
                raise
        start.remove_belongings(job_id, self._engine)

    def _publish(self, job_id: str, watched: Watched) -> None:
        """Its event log, for the history server; a job's end does not wait for it for ever. Raises AwsError."""
        try:
            event_logs.publish(self._identity.job_bucket, job_id)
        except AwsError as error:
            watched.attempts += 1
            if watched.attempts < PUBLISH_ATTEMPTS:
                raise
            say(f"job {job_id}: the history server will not know it: {error}")

    def _record(self, job_id: str, watched: Watched, found: Outcome) -> None:
        record = self._bucket.record(job_id) or {}
        if "spec" not in record:
            say(f"job {job_id} has no record that could be kept up to date")
            watched.recorded = found.state
            return
        host = self._instance(found.node)
        record.update(state=found.state, exit_code=found.exit_code, message=found.message, host=host)
        if found.state == "running" and not record.get("started_at"):
            record["started_at"] = found.started_at or start.now()
        if found.ended:
            record["finished_at"] = start.now()
            record["started_at"] = record.get("started_at") or record["finished_at"]
        self._bucket.write_record(job_id, record)
        watched.recorded, watched.seen = found.state, {"host": host}

    def _instance(self, node: Any) -> Any:
        return self._instances.get(node) if node else None

    def _leads(self) -> bool:
        """Whether this manager is the one that acts: exactly one does."""
        info = self._engine.get("/info")["Swarm"]
        if info.get("LocalNodeState") != "active" or not info.get("ControlAvailable"):
            return False
        own = self._engine.get(f"/nodes/{info['NodeID']}")
        return bool((own.get("ManagerStatus") or {}).get("Leader"))

    def _nodes_down(self) -> frozenset[str]:
        nodes = self._engine.get("/nodes") or []
        now = self._clock()
        self._instances = {node["ID"]: node["Spec"].get("Labels", {}).get(INSTANCE_LABEL) for node in nodes}
        down = {node["ID"] for node in nodes if node["Status"]["State"] == "down"}
        self._down_since = {node: self._down_since.get(node, now) for node in down}
        return frozenset(node for node, since in self._down_since.items() if now - since >= LOST_AFTER_SECONDS)

    _instances: dict[str, Any] = {}


def run(identity: HostIdentity, engine: EngineApi) -> None:
    """For ever."""
    watch = Watch(identity, engine)
    while True:
        try:
            pause = BUSY_SECONDS if watch.look() else IDLE_SECONDS
        except (AwsError, EngineError) as error:
            say(str(error))
            pause = IDLE_SECONDS
        time.sleep(pause)


def say(text: str) -> None:
    """A line for the journal."""
    print(text, file=sys.stderr, flush=True)
