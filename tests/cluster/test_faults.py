"""What a cluster of one manager and two workers must survive, each with the right answer of a job at its end."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from emulation.ec2 import Host, HostError
from tests.cluster.deployed import DeployedCluster, newer_release
from tests.cluster.people import (
    ANSWER,
    config,
    detached,
    driver_container,
    ended,
    other_worker,
    output_so_far,
    records,
    running,
    submit,
    wait_until,
    whole,
)

# The first test waits for the deployment of the cluster.
pytestmark = [pytest.mark.timeout(1500), pytest.mark.campaign]

WORKERS = 2
#: How long a partition lasts, as the requirement has it.
PARTITION_SECONDS = 60.0
AGENT_KILLS = 20
SPARK_SERVICES = {"spark-master", "spark-worker", "spark-history"}


@pytest.fixture(autouse=True)
def well_before_and_after(cluster: DeployedCluster) -> Iterator[None]:
    """Each fault begins and ends with a whole cluster of two workers; the way back is timed."""
    whole(cluster, WORKERS)
    yield
    print(f"whole {whole(cluster, WORKERS):.0f} s after the job's end")


def answered(cluster: DeployedCluster, long_job: Path) -> None:
    """A new job ends with the right answer."""
    assert ANSWER in submit(cluster, str(long_job), "0.2")


def scale(cluster: DeployedCluster, workers: int) -> None:
    done = cluster.sparkvault("scale", str(workers), *config(cluster), timeout=900)
    assert done.returncode == 0, done.stdout


def test_a_workers_engine_restarts_under_a_job(cluster: DeployedCluster, long_job: Path) -> None:
    with running(cluster, long_job) as job:
        victim = other_worker(cluster, job)
        victim.stop_engine()
        victim.start_engine()


def test_a_worker_is_cut_off_for_a_minute_and_comes_back_as_the_same(cluster: DeployedCluster, long_job: Path) -> None:
    hosts = {host.instance_id for host in cluster.ec2.hosts()}
    with running(cluster, long_job, "5") as job, other_worker(cluster, job).cut_off(PARTITION_SECONDS):
        pass
    whole(cluster, WORKERS)
    assert {host.instance_id for host in cluster.ec2.hosts()} == hosts


def test_scaling_out_and_in_under_a_job(cluster: DeployedCluster, long_job: Path) -> None:
    with running(cluster, long_job, "12"):
        scale(cluster, 4)
        scale(cluster, WORKERS)


def test_a_spot_notice_drains_a_worker_and_it_is_replaced(cluster: DeployedCluster, long_job: Path) -> None:
    with running(cluster, long_job, "5") as job:
        victim = other_worker(cluster, job)
        cluster.ec2.spot_notice(victim, 90)
        wait_until("the host to be taken", lambda: cluster.ec2.state_of(victim.instance_id) == "terminated", 180)


def test_blocks_that_cannot_be_computed_again_move_away_from_a_host_that_leaves(
    cluster: DeployedCluster, tmp_path: Path
) -> None:
    application = tmp_path / "kept.py"
    application.write_text(KEPT)
    job = detached(cluster, str(application))
    wait_until("blocks on both workers", lambda: "started" in output_so_far(cluster, job), 180)
    victim = other_worker(cluster, job)
    cluster.ec2.spot_notice(victim, 90)
    record = ended(cluster, job)
    assert cluster.ec2.state_of(victim.instance_id) == "terminated", "the sum is made after the host has gone"
    assert (record["state"], record["exit_code"]) == ("succeeded", 0), output_so_far(cluster, job)[-40:]
    assert "the sum is 332833500" in output_so_far(cluster, job)


#: Keeps blocks on both workers whose lineage is cut: Spark fails where one of them is lost.
KEPT = """
import time
from pyspark.sql import SparkSession

spark = SparkSession.builder.appName("kept").getOrCreate()
deadline = time.monotonic() + 120
while spark._jsc.sc().getExecutorMemoryStatus().size() < 3:
    assert time.monotonic() < deadline, "no two executors within 120 s"
    time.sleep(0.5)
kept = spark.sparkContext.parallelize(range(1000), 16).map(lambda number: number * number)
kept.localCheckpoint()
kept.count()
print("started", flush=True)
time.sleep(150)
print("the sum is", kept.sum(), flush=True)
"""


def test_a_driver_ends_on_a_host_that_spot_takes_back(cluster: DeployedCluster, long_job: Path) -> None:
    with running(cluster, long_job, "2") as job:
        victim, _ = driver_container(cluster, job)
        cluster.ec2.spot_notice(victim, 110)
        wait_until("nothing new to be placed there", lambda: availability(cluster, victim) == "pause", 60)
    wait_until("the host to be taken", lambda: cluster.ec2.state_of(victim.instance_id) == "terminated", 180)


def availability(cluster: DeployedCluster, host: Host) -> str:
    """What the swarm may place on the host."""
    node = host.run(["docker", "info", "--format", "{{.Swarm.NodeID}}"]).stdout.strip()
    look = ["docker", "node", "inspect", "--format", "{{.Spec.Availability}}", node]
    return cluster.managers()[0].run(look).stdout.strip()


def test_a_supervised_driver_whose_host_dies_is_started_again(cluster: DeployedCluster, long_job: Path) -> None:
    with running(cluster, long_job, "3", "--supervise") as job:
        victim, _ = driver_container(cluster, job)
        victim.kill()
        cluster.ec2.impair(victim)

        def elsewhere() -> bool:
            return driver_container(cluster, job)[0].instance_id != victim.instance_id

        wait_until("the driver to run on another host", elsewhere)
    wait_until("the dead host to be let go", lambda: cluster.ec2.state_of(victim.instance_id) == "terminated", 700)


def test_the_registry_is_away_when_a_host_boots(cluster: DeployedCluster, long_job: Path) -> None:
    before = {host.instance_id for host in cluster.workers()}
    cluster.ec2.registry.stop()
    try:
        group = cluster.aws.client("autoscaling")
        group.set_desired_capacity(AutoScalingGroupName="demo-workers", DesiredCapacity=WORKERS + 1)
        cluster.ec2.wait_for_hosts(WORKERS + 1, "worker")
        [new] = [host for host in cluster.workers() if host.instance_id not in before]
        refused = "connection refused"
        wait_until("a pull that fails", lambda: refused in new.journal("sparkvault-agent.service"), 180)
    finally:
        cluster.ec2.registry.start()
    whole(cluster, WORKERS + 1)
    answered(cluster, long_job)
    scale(cluster, WORKERS)


def test_a_worker_whose_disk_is_full_is_replaced(cluster: DeployedCluster, long_job: Path) -> None:
    with running(cluster, long_job) as job:
        victim = other_worker(cluster, job)
        victim.fill_disk()
    wait_until("the full host to be replaced", lambda: cluster.ec2.state_of(victim.instance_id) == "terminated", 600)
    # The host is gone; why it was given up is not.
    said = cluster.sparkvault("logs", *config(cluster), f"hosts/{victim.instance_id}", "--lines", "1000", timeout=60)
    assert f"{victim.instance_id} is given up: /var/lib/docker is " in said.stdout
    assert "agent: MarkUnhealthy(" in said.stdout


def test_everything_reboots_at_once(cluster: DeployedCluster, long_job: Path) -> None:
    began = {host.instance_id: host.started() for host in cluster.ec2.hosts()}
    for host in cluster.ec2.hosts():
        host.reboot(wait=False)

    def all_again() -> bool:
        return all(host.started() > began[host.instance_id] for host in cluster.ec2.hosts())

    wait_until("all hosts to have started again", all_again)
    whole(cluster, WORKERS)
    assert {host.instance_id for host in cluster.ec2.hosts()} == set(began)
    answered(cluster, long_job)


def test_agents_are_killed_at_random_moments(cluster: DeployedCluster, long_job: Path) -> None:
    chance = random.Random(2026)  # noqa: S311 (moments, not secrets)
    with running(cluster, long_job, "6"):
        group = cluster.aws.client("autoscaling")
        group.set_desired_capacity(AutoScalingGroupName="demo-workers", DesiredCapacity=WORKERS + 1)
        for _ in range(AGENT_KILLS):
            time.sleep(chance.uniform(0.5, 5.0))
            victim = chance.choice(cluster.ec2.hosts())
            try:
                victim.run(["systemctl", "kill", "--signal=KILL", "sparkvault-agent.service"], check=False)
            except HostError:
                continue
        whole(cluster, WORKERS + 1)
    scale(cluster, WORKERS)


def test_a_newer_release_reaches_running_hosts_under_a_job(
    cluster: DeployedCluster, long_job: Path, tmp_path: Path
) -> None:
    hosts = {host.instance_id for host in cluster.ec2.hosts()}
    before = published(cluster)
    changed = tmp_path / "changed.yaml"
    changed.write_text(cluster.configuration.read_text() + "logging:\n  level: INFO\n")
    with running(cluster, long_job, "30") as job:
        cluster.deploy(clone=newer_release(tmp_path / "newer"), configuration=changed)
        assert published(cluster).isdisjoint(before)
        wait_until("new images and settings to run everywhere", lambda: runs_what_is_published(cluster, "INFO"))
        assert next(one["state"] for one in records(cluster) if one["spec"]["id"] == job) == "running"
    assert {host.instance_id for host in cluster.ec2.hosts()} == hosts
    answered(cluster, long_job)
    cluster.deploy()
    wait_until("the former images and settings to run again", lambda: runs_what_is_published(cluster, "WARN"))
    assert published(cluster) == before


def test_what_hosts_start_with_is_changed_by_replacing_them_one_after_the_other_under_a_job(
    cluster: DeployedCluster, long_job: Path, tmp_path: Path
) -> None:
    before = {host.instance_id for host in cluster.workers()}
    managers = {host.instance_id for host in cluster.managers()}
    changed = tmp_path / "larger.yaml"
    changed.write_text(cluster.configuration.read_text() + "hosts:\n  workers:\n    disks: {data_gib: 120}\n")
    with running(cluster, long_job, "5"):
        cluster.deploy(configuration=changed)
    assert before.isdisjoint({host.instance_id for host in cluster.workers()})
    assert {host.instance_id for host in cluster.managers()} == managers
    whole(cluster, WORKERS)
    answered(cluster, long_job)
    cluster.deploy()


def published(cluster: DeployedCluster) -> set[str]:
    """The images that hosts should run, by digest."""
    names = [f"/sparkvault/demo/images/{name}" for name in ("master", "worker", "submit")]
    found = cluster.aws.client("ssm").get_parameters(Names=names)["Parameters"]
    return {one["Value"] for one in found}


def runs_what_is_published(cluster: DeployedCluster, level: str) -> bool:
    """Whether every container of a Spark service has a published image and this level of its log."""
    look = "docker ps --quiet --filter label=sparkvault.service | xargs -r docker inspect"
    containers = [
        one["Config"] for host in cluster.ec2.hosts() for one in json.loads(host.run(["sh", "-c", look]).stdout or "[]")
    ]
    images, setting = published(cluster), f"SPARK_LOG_LEVEL={level}"
    is_so = all(one["Image"] in images and setting in one["Env"] for one in containers)
    return is_so and {one["Labels"]["sparkvault.service"] for one in containers} == SPARK_SERVICES


def test_the_only_manager_is_terminated_and_replaced(cluster: DeployedCluster, long_job: Path) -> None:
    [manager] = cluster.managers()
    job = detached(cluster, str(long_job), "10")
    driver_container(cluster, job)
    cluster.ec2.terminate(manager)
    wait_until("the old manager to end", lambda: cluster.ec2.state_of(manager.instance_id) == "terminated")
    whole(cluster, WORKERS, 600)
    answered(cluster, long_job)
    # The swarm was made anew, and the job went with the old one: its record says so.
    assert ended(cluster, job)["state"] == "lost"


def test_the_only_manager_dies_without_a_word(cluster: DeployedCluster, long_job: Path) -> None:
    [manager] = cluster.managers()
    manager.kill()
    cluster.ec2.impair(manager)
    wait_until("the dead manager to be let go", lambda: cluster.ec2.state_of(manager.instance_id) == "terminated", 700)
    whole(cluster, WORKERS, 600)
    answered(cluster, long_job)


#: Stands in for an engine that goes on listening for its swarm's members after it left: that fault needs two that leave
#: within a second and nobody else to hear them. It holds the port for as long as this engine lives, as the fault does.
HOLDS_ON = """
import os, socket, sys, time
address, engine = sys.argv[1:]
with socket.create_server((address, 7946)):
    while os.path.exists(f"/proc/{engine}"):
        time.sleep(0.1)
"""


def test_an_engine_that_goes_on_listening_is_started_anew_before_it_joins(
    cluster: DeployedCluster, long_job: Path
) -> None:
    victim = cluster.workers()[0]

    def engine() -> str:
        return victim.run(["systemctl", "show", "--property=MainPID", "--value", "docker.service"]).stdout.strip()

    before = engine()
    victim.run(["systemctl", "stop", "sparkvault-agent.service"])
    victim.run(["docker", "swarm", "leave"])
    victim.run(["systemd-run", "--collect", "python3", "-c", HOLDS_ON, victim.address, before])
    victim.run(["systemctl", "start", "--no-block", "sparkvault-agent.service"])
    wait_until("another engine", lambda: engine() not in (before, "0"), 60)
    whole(cluster, WORKERS)
    answered(cluster, long_job)


def test_the_manager_is_cut_off_and_comes_back(cluster: DeployedCluster, long_job: Path) -> None:
    [manager] = cluster.managers()
    with manager.cut_off(PARTITION_SECONDS, from_aws=False):
        pass
    whole(cluster, WORKERS)
    assert cluster.managers() == [manager]
    answered(cluster, long_job)
    assert records(cluster)[0]["state"] == "succeeded"
    assert ANSWER in output_so_far(cluster, records(cluster)[0]["spec"]["id"])
