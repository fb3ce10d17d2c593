"""What people do on a cluster of emulated hosts, and how to tell that all of it is well."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from emulation.aws import EmbeddedAwsError
from emulation.ec2 import Ec2EmulationError, Host, HostError
from sparkvault.targets.remote import log_stream
from tests.cluster.deployed import DeployedCluster

JOB_SECONDS = 400.0
RECOVERY_SECONDS = 400.0
TARGET = ("--target", "swarm")
LOG_GROUP = "/sparkvault/demo/swarm"

#: What `long_job` prints at its end: the sum of its forty numbers.
ANSWER = f"sum {sum(range(40))}"


def config(cluster: DeployedCluster) -> tuple[str, ...]:
    """Target and configuration, for every verb."""
    return (*TARGET, "--config", str(cluster.configuration))


def submit(cluster: DeployedCluster, *arguments: str, code: int = 0) -> str:
    """Submit, follow, and return the output; the exit code must be this one."""
    done = cluster.sparkvault("submit", *config(cluster), *arguments, timeout=JOB_SECONDS)
    assert done.returncode == code, done.stdout
    return done.stdout


def records(cluster: DeployedCluster) -> list[dict[str, Any]]:
    """The jobs' records, newest first."""
    done = cluster.sparkvault("jobs", *config(cluster), "--json", timeout=60)
    found: list[dict[str, Any]] = json.loads(done.stdout[done.stdout.index("[") :])
    return found


def detached(cluster: DeployedCluster, *arguments: str) -> str:
    """Submit without waiting; the job's id."""
    output = submit(cluster, "--detach", *arguments)
    found = re.search(r"\d{8}-\d{6}-[0-9a-f]{8}", output)
    assert found, output
    return found[0]


def wait_until(what: str, check: Callable[[], Any], seconds: float = RECOVERY_SECONDS, pause: float = 0.5) -> Any:
    """The first true answer of ``check``; a host that does not answer just now is not an answer."""
    deadline, why = time.monotonic() + seconds, ""
    while True:
        try:
            found = check()
        except (Ec2EmulationError, EmbeddedAwsError) as error:
            found, why = None, str(error)
        if found:
            return found
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s for {what}, in vain. {why}"
        time.sleep(pause)


def output_so_far(cluster: DeployedCluster, job: str) -> list[str]:
    """Lines of the job's stream; `sparkvault logs` would follow it to its end."""
    return log_stream.last_lines(cluster.aws.client("logs"), LOG_GROUP, log_stream.job_stream(job), 1000)


def ended(cluster: DeployedCluster, job: str) -> dict[str, Any]:
    """The record of a job that has ended."""

    def look() -> dict[str, Any] | None:
        record = next(one for one in records(cluster) if one["spec"]["id"] == job)
        return record if record["state"] not in ("submitted", "running") else None

    found: dict[str, Any] = wait_until(f"the end of job {job}", look, JOB_SECONDS)
    return found


def services(cluster: DeployedCluster) -> dict[str, str]:
    """Replicas by the name of the service, as a manager has them."""
    listed = cluster.managers()[0].run(["docker", "service", "ls", "--format", "{{.Name}} {{.Replicas}}"]).stdout
    return dict(line.split(" ", 1) for line in listed.splitlines())


def driver_container(cluster: DeployedCluster, job: str) -> tuple[Host, str]:
    """Where the job's driver runs."""

    def look() -> tuple[Host, str] | None:
        for host in cluster.workers():
            if not host.up():
                continue
            name = host.run(["docker", "ps", "--quiet", "--filter", f"label=sparkvault.job={job}"]).stdout.strip()
            if name:
                return host, name
        return None

    found: tuple[Host, str] = wait_until(f"the driver of {job}", look, 120)
    return found


def no_driver_is_left(cluster: DeployedCluster, job: str) -> None:
    """No host runs anything of a job that has ended, and nothing of it is in the swarm."""
    label = f"label=sparkvault.job={job}"
    for host in cluster.workers():
        assert host.run(["docker", "ps", "--quiet", "--filter", label]).stdout == ""
    [manager] = cluster.managers()

    def forgotten() -> bool:
        # A finished job's record may be read before its service is removed.
        left = [manager.run(["docker", kind, "ls"]).stdout for kind in ("service", "config", "secret")]
        return not any(job in listed for listed in left)

    wait_until("the job's service, config and secret to go", forgotten, 60)


def other_worker(cluster: DeployedCluster, job: str) -> Host:
    """A worker that runs executors of the job and not its driver."""
    driver, _ = driver_container(cluster, job)
    return next(host for host in cluster.workers() if host.up() and host.instance_id != driver.instance_id)


@contextmanager
def running(cluster: DeployedCluster, long_job: Path, seconds: str = "3", *flags: str) -> Iterator[str]:
    """A job whose tasks run; afterwards it must have succeeded with the right answer."""
    job = detached(cluster, *flags, str(long_job), seconds)
    wait_until(f"the output of {job}", lambda: "started" in output_so_far(cluster, job), 180)
    yield job
    record = ended(cluster, job)
    assert record["state"] == "succeeded", (record, output_so_far(cluster, job)[-40:])
    assert ANSWER in output_so_far(cluster, job)


def status(cluster: DeployedCluster) -> dict[str, Any]:
    """What `sparkvault status` says."""
    done = cluster.sparkvault("status", *config(cluster), "--json", timeout=120)
    start = done.stdout.find("{")
    if start < 0:
        raise HostError(f"`sparkvault status` said: {done.stdout}")
    report, _ = json.JSONDecoder().raw_decode(done.stdout[start:])
    found: dict[str, Any] = report["targets"][0]
    return found


def whole(cluster: DeployedCluster, workers: int, seconds: float = RECOVERY_SECONDS) -> float:
    """Wait until all is well: every host and node in its place, so many Spark workers alive; the seconds it took."""
    began, last = time.monotonic(), ""

    def look() -> bool:
        nonlocal last
        report = status(cluster)
        alive = [one for one in report["components"] if one["kind"] == "worker" and one["state"] == "alive"]
        last = f"{len(alive)} of {workers} Spark workers; " + "; ".join(
            f"{one['name']} {one['state']}" for one in report["components"] if not one["healthy"]
        )
        return bool(report["healthy"]) and len(alive) == workers

    try:
        # Each look is a command with seconds of work, on a machine that needs them for what is awaited.
        wait_until("a whole cluster", look, seconds, pause=3.0)
    except AssertionError as late:
        raise AssertionError(f"{late} Last seen: {last}") from late
    return time.monotonic() - began
