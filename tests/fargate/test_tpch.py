"""All of TPC-H on Fargate: 22 answers, each equal to DuckDB's, over the stacks as deployed."""

import json
import subprocess
import sys

import pytest

from sparkvault.project import project_root

pytestmark = pytest.mark.campaign


@pytest.mark.timeout(1800)
def test_all_22_answers_are_duckdbs() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "fargate_tpch", "--scale", "0.1"],
        cwd=project_root(),
        capture_output=True,
        text=True,
        timeout=1700,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    figures = json.loads(done.stdout.strip().splitlines()[-1])["figures"]
    assert (figures["answers_equal"], figures["scale"]) == (22, 0.1)
