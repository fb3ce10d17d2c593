"""`sparkvault submit --target yarn` through the deployed stacks: a tenant's queue, user and answer, nobody else's."""

import json
import re
import threading
import time
from collections.abc import Generator
from pathlib import Path

import pytest

from emulation.engine import Engine
from emulation.yarn import SMALL_JOB, YarnCluster
from emulation.yarn.deployed import DeployedYarn, deployed_yarn

pytestmark = [pytest.mark.campaign, pytest.mark.timeout(1200)]

SMALL = [word for name, value in SMALL_JOB.items() for word in ("--conf", f"{name}={value}")]
WHO_AM_I = """
import os, sys
from pyspark.sql import SparkSession
spark = SparkSession.builder.getOrCreate()
total = spark.sparkContext.parallelize(range(10), 2).sum()
user = spark.sparkContext._jvm.org.apache.hadoop.security.UserGroupInformation.getCurrentUser().getShortUserName()
print(f"the total is {total}, the user is {user}, the process is {os.getuid()}, told {sys.argv[1]}")
spark.stop()
"""
FOR_LONG = (
    "import time\nfrom pyspark.sql import SparkSession\nspark = SparkSession.builder.getOrCreate()\ntime.sleep(600)\n"
)


@pytest.fixture(scope="module")
def deployed(
    engine: Engine, hadoop_jars: Path, tmp_path_factory: pytest.TempPathFactory
) -> Generator[DeployedYarn, None, None]:
    """Under runc: who a job is, and who may end it, is the same under every runtime."""
    with (
        YarnCluster("runc", engine, progress=print) as cluster,
        deployed_yarn(cluster, tmp_path_factory.mktemp("yarn"), print) as found,
    ):
        yield found


@pytest.fixture
def who_am_i(tmp_path: Path) -> str:
    application = tmp_path / "who_am_i.py"
    application.write_text(WHO_AM_I)
    return str(application)


def newest(deployed: DeployedYarn) -> dict[str, object]:
    done = deployed.run("jobs", "--target", "yarn", "--json")
    assert done.returncode == 0, done.stdout
    found: dict[str, object] = json.loads(done.stdout)[0]
    return found


def test_a_job_runs_as_its_tenant_and_in_its_queue_whatever_it_asks_for(deployed: DeployedYarn, who_am_i: str) -> None:
    asked = ["--target", "yarn", "--tenant", "ada", *SMALL, "--queue", "root.bea"]
    done = deployed.run("submit", *asked, who_am_i, "a word")
    assert done.returncode == 0, done.stdout
    uid = next(tenant.uid for tenant in deployed.cluster.tenants if tenant.name == "ada")
    assert f"the total is 45, the user is ada, the process is {uid}, told a word" in done.stdout
    record = newest(deployed)
    assert (record["state"], record["exit_code"]) == ("succeeded", 0)
    said = deployed.cluster.hadoop.log("resourcemanager").read_text(encoding="utf-8")
    application = re.findall(r"application_\d+_\d+", done.stdout)[0]
    assert re.search(
        rf"{application}.*user: ada.*queue: root\.ada|user=ada.*{application}|ada.*root\.ada.*{application}", said
    )


def test_a_job_that_asks_for_less_is_refused_in_words(engine: Engine, deployed: DeployedYarn, who_am_i: str) -> None:
    asked = "spark.yarn.appMasterEnv.YARN_CONTAINER_RUNTIME_DOCKER_MOUNTS=/etc:/host:ro"
    once = ["--conf", "spark.yarn.maxAppAttempts=1"]
    given = ["--target", "yarn", "--tenant", "ada", *SMALL, *once, "--conf", asked]
    done = deployed.run("submit", *given, who_am_i, "x")
    assert done.returncode == 1, done.stdout
    assert "asked for a folder of the host" in done.stdout
    assert "leave YARN_CONTAINER_RUNTIME_DOCKER_MOUNTS out" in done.stdout


def test_another_tenants_document_starts_and_ends_nothing(deployed: DeployedYarn, tmp_path: Path) -> None:
    """Who may run a document is IAM's; that a document speaks for its tenant alone is the launcher's."""
    application = tmp_path / "for_long.py"
    application.write_text(FOR_LONG)
    started = deployed.run("submit", "--target", "yarn", "--tenant", "ada", "--detach", *SMALL, str(application))
    assert started.returncode == 0, started.stdout
    job = re.findall(r"\d{8}-\d{6}-[0-9a-f]{8}", started.stdout)[0]
    ssm = deployed.aws.client("ssm")
    group = deployed.aws.client("autoscaling").describe_auto_scaling_groups(
        AutoScalingGroupNames=["hadoop-yarn-masters"]
    )
    instance = group["AutoScalingGroups"][0]["Instances"][0]["InstanceId"]
    for verb, complaint in (("cancel", "is not one of tenant bea"), ("submit", "not put by a submitter of tenant bea")):
        sent = ssm.send_command(
            InstanceIds=[instance], DocumentName=f"hadoop-yarn.job.bea.{verb}", Parameters={"job": [job]}
        )["Command"]["CommandId"]
        assert complaint in ended(ssm, sent, instance)
    cancelled = deployed.run("cancel", "--target", "yarn", job)
    assert cancelled.returncode == 0, cancelled.stdout
    record = newest(deployed)
    assert record["state"] == "cancelled", record["message"]


def test_status_shows_hosts_and_nodemanagers(deployed: DeployedYarn) -> None:
    done = deployed.run("status", "--target", "yarn", "--json")
    found = {each["kind"]: each for each in json.loads(done.stdout)["targets"][0]["components"]}
    assert found["node"]["state"] == "running"
    assert found["master"]["healthy"]


def ended(ssm: object, command: str, instance: str) -> str:
    """What a document said on standard error."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        found = ssm.get_command_invocation(CommandId=command, InstanceId=instance)  # type: ignore[attr-defined]
        if found["Status"] not in ("Pending", "InProgress"):
            return str(found["StandardErrorContent"])
        threading.Event().wait(0.5)
    raise AssertionError("the document did not end within 120 s")
