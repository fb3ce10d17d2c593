"""People's jobs on a cluster of emulated hosts: submitted by the command line, run over the overlay, answered right."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from emulation.ec2 import Host, HostError
from spark_constructs.naming import bucket_name
from sparkvault.targets.remote import log_stream
from tests.cluster.conftest import ROOT, DeployedCluster

# The first test waits for the deployment of the cluster.
pytestmark = [pytest.mark.timeout(1500), pytest.mark.campaign]

JOB_SECONDS = 400.0
RECOVERY_SECONDS = 300.0
TARGET = ("--target", "swarm")
METADATA = "http://169.254.169.254/latest/api/token"


def config(cluster: DeployedCluster) -> tuple[str, ...]:
    return (*TARGET, "--config", str(cluster.configuration))


def submit(cluster: DeployedCluster, *arguments: str, code: int = 0) -> str:
    """Submit, follow, and return the output; the exit code must be this one."""
    done = cluster.sparkvault("submit", *config(cluster), *arguments, timeout=JOB_SECONDS)
    assert done.returncode == code, done.stdout
    return done.stdout


def records(cluster: DeployedCluster) -> list[dict[str, Any]]:
    done = cluster.sparkvault("jobs", *config(cluster), "--json", timeout=60)
    found: list[dict[str, Any]] = json.loads(done.stdout[done.stdout.index("[") :])
    return found


def detached(cluster: DeployedCluster, *arguments: str) -> str:
    """Submit without waiting; the job's id."""
    output = submit(cluster, "--detach", *arguments)
    found = re.search(r"\d{8}-\d{6}-[0-9a-f]{8}", output)
    assert found, output
    return found[0]


def wait_until(what: str, check: Callable[[], Any], seconds: float = RECOVERY_SECONDS) -> Any:
    deadline = time.monotonic() + seconds
    while True:
        try:
            found = check()
        except HostError:
            found = None
        if found:
            return found
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s for {what}, in vain"
        time.sleep(0.5)


def output_so_far(cluster: DeployedCluster, job: str) -> list[str]:
    """Lines of the job's stream; `sparkvault logs` would follow it to its end."""
    return log_stream.last_lines(cluster.aws.client("logs"), "/sparkvault/demo/swarm", log_stream.job_stream(job), 1000)


def ended(cluster: DeployedCluster, job: str) -> dict[str, Any]:
    """The record of a job that has ended."""

    def look() -> dict[str, Any] | None:
        record = next(one for one in records(cluster) if one["spec"]["id"] == job)
        return record if record["state"] not in ("submitted", "running") else None

    found: dict[str, Any] = wait_until(f"the end of job {job}", look, JOB_SECONDS)
    return found


def services(cluster: DeployedCluster) -> dict[str, str]:
    """Replicas by the name of the service, as the manager has them."""
    [manager] = cluster.managers()
    listed = manager.run(["docker", "service", "ls", "--format", "{{.Name}} {{.Replicas}}"]).stdout
    return dict(line.split(" ", 1) for line in listed.splitlines())


def driver_container(cluster: DeployedCluster, job: str) -> tuple[Host, str]:
    """Where the job's driver runs."""

    def look() -> tuple[Host, str] | None:
        for host in cluster.workers():
            name = host.run(["docker", "ps", "--quiet", "--filter", f"label=sparkvault.job={job}"]).stdout.strip()
            if name:
                return host, name
        return None

    found: tuple[Host, str] = wait_until(f"the driver of {job}", look, 120)
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("jobs")


@pytest.fixture(scope="module")
def text(cluster: DeployedCluster, folder: Path) -> tuple[str, Counter[str]]:
    """A text where the tenant's jobs may read it, and its words as Python counts them."""
    file = folder / "text.txt"
    subprocess.run(["python", "examples/text.py", str(file)], cwd=ROOT, check=True, timeout=60)
    bucket = bucket_name("demo", "jobs", cluster.aws.account_id, cluster.aws.region)
    cluster.aws.client("s3").upload_file(str(file), bucket, "tenants/default/text.txt")
    words = Counter(re.findall(r"[a-z]+(?:'[a-z]+)*", file.read_text(encoding="utf-8").lower()))
    return f"s3a://{bucket}/tenants/default/text.txt", words


@pytest.fixture(scope="module")
def long_job(folder: Path) -> Path:
    """An application whose answer is known, and that runs long enough for something to happen to it."""
    file = folder / "long.py"
    file.write_text(
        "import sys, time\n"
        "from pyspark.sql import SparkSession\n"
        "spark = SparkSession.builder.getOrCreate()\n"
        "seconds = float(sys.argv[1])\n"
        "print('started', flush=True)\n"
        "def slow(number):\n    time.sleep(seconds)\n    return (number % 7, number)\n"
        "pairs = spark.sparkContext.parallelize(range(40), 40).map(slow).reduceByKey(lambda a, b: a + b)\n"
        "print('sum', sum(value for _, value in pairs.collect()), flush=True)\n"
        "spark.stop()\n"
    )
    return file


def test_a_job_counts_words_over_the_overlay(cluster: DeployedCluster, text: tuple[str, Counter[str]]) -> None:
    address, words = text
    output = submit(cluster, "examples/word_count.py", address, "--top", "3")
    for word, count in words.most_common(3):
        assert f"{count:,}  {word}\n" in output
    assert f"{words.total():,} words, {len(words):,} of them different" in output
    assert records(cluster)[0]["state"] == "succeeded"


@pytest.mark.campaign
def test_two_jobs_at_once_with_modules_of_their_own_and_their_own_exit_codes(
    cluster: DeployedCluster, folder: Path
) -> None:
    (folder / "lessons.py").write_text("def shout(text):\n    return text.upper()\n")
    good, bad = folder / "good.py", folder / "bad.py"
    good.write_text(
        "import sys\nfrom pyspark.sql import SparkSession\nfrom lessons import shout\n"
        "spark = SparkSession.builder.getOrCreate()\n"
        "print(sorted(spark.sparkContext.parallelize(sys.argv[1:]).map(shout).collect()))\nspark.stop()\n"
    )
    bad.write_text(
        "import sys\nfrom pyspark.sql import SparkSession\nSparkSession.builder.getOrCreate()\nsys.exit(7)\n"
    )
    strange = ["$(touch /tmp/x)", "; reboot", "a'b\"c", "`id`"]
    with ThreadPoolExecutor() as pool:
        one = pool.submit(
            submit,
            cluster,
            "--total-executor-cores",
            "2",
            "--py-files",
            str(folder / "lessons.py"),
            str(good),
            *strange,
        )
        other = pool.submit(submit, cluster, "--total-executor-cores", "2", str(bad), code=7)
        # What a shell would make something of arrives as it was written.
        assert str(sorted(text.upper() for text in strange)) in one.result(JOB_SECONDS)
        assert "exit code 7" in other.result(JOB_SECONDS)


def test_a_cancelled_job_ends_and_leaves_nothing_behind(cluster: DeployedCluster, long_job: Path) -> None:
    job = detached(cluster, str(long_job), "30")
    driver_container(cluster, job)
    assert cluster.sparkvault("cancel", *config(cluster), job, timeout=180).returncode == 0
    assert ended(cluster, job)["state"] == "cancelled"
    [manager] = cluster.managers()

    def gone() -> bool:
        left = [manager.run(["docker", kind, "ls"]).stdout for kind in ("service", "config", "secret")]
        return not any(job in listed for listed in left)

    wait_until("the job's service, config and secret to go", gone, 60)


@contextmanager
def running(cluster: DeployedCluster, long_job: Path, seconds: str = "3") -> Iterator[str]:
    """A job whose tasks run; afterwards it must have succeeded with the right answer."""
    job = detached(cluster, str(long_job), seconds)

    wait_until(f"the output of {job}", lambda: "started" in output_so_far(cluster, job), 180)
    yield job
    assert ended(cluster, job)["state"] == "succeeded"
    assert f"sum {sum(range(40))}" in output_so_far(cluster, job)


@pytest.mark.campaign
def test_no_secret_is_where_others_look(cluster: DeployedCluster, long_job: Path) -> None:
    with running(cluster, long_job) as job:
        host, container = driver_container(cluster, job)
        read = ["docker", "exec", container, "cat", "/run/secrets/spark-rpc-secret"]
        token = ["docker", "exec", container, "cat", "/run/secrets/sparkvault-credentials-token"]
        values = [host.run(command).stdout.strip() for command in (read, token)]
        assert all(len(value) >= 32 for value in values)
        everything = "\n".join(
            each.run(
                [
                    "sh",
                    "-c",
                    "ps axww -o args; docker ps -aq | xargs -r docker inspect; journalctl --no-pager -o cat; "
                    "docker service ls -q 2>/dev/null | xargs -r docker service inspect; "
                    "cat /root/.bash_history || true",
                ],
                timeout=120,
            ).stdout
            for each in cluster.ec2.hosts()
        )
        output = "\n".join(output_so_far(cluster, job))
        for value in values:
            assert value not in everything
            assert value not in output
        assert "spark-rpc-secret" in everything  # by name it is there: the right places were looked at


@pytest.mark.campaign
def test_a_driver_has_its_tenants_credentials_and_never_the_hosts(cluster: DeployedCluster, long_job: Path) -> None:
    with running(cluster, long_job) as job:
        host, container = driver_container(cluster, job)
        ask = (
            "import urllib.request, os, sys\n"
            "opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))\n"
            "url, method, header = sys.argv[1:]\n"
            "request = urllib.request.Request(url, method=method, headers=dict([header.split('=', 1)]))\n"
            "try:\n    print(opener.open(request, timeout=5).status)\n"
            "except urllib.error.HTTPError as error:\n    print(error.code)\n"
            "except OSError as error:\n    print('unreachable')\n"
        )

        def asked(inside: str, url: str, method: str, header: str) -> str:
            command = ["docker", "exec", inside, "python3", "-c", ask, url, method, header]
            return host.run(command).stdout.strip()

        broker = "http://169.254.170.23/v1/credentials"
        token = host.run(["docker", "exec", container, "cat", "/run/secrets/sparkvault-credentials-token"]).stdout
        assert asked(container, METADATA, "PUT", "X-aws-ec2-metadata-token-ttl-seconds=60") == "unreachable"
        assert asked(container, broker, "GET", f"Authorization={token.strip()}") == "200"
        assert asked(container, broker, "GET", "Authorization=sv1.x.y.z") == "401"


@pytest.mark.campaign
def test_a_worker_host_that_dies_in_mid_job_is_replaced_and_the_job_ends_right(
    cluster: DeployedCluster, long_job: Path
) -> None:
    with running(cluster, long_job, "5") as job:
        driver, _ = driver_container(cluster, job)
        victim = next(host for host in cluster.workers() if host.instance_id != driver.instance_id)
        killed = time.monotonic()
        victim.kill()
        cluster.ec2.impair(victim)

        before = {host.instance_id for host in cluster.workers()}

        def replaced() -> bool:
            # The dead one stays in the group until its hook is over; nobody is there who could complete it.
            new = [host for host in cluster.workers() if host.instance_id not in before]
            command = ["docker", "ps", "--quiet", "--filter", "label=sparkvault.service=spark-worker"]
            return any(host.run([*command, "--filter", "health=healthy"]).stdout.strip() for host in new)

        wait_until("the host that replaces it, with its Spark worker", replaced)
        print(f"replaced after {time.monotonic() - killed:.0f} s")
