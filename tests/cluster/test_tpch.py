"""TPC-H over the overlay: 22 queries, each answer equal to DuckDB's on the same data."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.cluster.deployed import ROOT, DeployedCluster

# The first test waits for the deployment of the cluster.
pytestmark = [pytest.mark.timeout(3000), pytest.mark.campaign]

#: Gigabytes of raw data: small, for the answers are the point here; the benchmark takes another.
SCALE = "0.05"


def test_all_queries_answer_as_duckdb_does(cluster: DeployedCluster) -> None:
    place = ["--target", "swarm", "--config", str(cluster.configuration), "--scale", SCALE]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "tpch", *place, "--conf", "spark.sql.shuffle.partitions=4"],
        cwd=ROOT,
        env=cluster.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=1500,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    report = json.loads(done.stdout.splitlines()[-1])
    assert report["figures"]["answers_equal"] == 22
    print(f"{report['figures']['all_seconds']:.0f} s for all queries at scale {SCALE}")
