"""Three managers: they form one swarm though all boot at once, and what one of them suffers is not noticed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from emulation.aws import EmbeddedAws, bootstrap
from emulation.ec2 import EmulatedEc2, Host
from emulation.engine import Engine
from tests.cluster.deployed import CONFIGURATION, ROOT, DeployedCluster
from tests.cluster.people import ANSWER, running, submit, wait_until, whole

pytestmark = [pytest.mark.timeout(1500), pytest.mark.campaign]

WORKERS = 2
PARTITION_SECONDS = 60.0
#: Longer than an agent waits for a swarm that it joins (decide.py, JOIN_PATIENCE).
STAGGER_SECONDS = 75.0


@pytest.fixture(scope="module")
def three(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DeployedCluster]:
    """A cluster of three managers and two workers, all of which have booted at once."""
    configuration = tmp_path_factory.mktemp("configuration") / "three.yaml"
    configuration.write_text(CONFIGURATION.read_text() + "hosts:\n  managers: {count: 3}\n")
    with EmbeddedAws(hosts="external") as aws:
        bootstrap(aws, [ROOT / "node_modules" / ".bin" / "cdk"])
        with EmulatedEc2(aws, engine) as ec2:
            cluster = DeployedCluster(aws, ec2, engine, configuration, tmp_path_factory.mktemp("work"))
            cluster.deploy()
            yield cluster


@pytest.fixture(autouse=True)
def well_before_and_after(three: DeployedCluster) -> Iterator[None]:
    """Each fault begins and ends with a whole cluster; the way back is timed."""
    whole(three, WORKERS, 600)
    yield
    print(f"whole {whole(three, WORKERS, 600):.0f} s after the job's end")


def swarm_of(host: Host) -> str:
    return host.run(["docker", "info", "--format", "{{.Swarm.Cluster.ID}}"]).stdout.strip()


def leader(cluster: DeployedCluster) -> Host:
    """The manager that leads."""

    def look() -> Host | None:
        for host in cluster.managers():
            if host.up():
                said = host.run(["docker", "node", "inspect", "self", "--format", "{{.ManagerStatus.Leader}}"]).stdout
                if said.strip() == "true":
                    return host
        return None

    found: Host = wait_until("a leader", look)
    return found


def test_managers_that_initialise_at_once_form_one_swarm_of_the_first_epoch(
    three: DeployedCluster, long_job: Path
) -> None:
    assert len({swarm_of(host) for host in three.managers()}) == 1
    [item] = three.aws.client("dynamodb").scan(TableName="demo-swarm-authority")["Items"]
    assert item["epoch"]["N"] == "1"
    assert ANSWER in submit(three, str(long_job), "0.2")


def test_the_leading_manager_is_terminated_under_a_job(three: DeployedCluster, long_job: Path) -> None:
    swarm = swarm_of(three.managers()[0])
    with running(three, long_job, "6"):
        victim = leader(three)
        three.ec2.terminate(victim)
        wait_until("the old manager to end", lambda: three.ec2.state_of(victim.instance_id) == "terminated")
        assert leader(three).instance_id != victim.instance_id
    whole(three, WORKERS, 600)
    assert {swarm_of(host) for host in three.managers()} == {swarm}


def test_the_host_of_sparks_active_master_is_terminated_under_a_job(three: DeployedCluster, long_job: Path) -> None:
    with running(three, long_job, "6"):
        victim = active_master(three)
        three.ec2.terminate(victim)
        wait_until("the old manager to end", lambda: three.ec2.state_of(victim.instance_id) == "terminated")
        assert active_master(three).instance_id != victim.instance_id
    whole(three, WORKERS, 600)


def active_master(cluster: DeployedCluster) -> Host:
    """The manager whose Spark master has recovered what the last one knew, and is asked by workers and drivers."""
    question = 'exec 3<>/dev/tcp/$HOSTNAME/8080; printf "GET /json/ HTTP/1.0\\r\\n\\r\\n" >&3; cat <&3'
    look = f"docker exec $(docker ps --quiet --filter name=spark-master) bash -c '{question}'"

    def found() -> Host | None:
        for host in cluster.managers():
            if host.up() and '"status" : "ALIVE"' in host.run(["sh", "-c", look], check=False).stdout:
                return host
        return None

    active: Host = wait_until("an active master", found)
    return active


def test_the_leading_manager_is_cut_off_and_comes_back(three: DeployedCluster, long_job: Path) -> None:
    half = ("--total-executor-cores", "2")
    with running(three, long_job, "3", *half):
        victim = leader(three)
        others = [host for host in three.managers() if host.instance_id != victim.instance_id]
        with victim.cut_off(PARTITION_SECONDS):
            # Whoever is asked for something is another manager, which may still look for the leader that is gone.
            assert ANSWER in submit(three, *half, str(long_job), "0.2")
            assert any("true" in one.run(LEADS).stdout for one in others)
    whole(three, WORKERS, 600)
    assert len({swarm_of(host) for host in three.managers()}) == 1


def test_managers_that_boot_one_after_the_other_find_their_swarm_again(three: DeployedCluster, long_job: Path) -> None:
    hosts, managers = three.ec2.hosts(), three.managers()
    swarm = swarm_of(managers[0])
    for host in hosts:
        host.kill()
    for manager in managers:
        manager.start(wait=False)
        time.sleep(STAGGER_SECONDS)
    for host in hosts:
        if host.role == "worker":
            host.start(wait=False)
    whole(three, WORKERS, 600)
    assert {swarm_of(host) for host in three.managers()} == {swarm}
    assert {host.instance_id for host in three.ec2.hosts()} == {host.instance_id for host in hosts}
    assert ANSWER in submit(three, str(long_job), "0.2")


LEADS = ["docker", "node", "inspect", "self", "--format", "{{.ManagerStatus.Leader}}"]
