"""What the watch over jobs does with those that nothing runs any more, and with those that somebody has cancelled."""

import time
from typing import Any

import pytest

from sparkvault_host.launcher import start, watch
from sparkvault_host.launcher.errors import LauncherError
from sparkvault_host.launcher.watch import Watch


class Engine:
    """The engine of a leading manager whose swarm runs these jobs, one task each.

    As Docker's 20.10: whoever removes the service of a job leaves its driver running. A job that wants no completions
    loses its task once its driver has ended.
    """

    def __init__(self, jobs: list[str], *, supervised: bool = False) -> None:
        self.jobs = jobs
        self.specs = {job: self._spec(job, supervised=supervised) for job in jobs}
        self.iterations = dict.fromkeys(jobs, 0)
        """How often the swarm was given each job's specification: tasks of earlier ones stay on nodes that are down."""
        self.configs: dict[str, dict[str, Any]] = {}
        self.tasks = dict.fromkeys(jobs, "running")
        self.task_of = dict.fromkeys(jobs, 0)
        """The iteration that each job's task is of."""
        self.told_to_end: set[str] = set()
        self.left_running: list[str] = []
        self.down = False

    @staticmethod
    def _spec(job: str, *, supervised: bool) -> dict[str, Any]:
        labels = {"sparkvault.job": job, "sparkvault.tenant": "sales"}
        return {
            "Name": job,
            "Labels": {**labels, "sparkvault.supervise": "true" if supervised else "false"},
            "TaskTemplate": {"ContainerSpec": {}},
            "Mode": {"ReplicatedJob": {"MaxConcurrent": 1, "TotalCompletions": 1}},
        }

    def driver_ends(self, job: str) -> None:
        """After SIGTERM; or by itself, where nobody told it to."""
        if job in self.told_to_end:
            del self.tasks[job]
        else:
            self.tasks[job] = "complete"

    def post(self, path: str, body: dict[str, Any], version: int = 0) -> Any:
        if path == "/configs/create":
            self.configs[body["Name"]] = {"ID": body["Name"], "Spec": body}
            return {"ID": body["Name"]}
        _, kind, job, verb = path.split("/")
        assert (kind, verb, version) == ("services", "update", 7)
        self.specs[job] = body
        if body["Mode"] == {"ReplicatedJob": {"MaxConcurrent": 0, "TotalCompletions": 0}}:
            self.told_to_end.add(job)
        else:
            assert body["TaskTemplate"]["ForceUpdate"] == self.iterations[job] + 1
            self.iterations[job] += 1
        return None

    def delete(self, path: str) -> None:
        kind, name = path.strip("/").split("/")
        if kind == "services":
            self.jobs.remove(name)
            self.left_running += [name] if self.tasks.get(name) == "running" and name not in self.told_to_end else []
        else:
            del self.configs[name]

    def get(self, path: str, **query: Any) -> Any:
        if path == "/info":
            return {"Swarm": {"LocalNodeState": "active", "ControlAvailable": True, "NodeID": "n1"}}
        if path == "/nodes/n1":
            return {"ManagerStatus": {"Leader": True}}
        if path == "/services":
            label = query["filters"]["label"][0].partition("=")[2]
            return [
                {
                    "ID": job,
                    "Version": {"Index": 7},
                    "Spec": self.specs[job],
                    # The API leaves out a zero.
                    "JobStatus": {"JobIteration": {"Index": at} if (at := self.iterations[job]) else {}},
                }
                for job in self.jobs
                if label in ("", job)
            ]
        if path == "/configs":
            key, _, value = query["filters"]["label"][0].partition("=")
            labelled = [one for one in self.configs.values() if key in one["Spec"]["Labels"]]
            return [one for one in labelled if value in ("", one["Spec"]["Labels"][key])]
        if path == "/tasks":
            [job] = query["filters"]["service"]
            states = [self.tasks[job]] if job in self.tasks else []
            iteration = {"Index": self.task_of[job]} if self.task_of.get(job) else {}
            more = {"CreatedAt": "x", "NodeID": "n1", "JobIteration": iteration}
            return [{"Status": {"State": one, "Timestamp": "x"}, **more} for one in states]
        if path == "/nodes":
            return [{"ID": "n1", "Spec": {}, "Status": {"State": "down" if self.down else "ready"}}]
        assert path == "/secrets"
        return []


class Bucket:
    """The records of jobs by id."""

    def __init__(self, records: dict[str, dict[str, Any]]) -> None:
        self.records = records
        self.written: list[tuple[str, str, str]] = []

    def jobs(self, since: str) -> list[str]:
        return [job for job in self.records if job >= since]

    def record(self, job: str) -> dict[str, Any]:
        return dict(self.records[job])

    def write_record(self, job: str, tenant: str, record: dict[str, Any]) -> None:
        self.written.append((job, tenant, record["state"]))
        self.records[job] = dict(record)


def job_id(seconds_ago: float, number: int) -> str:
    return time.strftime("%Y%m%d-%H%M%S-", time.gmtime(time.time() - seconds_ago)) + f"{number:08x}"


def test_only_jobs_that_nothing_runs_any_more_are_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    states = ("running", "submitted", "succeeded", "running", "submitted", "running")
    ages = (600, 700, 800, 900, 10, 5 * 86_400)
    ids = [job_id(age, number) for number, age in enumerate(ages)]
    spec = {"target": "swarm", "tenant": "sales"}
    records = {job: {"spec": spec, "state": state} for job, state in zip(ids, states, strict=True)}
    bucket = Bucket(records)
    identity: Any = type("Identity", (), {"job_bucket": "jobs", "log_group": "logs"})()
    engine: Any = Engine([ids[3]])
    looked = Watch(identity, engine)
    monkeypatch.setattr(looked, "_bucket", bucket)
    monkeypatch.setattr(looked, "_job", lambda service, down, cancelled: None)
    assert looked.look() == 1
    assert sorted(bucket.written) == sorted([(ids[0], "sales", "lost"), (ids[1], "sales", "lost")])
    # Not again at the next look, nor at the next search: what has ended is known.
    monkeypatch.setattr(watch, "SEARCH_SECONDS", -1.0)
    looked.look()
    assert len(bucket.written) == 2


def watched(
    monkeypatch: pytest.MonkeyPatch, engine: Engine, records: dict[str, dict[str, Any]]
) -> tuple[Watch, Bucket]:
    """A watch over that engine whose logs go nowhere."""
    bucket = Bucket(records)
    identity: Any = type("Identity", (), {"job_bucket": "jobs", "log_group": "logs"})()
    given: Any = engine
    looked = Watch(identity, given)
    monkeypatch.setattr(looked, "_bucket", bucket)
    monkeypatch.setattr(looked, "_publish", lambda job, seen: None)
    return looked, bucket


def lost(monkeypatch: pytest.MonkeyPatch, *, supervised: bool) -> tuple[str, Engine, Watch, Bucket]:
    """A running job whose driver's host is down, long enough to count as lost at the first look."""
    job = job_id(60, 1)
    engine = Engine([job], supervised=supervised)
    engine.down = True
    records = {job: {"spec": {"target": "swarm", "tenant": "sales"}, "state": "running"}}
    monkeypatch.setattr(watch, "LOST_AFTER_SECONDS", 0.0)
    return job, engine, *watched(monkeypatch, engine, records)


def test_a_cancelled_jobs_driver_is_told_to_end_and_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    job = job_id(60, 1)
    engine = Engine([job])
    records = {job: {"spec": {"target": "swarm", "tenant": "sales"}, "state": "submitted"}}
    looked, bucket = watched(monkeypatch, engine, records)
    looked.look()
    given: Any = engine
    assert start.cancel(job, "sales", given)
    for _ in range(3):
        looked.look()
    # As long as the driver runs, nobody is told that it does not.
    assert (engine.told_to_end, bucket.records[job]["state"]) == ({job}, "running")
    engine.driver_ends(job)
    looked.look()
    assert bucket.written == [(job, "sales", "running"), (job, "sales", "cancelled")]
    assert (engine.jobs, engine.configs, engine.left_running) == ([], {}, [])


def test_a_job_that_has_ended_leaves_nothing_in_the_swarm(monkeypatch: pytest.MonkeyPatch) -> None:
    job = job_id(60, 1)
    engine = Engine([job])
    records = {job: {"spec": {"target": "swarm", "tenant": "sales"}, "state": "running"}}
    looked, bucket = watched(monkeypatch, engine, records)
    engine.driver_ends(job)
    looked.look()
    assert bucket.written == [(job, "sales", "succeeded")]
    assert (engine.jobs, engine.left_running) == ([], [])


def test_a_lost_driver_does_not_go_on_when_its_host_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    job, engine, looked, bucket = lost(monkeypatch, supervised=False)
    looked.look()
    assert (bucket.written, engine.told_to_end) == ([(job, "sales", "lost")], {job})
    looked.look()
    assert (bucket.written, engine.jobs, engine.left_running) == ([(job, "sales", "lost")], [], [])


def test_a_supervised_driver_whose_host_is_lost_is_started_again_three_times(monkeypatch: pytest.MonkeyPatch) -> None:
    job, engine, looked, bucket = lost(monkeypatch, supervised=True)
    for attempt in (1, 2, 3):
        looked.look()
        assert (engine.iterations[job], engine.told_to_end) == (attempt, set())
        assert "is started again" in bucket.records[job]["message"]
        # The task on the lost host is still in the books, and no reason to start yet another one.
        looked.look()
        assert (engine.iterations[job], bucket.records[job]["state"]) == (attempt, "submitted")
        engine.task_of[job] = attempt
    looked.look()
    assert (engine.iterations[job], engine.told_to_end) == (3, {job})
    assert bucket.records[job]["state"] == "lost"


def test_a_supervised_driver_that_was_started_again_ends_well(monkeypatch: pytest.MonkeyPatch) -> None:
    job, engine, looked, bucket = lost(monkeypatch, supervised=True)
    looked.look()
    engine.down, engine.task_of[job] = False, 1
    looked.look()
    engine.driver_ends(job)
    looked.look()
    assert [state for _, _, state in bucket.written] == ["submitted", "running", "succeeded"]
    assert engine.jobs == []


def test_a_supervised_driver_that_somebody_cancels_is_not_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    job, engine, looked, _ = lost(monkeypatch, supervised=True)
    given: Any = engine
    assert start.cancel(job, "sales", given)
    looked.look()
    assert (engine.iterations[job], engine.told_to_end) == (0, {job})


def test_a_driver_that_cannot_be_ended_does_not_keep_its_job_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    job = job_id(60, 1)
    engine = Engine([job])
    records = {job: {"spec": {"target": "swarm", "tenant": "sales"}, "state": "running"}}
    looked, bucket = watched(monkeypatch, engine, records)
    given: Any = engine
    assert start.cancel(job, "sales", given)
    looked.look()
    monkeypatch.setattr(watch, "ENDING_SECONDS", 0.0)
    looked.look()
    assert bucket.written == [(job, "sales", "cancelled")]
    assert engine.jobs == []


def test_a_job_that_ends_while_it_is_cancelled_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    job = job_id(60, 1)
    engine = Engine([job])
    looked, _ = watched(monkeypatch, engine, {})
    given: Any = engine
    assert start.cancel(job, "sales", given)
    engine.jobs.clear()
    looked.look()
    assert engine.configs == {}
    assert not start.cancel(job, "sales", given)


def test_nobody_cancels_a_job_of_another_tenant() -> None:
    job = job_id(60, 1)
    given: Any = Engine([job])
    with pytest.raises(LauncherError, match="not one of tenant research"):
        start.cancel(job, "research", given)


def test_a_job_whose_end_is_on_record_does_not_come_to_life(monkeypatch: pytest.MonkeyPatch) -> None:
    job = job_id(60, 1)
    engine = Engine([job])
    looked, bucket = watched(monkeypatch, engine, {job: {"spec": {"target": "swarm"}, "state": "failed"}})
    looked.look()
    assert (bucket.records[job]["state"], engine.told_to_end) == ("failed", {job})
    engine.driver_ends(job)
    looked.look()
    assert (bucket.written, engine.jobs) == ([], [])


def test_what_a_submission_left_that_was_cut_short_is_removed_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    old, young, there = job_id(watch.LEFT_SECONDS + 60, 1), job_id(60, 2), job_id(watch.LEFT_SECONDS + 60, 3)
    engine = Engine([there])
    given: Any = engine
    for job in (old, young, there):
        start.config(given, start.launch_name(job), b"launch", {"sparkvault.job": job})
    looked, _ = watched(monkeypatch, engine, {there: {"spec": {"target": "swarm"}, "state": "running"}})
    looked.look()
    assert set(engine.configs) == {start.launch_name(young), start.launch_name(there)}
