"""Looks after the jobs that run: keeps their records, and cleans up when they have ended.

A loop over what the swarm has, with no memory that matters: it may be killed at any moment and goes on from what is in
the swarm and the bucket. It works on the leading manager alone. Output is sent by the host of a job's driver.
"""

from __future__ import annotations

import calendar
import sys
import time
from dataclasses import dataclass, field
from typing import Any, Callable

from sparkvault_host.aws_cli import AwsError
from sparkvault_host.engine_api import EngineApi, EngineError
from sparkvault_host.identity import HostIdentity
from sparkvault_host.launcher import event_logs, start
from sparkvault_host.launcher.bucket import JobBucket
from sparkvault_host.launcher.errors import LauncherError
from sparkvault_host.launcher.job_service import (
    CANCEL_LABEL,
    GRACE_SECONDS,
    JOB_LABEL,
    SUPERVISE_LABEL,
    TENANT_LABEL,
    emptied,
    is_emptied,
    started_again,
)
from sparkvault_host.launcher.outcome import ENDED, Outcome, outcome

#: Pause between two looks, in seconds, with jobs and without any.
BUSY_SECONDS = 1.0
IDLE_SECONDS = 2.0

#: How long a node may be silent before its driver counts as lost, in seconds: engines restart.
LOST_AFTER_SECONDS = 90.0

#: How long a driver that was told to end may stay in the swarm's books, in seconds: its grace, and time to clean up.
ENDING_SECONDS = GRACE_SECONDS + 60.0

#: How often an event log is tried to be copied.
PUBLISH_ATTEMPTS = 5

#: How often records are searched for jobs whose swarm is gone, and how far back, in seconds.
SEARCH_SECONDS, SEARCHED_SECONDS = 300.0, 2 * 86_400.0

#: How old a job is, in seconds, that nobody submits any more: its config and secret go if they have no service.
LEFT_SECONDS = 3600.0

#: How long a job may be on record without a service before it counts as one of those: its submission may be under way.
SUBMISSION_SECONDS = 120.0

#: Label of nodes with their instance's id, which the agent sets.
INSTANCE_LABEL = "sparkvault.instance"

#: What becomes of a job that somebody has ended before its time.
CANCELLED = Outcome("cancelled", message="cancelled")


@dataclass
class Watched:
    """What the watch remembers of one job, none of which it could not find out again."""

    tenant: str
    recorded: str = ""
    attempts: int = 0
    """How often its event log could not be copied."""
    seen: dict[str, Any] = field(default_factory=dict)
    told_to_end: float | None = None
    """When its service was first seen to want nothing to run any more, by the watch's clock."""


class Watch:
    """The loop's one step, ``look``, for tests to call."""

    def __init__(self, identity: HostIdentity, engine: EngineApi, clock: Callable[[], float] = time.monotonic) -> None:
        self._identity = identity
        self._engine = engine
        self._bucket = JobBucket(identity.job_bucket)
        self._clock = clock
        self._jobs: dict[str, Watched] = {}
        self._down_since: dict[str, float] = {}
        self._next_search = float("-inf")
        self._known_ended: set[str] = set()

    def look(self) -> int:
        """Bring every job up to date; returns how many there are. Raises EngineError, AwsError."""
        if not self._leads():
            self._jobs.clear()
            self._next_search = float("-inf")
            return 0
        # Before the services: whoever is cancelled afterwards is still among them.
        cancelled = self._cancelled()
        services = self._engine.get("/services", filters={"label": [JOB_LABEL]}) or []
        down = self._nodes_down() if services else frozenset()
        for service in services:
            try:
                self._job(service, down, cancelled)
            except (AwsError, EngineError, LauncherError) as error:
                # One job's trouble is not another's; the next look tries again.
                say(f"{service['Spec']['Name']}: {error}")
        there = {service["Spec"]["Labels"][JOB_LABEL] for service in services}
        for job_id in cancelled - there:
            # It ended by itself while somebody asked for its end.
            start.remove_belongings(job_id, self._engine)
        self._jobs = {job: watched for job, watched in self._jobs.items() if job in there}
        if self._clock() > self._next_search:
            self._remove_left(there)
            young = self._record_lost(there)
            self._next_search = self._clock() + (SUBMISSION_SECONDS if young else SEARCH_SECONDS)
        return len(services)

    def _remove_left(self, there: set[str]) -> None:
        """What was made for jobs whose service was not: their submission was cut short and not done again."""
        for kind in ("configs", "secrets"):
            made = self._engine.get(f"/{kind}", filters={"label": [JOB_LABEL]}) or []
            for job_id in {str(each["Spec"]["Labels"][JOB_LABEL]) for each in made} - there:
                if _age(job_id) > LEFT_SECONDS:
                    start.remove_belongings(job_id, self._engine)

    def _record_lost(self, there: set[str]) -> bool:
        """A swarm that is made anew knows nothing of the jobs before it; whoever follows one must learn its end.

        Returns whether there are jobs too young to be judged.
        """
        young = False
        since = time.strftime("%Y%m%d", time.gmtime(time.time() - SEARCHED_SECONDS))
        for job_id in self._bucket.jobs(since):
            if job_id in there or job_id in self._known_ended:
                continue
            if _age(job_id) < SUBMISSION_SECONDS:
                young = True
                continue
            record = self._on_record(job_id)
            mine = (record.get("spec") or {}).get("target") == "swarm"
            if mine and record.get("state") in ("submitted", "running"):
                say(f"job {job_id} is on record and not in the swarm: lost")
                message = "the swarm that ran it is gone; submit it again"
                record.update(state="lost", message=message, finished_at=start.now())
                record["started_at"] = record.get("started_at") or record["finished_at"]
                self._bucket.write_record(job_id, str(record["spec"].get("tenant")), record)
            self._known_ended.add(job_id)
        return young

    def _job(self, service: dict[str, Any], down: frozenset[str], cancelled: frozenset[str]) -> None:
        labels, name = service["Spec"]["Labels"], service["Spec"]["Name"]
        job_id = labels[JOB_LABEL]
        watched = self._jobs.get(job_id)
        if watched is None:
            watched = self._jobs[job_id] = Watched(labels.get(TENANT_LABEL, ""))
        tasks = self._engine.get("/tasks", filters={"service": [name]}) or []
        ending = is_emptied(service["Spec"])
        if not ending:
            tasks = _of_this_attempt(service, tasks)
        found = outcome(tasks, supervise=labels.get(SUPERVISE_LABEL) == "true", down=down)
        if ending:
            watched.told_to_end = self._clock() if watched.told_to_end is None else watched.told_to_end
            late = self._clock() - watched.told_to_end >= ENDING_SECONDS
            # An ended driver's task is "lost" to the outcome, too: nobody wants it any more.
            if not tasks or found.ended or late:
                # What was lost is on record as that.
                record = self._on_record(job_id)
                if record.get("state") not in ENDED:
                    self._record(job_id, watched, CANCELLED, record)
                self._finish(service["ID"], job_id, watched)
        elif found.state == "lost" and job_id not in cancelled and (again := started_again(service["Spec"])):
            self._update(service, again)
            message = f"{found.message}; its driver is started again"
            self._record(job_id, watched, Outcome("submitted", message=message), self._on_record(job_id))
        elif found.ended:
            self._record(job_id, watched, found, self._on_record(job_id))
            if found.state == "lost":
                # Its driver may run where nobody sees it, and must not go on when its host is back.
                self._end(service)
            else:
                self._finish(service["ID"], job_id, watched)
        elif job_id in cancelled:
            self._end(service)
        elif watched.recorded != found.state or self._instance(found.node) not in (None, watched.seen.get("host")):
            record = self._on_record(job_id)
            if record.get("state") in ENDED:
                # Whoever submitted it was not told that it started, and has put its end on record.
                self._end(service)
            else:
                self._record(job_id, watched, found, record)

    def _end(self, service: dict[str, Any]) -> None:
        """Let nothing of the job run; the looks that follow see its driver end.

        Engines before version 24 leave the tasks of a job whose service is removed as they are (moby/swarmkit#3112),
        and its driver would run on. All of them stop the tasks of a job that wants no completions.
        """
        self._update(service, emptied(service["Spec"]))

    def _update(self, service: dict[str, Any], spec: dict[str, Any]) -> None:
        self._engine.post(f"/services/{service['ID']}/update", spec, version=service["Version"]["Index"])

    def _finish(self, service_id: str, job_id: str, watched: Watched) -> None:
        """Its driver is gone and its end on record: killed in between, the next look does it again."""
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

    def _on_record(self, job_id: str) -> dict[str, Any]:
        return self._bucket.record(job_id) or {}

    def _record(self, job_id: str, watched: Watched, found: Outcome, record: dict[str, Any]) -> None:
        if "spec" not in record:
            say(f"job {job_id} has no record that could be kept up to date")
            watched.recorded = found.state
            return
        host = self._instance(found.node) or record.get("host")
        record.update(state=found.state, exit_code=found.exit_code, message=found.message, host=host)
        if found.state == "running" and not record.get("started_at"):
            record["started_at"] = found.started_at or start.now()
        if found.ended:
            record["finished_at"] = start.now()
            record["started_at"] = record.get("started_at") or record["finished_at"]
        self._bucket.write_record(job_id, watched.tenant, record)
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

    def _cancelled(self) -> frozenset[str]:
        """Jobs that somebody has asked to end."""
        asked = self._engine.get("/configs", filters={"label": [CANCEL_LABEL]}) or []
        return frozenset(str(each["Spec"]["Labels"].get(JOB_LABEL)) for each in asked)

    def _nodes_down(self) -> frozenset[str]:
        nodes = self._engine.get("/nodes") or []
        now = self._clock()
        self._instances = {node["ID"]: node["Spec"].get("Labels", {}).get(INSTANCE_LABEL) for node in nodes}
        down = {node["ID"] for node in nodes if node["Status"]["State"] == "down"}
        self._down_since = {node: self._down_since.get(node, now) for node in down}
        return frozenset(node for node, since in self._down_since.items() if now - since >= LOST_AFTER_SECONDS)

    _instances: dict[str, Any] = {}


def _of_this_attempt(service: dict[str, Any], tasks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Without those from before its driver was started again: on a host that is lost they stay in the books."""
    current = (service.get("JobStatus") or {}).get("JobIteration") or {}
    return [task for task in tasks if (task.get("JobIteration") or {}).get("Index", 0) == current.get("Index", 0)]


def _age(job_id: str) -> float:
    """Seconds since the moment in a job's id."""
    return time.time() - calendar.timegm(time.strptime(job_id[:15], "%Y%m%d-%H%M%S"))


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
