"""A YARN cluster whose hosts boot by the deployed template's own user data: jobs, refusals, a dead host, draining."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Generator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from emulation.ec2 import Host
from emulation.engine import Engine
from emulation.yarn import SMALL_JOB
from emulation.yarn.booted import CLUSTER, NODES, BootedYarn, booted_yarn
from spark_constructs.naming import bucket_name
from sparkvault.project import project_root
from sparkvault.targets.remote import log_stream
from tests.cluster.people import wait_until

# The first test waits for the deployment.
pytestmark = [pytest.mark.campaign, pytest.mark.timeout(2400)]

TENANT = ("--target", "yarn", "--tenant", "ada")
SMALL = [word for name, value in SMALL_JOB.items() for word in ("--conf", f"{name}={value}")]
#: One more executor than fits beside the driver on one node.
SPREAD = (*SMALL, "--conf", "spark.executor.instances=3")
#: Forty numbers, each of which takes its time; the sum is known.
ANSWER = f"sum {sum(range(40))}"
SLOW = """
import sys, time
from pyspark.sql import SparkSession
spark = SparkSession.builder.getOrCreate()
seconds = float(sys.argv[1])
def slow(number):
    time.sleep(seconds)
    return number
print("sum", sum(spark.sparkContext.parallelize(range(40), 40).map(slow).collect()), flush=True)
spark.stop()
"""


@pytest.fixture(scope="module")
def booted(
    engine: Engine, hadoop_jars: Path, tmp_path_factory: pytest.TempPathFactory
) -> Generator[BootedYarn, None, None]:
    """Every container under gVisor."""
    with booted_yarn(engine, tmp_path_factory.mktemp("booted"), progress=print) as found:
        yield found


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> str:
    application = tmp_path_factory.mktemp("jobs") / "slow.py"
    application.write_text(SLOW)
    return str(application)


def detached(booted: BootedYarn, *arguments: str) -> str:
    """The id of a job that nobody follows."""
    done = booted.run("submit", *TENANT, "--detach", *SPREAD, *arguments)
    assert done.returncode == 0, done.stdout
    return str(re.findall(r"\d{8}-\d{6}-[0-9a-f]{8}", done.stdout)[0])


def output(booted: BootedYarn, job: str) -> list[str]:
    """What the job has said so far."""
    stream = log_stream.job_stream(job)
    return log_stream.last_lines(booted.aws.client("logs"), f"/sparkvault/{CLUSTER}/yarn", stream, 1000)


def record(booted: BootedYarn, job: str) -> dict[str, Any]:
    """What `sparkvault jobs` says of the job."""
    done = booted.run("jobs", "--target", "yarn", "--json")
    return next(one for one in json.loads(done.stdout) if one["spec"]["id"] == job)


def succeeded(booted: BootedYarn, job: str, seconds: float) -> None:
    """Wait for its end, which must be the right answer."""

    def ended_record() -> dict[str, Any] | None:
        found = record(booted, job)
        return found if found["state"] not in ("submitted", "running") else None

    ended = wait_until(f"the end of job {job}", ended_record, seconds)
    said = output(booted, job)
    assert ended["state"] == "succeeded", (ended["message"], said[-40:])
    assert ANSWER in said


def containers(host: Host) -> list[str]:
    """Names of YARN's containers that run there: the last number of a driver's is 1."""
    listed = host.run(["docker", "ps", "--format", "{{.Names}}"]).stdout.split()
    return [name for name in listed if name.startswith("container_")]


def with_executor(booted: BootedYarn) -> Host:
    """A node that runs an executor and not the driver."""

    def found() -> Host | None:
        for host in booted.nodes():
            names = containers(host)
            if names and not any(name.endswith("_000001") for name in names):
                return host
        return None

    host: Host = wait_until("an executor on a node without the driver", found, 240)
    return host


def whole(booted: BootedYarn, nodes: int = NODES) -> None:
    """Wait until `sparkvault status` finds everything as it should be, and as many NodeManagers as nodes."""

    def healthy() -> bool:
        try:
            done = booted.run("status", "--target", "yarn", "--json", seconds=120)
        except subprocess.TimeoutExpired:
            return False
        start = done.stdout.find("{")
        if start < 0:
            return False
        report = json.JSONDecoder().raw_decode(done.stdout[start:])[0]["targets"][0]
        running = [one for one in report["components"] if one["kind"] == "node" and one["state"] == "running"]
        return bool(report["healthy"]) and len(running) == nodes

    wait_until("a whole cluster", healthy, 600)


def test_a_job_counts_the_words_in_the_tenants_bucket_under_a_kernel_of_its_own(
    booted: BootedYarn, tmp_path: Path
) -> None:
    whole(booted)
    text = tmp_path / "text.txt"
    subprocess.run([sys.executable, "examples/text.py", str(text)], cwd=project_root(), check=True, timeout=60)
    bucket = bucket_name(CLUSTER, "jobs", booted.aws.account_id, booted.aws.region)
    booted.aws.client("s3").upload_file(str(text), bucket, "tenants/ada/text.txt")
    words = Counter(re.findall(r"[a-z]+(?:'[a-z]+)*", text.read_text(encoding="utf-8").lower()))
    place = f"s3a://{bucket}/tenants/ada/text.txt"
    done = booted.run("submit", *TENANT, *SMALL, "examples/word_count.py", place, "--top", "3")
    assert done.returncode == 0, done.stdout
    for word, count in words.most_common(3):
        assert re.search(rf"^ *{count:,}  {word}$", done.stdout, re.M), done.stdout
    assert f"{sum(words.values()):,} words, {len(words):,} of them different" in done.stdout
    [application] = set(re.findall(r"application_\d+_\d+", done.stdout))
    kernels = kernels_of(booted, application)
    host = Path("/proc/version").read_text(encoding="utf-8").strip()
    assert kernels
    assert host not in kernels


def kernels_of(booted: BootedYarn, application: str) -> set[str]:
    """What the job's containers saw as their kernel: the image's launcher says it in each, YARN has collected it."""
    logs = ["/opt/hadoop/bin/yarn", "logs", "-applicationId", application, "-appOwner", "ada", "-log_files", "stderr"]
    ticket = ["kinit", "-k", "-t", "/etc/sparkvault/tenant-keytabs/ada.keytab", "-c", "/run/ada.ticket", "ada"]
    booted.master().run(ticket)
    script = '. /etc/sparkvault/hadoop.env; export JAVA_HOME HADOOP_CONF_DIR KRB5CCNAME=/run/ada.ticket; exec "$@"'
    said = booted.master().run(["sh", "-c", script, "sh", *logs], timeout=120).stdout
    return set(re.findall(r"kernel in this container: (.+)", said))


def test_a_job_that_asks_for_runc_is_refused_in_words(booted: BootedYarn, slow: str) -> None:
    asked = "spark.yarn.appMasterEnv.YARN_CONTAINER_RUNTIME_DOCKER_RUNTIME=runc"
    once = ["--conf", "spark.yarn.maxAppAttempts=1"]
    done = booted.run("submit", *TENANT, *SMALL, *once, "--conf", asked, slow, "0")
    assert done.returncode == 1, done.stdout
    assert "leave YARN_CONTAINER_RUNTIME" in done.stdout


def test_the_first_master_and_nodes_say_what_they_did_at_boot(booted: BootedYarn) -> None:
    for host in (booted.master(), *booted.nodes()):
        done = booted.run("logs", "--target", "yarn", f"boot/{host.instance_id}")
        assert '"boot": "SUCCESS"' in done.stdout, done.stdout


def test_a_node_dies_in_mid_job_and_its_group_replaces_it(booted: BootedYarn, slow: str) -> None:
    whole(booted)
    job = detached(booted, slow, "8")
    victim = with_executor(booted)
    victim.kill()
    booted.ec2.impair(victim)
    succeeded(booted, job, 900)
    whole(booted)
    assert victim.instance_id not in {host.instance_id for host in booted.nodes()}


def test_executors_of_a_node_that_leaves_go_while_their_job_runs_on(booted: BootedYarn, slow: str) -> None:
    """They finish their tasks and end well, the host follows, and nothing of the job is lost on the way."""
    scaled = booted.run("scale", str(NODES + 1), "--target", "yarn")
    assert scaled.returncode == 0, scaled.stdout
    whole(booted, NODES + 1)
    job = detached(booted, slow, "15")
    leaving = with_executor(booted)
    names = containers(leaving)
    groups = booted.aws.client("autoscaling")
    groups.terminate_instance_in_auto_scaling_group(InstanceId=leaving.instance_id, ShouldDecrementDesiredCapacity=True)
    for name in names:
        code = wait_until(f"the end of {name}", partial(ended_with, leaving, name), 400)
        assert code == "0", f"{name} ended with {code}"
    assert record(booted, job)["state"] == "running", output(booted, job)[-40:]
    wait_until("the host's end", lambda: booted.ec2.state_of(leaving.instance_id) == "terminated", 400)
    succeeded(booted, job, 900)
    whole(booted)


def ended_with(host: Host, container: str) -> str | None:
    """Exit code of a container of YARN's, from what the NodeManager says of it; None while it runs."""
    if container in containers(host):
        return None
    said = host.journal("sparkvault-nodemanager.service", 4000)
    found = re.search(rf"{container} succeeded|Exit code from container {container} is : (\d+)", said)
    return None if found is None else found.group(1) or "0"
