"""A real KDC: what somebody says their name is counts for nothing, on any of Hadoop's ports, inside and outside."""

from collections.abc import Generator
from pathlib import Path

import pytest

from emulation.engine import Engine
from emulation.yarn import SMALL_JOB, YarnCluster
from tests.yarn.test_cluster import counted_right, word_count

SHELL = "org.apache.hadoop.fs.FsShell"
#: What a job tries in its containers: Hadoop's own client under somebody else's name, and without the job's tokens.
INTRUDER = """
import os, subprocess, sys
from pyspark.sql import SparkSession
spark = SparkSession.builder.getOrCreate()
def tries(name):
    surroundings = {k: v for k, v in os.environ.items() if not (name and k == "HADOOP_TOKEN_FILE_LOCATION")}
    if name:
        surroundings["HADOOP_USER_NAME"] = name
    command = ["/opt/java/bin/java", "-cp", os.environ["PWD"] + "/__spark_conf__/__hadoop_conf__:/opt/spark/jars/*",
               "org.apache.hadoop.fs.FsShell", "-ls", sys.argv[1]]
    done = subprocess.run(command, env=surroundings, capture_output=True, text=True, timeout=120)
    return f"TRIED {name or 'by token'} {done.returncode} {(done.stderr.strip().splitlines() or [''])[-1]}"
for name in ("bea", "hdfs", ""):
    print(tries(name), flush=True)
spark.stop()
"""


@pytest.fixture(scope="module")
def realm(engine: Engine, hadoop_jars: Path) -> Generator[YarnCluster, None, None]:
    """Kerberos on every port; under runc, as names and tickets are the same under every runtime."""
    with YarnCluster("runc", engine, kerberos=True, progress=print) as cluster:
        yield cluster


pytestmark = [pytest.mark.campaign, pytest.mark.timeout(900)]


def test_a_job_runs_with_its_tenants_ticket(realm: YarnCluster, tmp_path: Path) -> None:
    outcome = word_count(realm, tmp_path)
    assert counted_right(outcome), outcome.diagnostics[-3000:] + outcome.output[-3000:]


def test_a_name_that_is_only_said_is_nobodys(realm: YarnCluster) -> None:
    said = realm.hadoop.run(SHELL, "-ls", "/user/bea", extra={"HADOOP_USER_NAME": "bea"}, check=False)
    assert said.returncode != 0
    assert "Client cannot authenticate via:[TOKEN, KERBEROS]" in said.stderr


def test_a_tickets_owner_stays_who_they_are(realm: YarnCluster) -> None:
    asked = {**realm.credentials("ada"), "HADOOP_USER_NAME": "bea"}
    said = realm.hadoop.run(SHELL, "-ls", "/user/bea", extra=asked, check=False)
    assert said.returncode != 0
    assert "Permission denied: user=ada" in said.stderr
    own = realm.hadoop.run(SHELL, "-ls", "/user/ada", extra=asked, check=False)
    assert own.returncode == 0, own.stderr


def test_nobody_else_administers_yarn(realm: YarnCluster) -> None:
    refresh = "org.apache.hadoop.yarn.client.cli.RMAdminCLI"
    said = realm.hadoop.run(refresh, "-refreshQueues", extra=realm.credentials("ada"), check=False)
    assert said.returncode != 0
    assert "ada" in said.stderr
    assert "not authorized" in said.stderr.lower() or "doesn't have permission" in said.stderr.lower()


def test_inside_a_container_another_name_gets_nowhere(realm: YarnCluster, tmp_path: Path) -> None:
    job = tmp_path / "intruder.py"
    job.write_text(INTRUDER)
    outcome = realm.submit([str(job), "/user/bea"], settings=SMALL_JOB)
    assert outcome.exit_code == 0, outcome.diagnostics[-3000:] + outcome.output[-3000:]
    tried = [line for line in outcome.output.splitlines() if line.startswith("TRIED ")]
    assert len(tried) == 3
    assert all(" 0 " not in line for line in tried), tried
    # With the job's own token the door is open and the room is not hers.
    assert "Permission denied: user=ada" in tried[-1]
