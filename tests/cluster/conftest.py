"""One cluster on emulated hosts for all tests of this folder: a manager, two workers, deployed by the real CDK CLI."""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from emulation.aws import EmbeddedAws, bootstrap
from emulation.ec2 import EmulatedEc2, Host, HostError
from emulation.engine import Engine
from spark_constructs.naming import bucket_name
from tests.cluster.deployed import CONFIGURATION, ROOT, DeployedCluster
from tests.support.docker_engine import leased_engine

#: Size of a host's data volume, so that one can be filled: images take some 2.5 GiB.
DISK_MIB = 8192

#: Lines of its agent's journal that each host shows when a test fails: hosts are gone when anybody looks.
JOURNAL_LINES = 60

RUNNING_EC2 = pytest.StashKey[EmulatedEc2]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """What hosts did last goes with the report of a test that failed on them."""
    report = yield
    if report.failed:
        for host in hosts_of(item):
            try:
                said = host.journal("sparkvault-agent.service", JOURNAL_LINES)
            except HostError as error:
                said = str(error)
            report.sections.append((f"agent of {host.role} {host.instance_id} {host.address}", said))
    return report


def hosts_of(item: pytest.Item) -> list[Host]:
    """The hosts of the cluster that a test is about; those of the common account where it names none."""
    given = getattr(item, "funcargs", {}).values()
    accounts = [one.ec2 for one in given if isinstance(one, DeployedCluster)]
    if not accounts and RUNNING_EC2 in item.session.stash:
        accounts = [item.session.stash[RUNNING_EC2]]
    return [host for ec2 in accounts for host in ec2.hosts()]


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    """The machine's own Docker engine; skips where there cannot be one, fails there under CI."""
    yield from leased_engine()


@pytest.fixture(scope="session")
def emulated(request: pytest.FixtureRequest, engine: Engine) -> Iterator[tuple[EmbeddedAws, EmulatedEc2]]:
    """An account whose instances come to life; nothing is deployed in it."""
    with EmbeddedAws(hosts="external") as aws:
        bootstrap(aws, [ROOT / "node_modules" / ".bin" / "cdk"])
        with EmulatedEc2(aws, engine, disk_mib=DISK_MIB) as ec2:
            request.session.stash[RUNNING_EC2] = ec2
            yield aws, ec2
            del request.session.stash[RUNNING_EC2]


@pytest.fixture(scope="session")
def cluster(
    engine: Engine, emulated: tuple[EmbeddedAws, EmulatedEc2], tmp_path_factory: pytest.TempPathFactory
) -> DeployedCluster:
    """The demo's cluster, deployed: its creation has waited for the hosts' own signals."""
    aws, ec2 = emulated
    found = DeployedCluster(aws, ec2, engine, CONFIGURATION, tmp_path_factory.mktemp("work"))
    found.deploy()
    return found


@pytest.fixture(scope="session")
def text(cluster: DeployedCluster, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Counter[str]]:
    """A text where the tenant's jobs may read it, and its words as Python counts them."""
    file = tmp_path_factory.mktemp("text") / "text.txt"
    subprocess.run(["python", "examples/text.py", str(file)], cwd=ROOT, check=True, timeout=60)
    bucket = bucket_name("demo", "jobs", cluster.aws.account_id, cluster.aws.region)
    cluster.aws.client("s3").upload_file(str(file), bucket, "tenants/default/text.txt")
    words = Counter(re.findall(r"[a-z]+(?:'[a-z]+)*", file.read_text(encoding="utf-8").lower()))
    return f"s3a://{bucket}/tenants/default/text.txt", words


@pytest.fixture(scope="session")
def long_job(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An application whose answer is known, and that runs long enough for something to happen to it."""
    file = tmp_path_factory.mktemp("jobs") / "long.py"
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
