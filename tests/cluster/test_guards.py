"""Who gets in, and who does not: strangers on the network, stolen tokens, tampered images, a tenant's submitter."""

from __future__ import annotations

import json
import secrets
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from emulation.ec2 import Host
from spark_constructs.naming import bucket_name
from sparkvault.jobs import new_job_id
from tests.cluster.deployed import ROOT, DeployedCluster
from tests.cluster.people import ANSWER, JOB_SECONDS, config, wait_until, whole
from tests.cluster.test_core import ports_that_answer

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


def test_a_host_outside_the_groups_finds_nothing_open(cluster: DeployedCluster) -> None:
    api = cluster.aws.client("ec2")
    [vpc] = {one["VpcId"] for one in api.describe_subnets()["Subnets"] if one["CidrBlock"].startswith("10.20.")}
    outside = api.create_security_group(GroupName="outside", Description="x", VpcId=vpc)["GroupId"]
    with instance_of_nobody(cluster, [outside]) as host:
        for target in cluster.managers() + cluster.workers():
            assert ports_that_answer(host, target) == set()


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
