"""People's jobs on a cluster of emulated hosts: submitted by the command line, run over the overlay, answered right."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.cluster.deployed import DeployedCluster
from tests.cluster.people import JOB_SECONDS, config, detached, driver_container, ended, no_driver_is_left, submit

# The first test waits for the deployment of the cluster.
pytestmark = [pytest.mark.timeout(1500), pytest.mark.campaign]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("jobs")


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
    no_driver_is_left(cluster, job)
