"""TPC-H on Fargate: 22 queries by driver and executors behind an emulated ECS, each answer compared with DuckDB's."""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from emulation.ecs.fargate_account import fargate_account

CONFIGURATION = "emulation/demo/fargate.yaml"
EXECUTORS = 2
LIMIT_SECONDS = 3600.0


def main(arguments: list[str]) -> int:
    """Deploy the stacks into an emulated account and run benchmark `tpch` there; 1 if an answer differs."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks fargate_tpch", description=__doc__)
    parser.add_argument("--scale", type=float, default=0.1, help="scale factor: GB of raw data")
    options = parser.parse_args(arguments)
    with (
        tempfile.TemporaryDirectory(prefix="fargate-tpch-") as name,
        fargate_account(Path(name), CONFIGURATION) as account,
    ):
        settings = {"spark.executor.instances": EXECUTORS, "spark.sql.shuffle.partitions": 2 * EXECUTORS}
        flags = [word for setting, value in settings.items() for word in ("--conf", f"{setting}={value}")]
        place = ["--target", "fargate", "--config", CONFIGURATION, "--scale", str(options.scale)]
        return subprocess.run(
            [sys.executable, "-m", "benchmarks", "tpch", *place, *flags],
            env=account.environment,
            timeout=LIMIT_SECONDS,
            check=False,
        ).returncode
