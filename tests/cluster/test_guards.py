"""Who gets in, and who does not: strangers on the network, stolen tokens, tampered images, a tenant's submitter.

And that one tenant's job leaves room for another's.
"""

from __future__ import annotations

import json
import re
import secrets
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from emulation.ec2 import Host
from spark_constructs.naming import bucket_name
from sparkvault.jobs import new_job_id
from tests.cluster.deployed import ROOT, DeployedCluster
from tests.cluster.people import (
    ANSWER,
    JOB_SECONDS,
    config,
    detached,
    ended,
    no_driver_is_left,
    output_so_far,
    wait_until,
    whole,
)
from tests.cluster.test_core import documented_ports, ports_that_answer

# The first test waits for the deployment of the cluster.
pytestmark = [pytest.mark.timeout(1500), pytest.mark.campaign]

OTHER = "finance"


@contextmanager
def instance_of_nobody(cluster: DeployedCluster, groups: Sequence[str] = ()) -> Iterator[Host]:
    """A running instance in no Auto Scaling group, with a worker's role; `groups`: other than a worker's."""
    api = cluster.aws.client("ec2")
    worker = cluster.workers()[0]
    [found] = api.describe_instances(InstanceIds=[worker.instance_id])["Reservations"][0]["Instances"]
    made = api.run_instances(
        ImageId=found["ImageId"],
        InstanceType=found["InstanceType"],
        SubnetId=found["SubnetId"],
        SecurityGroupIds=list(groups) or [group["GroupId"] for group in found["SecurityGroups"]],
        IamInstanceProfile={"Arn": found["IamInstanceProfile"]["Arn"]},
        MetadataOptions={"HttpTokens": "required"},
        MinCount=1,
        MaxCount=1,
    )
    identity = made["Instances"][0]["InstanceId"]
    wait_until("the instance to run", lambda: cluster.ec2.state_of(identity) == "running")
    host = cluster.ec2.host(identity)
    host.wait_until_booted()
    try:
        yield host
    finally:
        cluster.ec2.terminate(host)


@pytest.fixture(scope="module")
def stranger(cluster: DeployedCluster) -> Iterator[Host]:
    """Everything a thief could have: a worker's image, role and security group, and an engine."""
    with instance_of_nobody(cluster) as host:
        host.run(["systemctl", "start", "docker.service"])
        yield host


EVERY_PORT = "1-65535"

#: Sends a datagram to every UDP port of an address, and some more to those named, for datagrams get lost.
DATAGRAMS = """
import socket, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
    for port in [*range(1, 65536), *map(int, sys.argv[2:])]:
        sender.sendto(b"?", (sys.argv[1], port))
"""
DATAGRAM_PORTS = (4789, 7946)
OTHER_PORTS = 0


@contextmanager
def datagrams_counted(source: Host, target: Host) -> Iterator[Callable[[], dict[int, int]]]:
    """Counts what reaches ``target`` from ``source`` by UDP, whoever listens there: by port, others as OTHER_PORTS."""
    table, chain = ["iptables", "--wait", "30", "--table", "raw"], "datagrams"
    counted = [*table, "--append", chain, "--source", source.address, "--protocol", "udp"]
    target.run([*table, "--new-chain", chain])
    for port in DATAGRAM_PORTS:
        target.run([*counted, "--dport", str(port), "--jump", "RETURN"])
    # A rule that says not what to do with a packet counts it, and leaves it alone.
    target.run(counted)
    target.run([*table, "--insert", "PREROUTING", "--jump", chain])
    one = re.compile(rf"-s {re.escape(source.address)}/32 -p udp(?: -m udp --dport (\d+))? -c (\d+) ")

    def count() -> dict[int, int]:
        listed = target.run([*table, "--list-rules", chain, "--verbose"]).stdout
        found = {int(port or OTHER_PORTS): int(packets) for port, packets in one.findall(listed)}
        assert set(found) == {*DATAGRAM_PORTS, OTHER_PORTS}, listed
        return found

    try:
        yield count
    finally:
        target.run([*table, "--delete", "PREROUTING", "--jump", chain])
        target.run([*table, "--flush", chain])
        target.run([*table, "--delete-chain", chain])


def datagram_ports_that_get_through(source: Host, target: Host) -> set[int]:
    """UDP ports of ``target`` that datagrams from ``source`` reach, OTHER_PORTS for any that stand in no document."""
    with datagrams_counted(source, target) as count:
        again = [str(port) for _ in range(5) for port in DATAGRAM_PORTS]
        source.run(["python3", "-c", DATAGRAMS, target.address, *again])
        # On one machine all of them have come by the time that the target is asked.
        return {port for port, packets in count().items() if packets}


def test_a_host_outside_the_groups_finds_nothing_open(cluster: DeployedCluster) -> None:
    api = cluster.aws.client("ec2")
    [vpc] = {one["VpcId"] for one in api.describe_subnets()["Subnets"] if one["CidrBlock"].startswith("10.20.")}
    outside = api.create_security_group(GroupName="outside", Description="x", VpcId=vpc)["GroupId"]
    with instance_of_nobody(cluster, [outside]) as host:
        for target in cluster.managers() + cluster.workers():
            assert datagram_ports_that_get_through(host, target) == set()
        for target in cluster.managers() + cluster.workers():
            assert ports_that_answer(host, target.address, EVERY_PORT) == set()
        assert 80 in ports_that_answer(host, host.network.services), "after all that, AWS still answers it"


def test_a_host_of_the_groups_finds_the_documented_ports_open_and_no_other(cluster: DeployedCluster) -> None:
    [manager], [one, other] = cluster.managers(), cluster.workers()
    # Each host asks another one, for what a host has asked fills its own table of connections for two minutes.
    pairs = [(one, manager), (other, one), (manager, other)]
    with ThreadPoolExecutor() as pool:
        answering = pool.map(lambda pair: ports_that_answer(pair[0], pair[1].address, EVERY_PORT), pairs)
    expected = [documented_ports(source, target) for source, target in pairs]
    assert list(answering) == expected == [{2377, 7946}, {7946}, {7946}]
    for source, target in pairs:
        by_udp = documented_ports(source, target, "udp")
        assert datagram_ports_that_get_through(source, target) == by_udp == set(DATAGRAM_PORTS)


def test_a_rogue_host_with_a_stolen_token_runs_nothing_and_is_thrown_out(
    cluster: DeployedCluster, stranger: Host
) -> None:
    [manager] = cluster.managers()
    token = manager.run(["docker", "swarm", "join-token", "--quiet", "worker"]).stdout.strip()
    join = ["docker", "swarm", "join", "--token", token, f"{manager.address}:2377"]
    wait_until("the stranger to join", lambda: stranger.run(join, check=False).exit_code == 0, 60)
    node = stranger.run(["docker", "info", "--format", "{{.Swarm.NodeID}}"]).stdout.strip()

    def thrown_out() -> bool:
        assert stranger.run(["docker", "ps", "--all", "--quiet"]).stdout.strip() == ""
        there = manager.run(["docker", "node", "ls", "--format", "{{.ID}}"]).stdout.split()
        return node not in there

    wait_until("the stranger to be thrown out", thrown_out)
    stranger.run(["docker", "swarm", "leave", "--force"], check=False)
    whole(cluster, 2)


def test_an_image_that_was_tampered_with_is_not_run(cluster: DeployedCluster) -> None:
    """The registry gives other bytes than the digest says, and the engine refuses them."""
    worker, digest = cluster.workers()[0], f"sha256:{secrets.token_hex(32)}"
    container = worker.run(["docker", "ps", "--quiet", "--filter", "name=spark-worker"]).stdout.split()[0]
    image = worker.run(["docker", "inspect", "--format", "{{.Config.Image}}", container]).stdout.strip()
    repository, _, right = image.partition("@")
    host, _, name = repository.partition("/")
    own = "docker --config /tmp/forged"
    login = "aws --region eu-central-1 ecr get-login-password"
    worker.run(["sh", "-c", f"{login} | {own} login --username AWS --password-stdin {host}"])
    with cluster.ec2.registry.forged(name, digest, of=right):
        worker.run([*own.split(), "pull", f"{repository}@{right}"])
        pulled = worker.run([*own.split(), "pull", f"{repository}@{digest}"], check=False)
    worker.run(["rm", "-rf", "/tmp/forged"])
    assert pulled.exit_code != 0
    assert "verification failed" in pulled.stderr, pulled.stderr


@dataclass(frozen=True)
class Analyst:
    """Somebody who has the submitter policy of the default tenant and nothing else."""

    cluster: DeployedCluster
    keys: Mapping[str, str]

    def client(self, service: str) -> Any:
        """A client with their credentials."""
        make: Any = boto3.client
        return make(
            service,
            endpoint_url=self.cluster.aws.endpoint,
            region_name=self.cluster.aws.region,
            aws_access_key_id=self.keys["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=self.keys["AWS_SECRET_ACCESS_KEY"],
            aws_session_token=self.keys["AWS_SESSION_TOKEN"],
        )

    def runs(self, document: str, **parameters: list[str]) -> dict[str, Any]:
        """How a document ended on the manager. Raises ClientError where it may not be run."""
        [manager] = self.cluster.managers()
        ssm = self.client("ssm")
        sent = ssm.send_command(InstanceIds=[manager.instance_id], DocumentName=document, Parameters=parameters)

        def look() -> dict[str, Any] | None:
            found: dict[str, Any] = ssm.get_command_invocation(
                CommandId=sent["Command"]["CommandId"], InstanceId=manager.instance_id
            )
            return found if found["Status"] not in ("Pending", "InProgress") else None

        ended: dict[str, Any] = wait_until(f"the end of {document}", look, 120)
        return ended


@pytest.fixture(scope="module")
def analyst(cluster: DeployedCluster) -> Analyst:
    """Their role, taken as they would take it."""
    iam = cluster.aws.client("iam")
    allow = {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}
    trust = {"Version": "2012-10-17", "Statement": [allow]}
    role = iam.create_role(RoleName="analyst", AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
    stack = cluster.aws.client("cloudformation").describe_stacks(StackName="demo-swarm")["Stacks"][0]
    [policy] = [one["OutputValue"] for one in stack["Outputs"] if one["OutputKey"] == "DefaultSubmitterPolicyArn"]
    iam.attach_role_policy(RoleName="analyst", PolicyArn=policy)
    session = cluster.aws.client("sts").assume_role(RoleArn=role, RoleSessionName="ann")["Credentials"]
    keys = {
        "AWS_ACCESS_KEY_ID": session["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": session["SecretAccessKey"],
        "AWS_SESSION_TOKEN": session["SessionToken"],
    }
    return Analyst(cluster, keys)


def test_the_submitter_policy_is_enough_to_submit(analyst: Analyst, long_job: Path) -> None:
    cluster = analyst.cluster
    done = subprocess.run(
        ["sparkvault", "submit", *config(cluster), str(long_job), "0.1"],
        cwd=ROOT,
        env={**cluster.environment(), **analyst.keys},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=JOB_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert ANSWER in done.stdout


@pytest.mark.parametrize(
    "document", ["AWS-RunShellScript", "demo-host.rotate", "demo-host.status", f"demo-job.{OTHER}.submit"]
)
def test_a_submitter_runs_no_other_document(analyst: Analyst, document: str) -> None:
    with pytest.raises(ClientError, match="AccessDenied"):
        analyst.runs(document)


def test_a_submitter_puts_and_reads_nothing_of_another_tenant(analyst: Analyst) -> None:
    s3, theirs = analyst.client("s3"), new_job_id()
    where = {"Bucket": bucket(analyst.cluster), "Key": f"jobs/{theirs}/spec.json"}
    analyst.cluster.aws.client("s3").put_object(**where, Body=b"{}", Tagging=f"sparkvault:tenant={OTHER}")
    with pytest.raises(ClientError, match="AccessDenied"):
        s3.get_object(**where)
    for tags in ({}, {"Tagging": f"sparkvault:tenant={OTHER}"}):
        with pytest.raises(ClientError, match="AccessDenied"):
            s3.put_object(**where, Body=b"{}", **tags)


def test_a_specification_of_another_tenant_is_not_started(analyst: Analyst) -> None:
    """Neither one that another tenant has put, nor one of the submitter's own that names another tenant."""
    job = new_job_id()
    where = {"Bucket": bucket(analyst.cluster), "Key": f"jobs/{job}/spec.json"}
    s3 = analyst.cluster.aws.client("s3")
    s3.put_object(**where, Body=b"{}", Tagging=f"sparkvault:tenant={OTHER}")
    record = where | {"Key": f"jobs/{job}/record.json"}
    s3.put_object(**record, Body=b'{"state": "submitted"}', Tagging=f"sparkvault:tenant={OTHER}")
    assert "not put by a submitter of tenant default" in refusal(analyst, job)
    assert s3.get_object(**record)["Body"].read() == b'{"state": "submitted"}'
    assert s3.get_object_tagging(**record)["TagSet"] == [{"Key": "sparkvault:tenant", "Value": OTHER}]
    job = new_job_id()
    content = {"version": 1, "job": {"id": job, "target": "swarm", "tenant": OTHER}, "kind": "python", "files": []}
    where["Key"] = f"jobs/{job}/spec.json"
    body = json.dumps(content).encode()
    analyst.client("s3").put_object(**where, Body=body, Tagging="sparkvault:tenant=default")
    assert "job.tenant" in refusal(analyst, job)


def refusal(analyst: Analyst, job: str) -> str:
    """What the launcher says to a job that it does not start."""
    found = analyst.runs("demo-job.default.submit", job=[job])
    assert found["Status"] == "Failed", found
    return str(found["StandardErrorContent"])


def bucket(cluster: DeployedCluster) -> str:
    """Name of the job bucket."""
    return bucket_name("demo", "jobs", cluster.aws.account_id, cluster.aws.region)


#: Counts for ever in steps of a second, each of which needs an executor.
STEPS = """
import time
from pyspark.sql import SparkSession
spark = SparkSession.builder.getOrCreate()
numbers = spark.sparkContext.parallelize(range(2), 2)
def slow(number):
    time.sleep(1)
    return number
while True:
    assert numbers.map(slow).sum() == 1
    print("step with", spark.sparkContext.defaultParallelism, "cores", flush=True)
"""


@pytest.fixture
def two_tenants(cluster: DeployedCluster, tmp_path: Path) -> Iterator[DeployedCluster]:
    """The same cluster with another tenant, whose applications get half of its cores where they say nothing else."""
    changed = tmp_path / "tenants.yaml"
    tenants = "tenants:\n  - name: default\n  - name: research\n"
    changed.write_text(f"{cluster.configuration.read_text()}spark:\n  default_cores_per_application: 2\n{tenants}")
    found = replace(cluster, configuration=changed)
    [manager] = cluster.managers()
    containers = "docker ps --quiet --filter label=sparkvault.service=spark-master | xargs -r docker inspect"

    def master_gives(cores: int) -> bool:
        return f"-Dspark.deploy.defaultCores={cores} " in manager.run(["sh", "-c", containers]).stdout

    found.deploy()
    try:
        wait_until("the master to give two cores to an application", lambda: master_gives(2))
        whole(found, 2)
        yield found
    finally:
        cluster.deploy()
        wait_until("the master to give four cores again", lambda: master_gives(4))
        whole(cluster, 2)


def test_two_tenants_who_say_nothing_of_cores_compute_at_the_same_time(
    two_tenants: DeployedCluster, tmp_path: Path
) -> None:
    application = tmp_path / "steps.py"
    application.write_text(STEPS)
    with ThreadPoolExecutor() as pool:
        tenants = ("default", "research")
        jobs = list(pool.map(lambda name: detached(two_tenants, "--tenant", name, str(application)), tenants))

    def steps(job: str) -> list[str]:
        return [line for line in output_so_far(two_tenants, job) if line.startswith("step ")]

    def gets_beyond(job: str, count: int) -> None:
        wait_until(f"job {job} to get beyond step {count}", lambda: len(steps(job)) > count, 240)

    for job in jobs:
        gets_beyond(job, 0)
    # Neither ends by itself: from here on both have executors.
    for job, count in {job: len(steps(job)) for job in jobs}.items():
        gets_beyond(job, count + 5)
        assert set(steps(job)) == {"step with 2 cores"}
    for job in jobs:
        assert two_tenants.sparkvault("cancel", *config(two_tenants), job, timeout=180).returncode == 0
        assert ended(two_tenants, job)["state"] == "cancelled"
        no_driver_is_left(two_tenants, job)
