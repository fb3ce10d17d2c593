"""TPC-H: 22 queries on a target, each answer equal to DuckDB's on the same data; seconds of each and of all."""

import argparse
import json
import math
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import duckdb

from benchmarks.report import Report
from benchmarks.tpch_application import MARK, TABLES, plain
from spark_constructs.naming import bucket_name
from spark_constructs.tenant_permissions import tenant_prefix
from sparkvault.account import Account
from sparkvault.project import load_deployment

QUERIES = Path(__file__).parent / "tpch_queries"
APPLICATION = Path(__file__).parent / "tpch_application.py"
TIMEOUT_SECONDS = 3600

#: Relative difference that sums of floating-point numbers may have, whatever their order.
TOLERANCE = 1e-6

#: Spark keeps six digits after the point of averages and quotients of the tables' decimals, and rounds there.
DIGITS = 1e-6


def main(arguments: list[str]) -> int:
    """Generate, run, compare, report; 1 if an answer differs."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks tpch", description=__doc__)
    parser.add_argument("--target", choices=("local", "swarm", "fargate"), default="local")
    parser.add_argument("--config", type=Path, help="the deployment's configuration, where it is not that in cdk.json")
    parser.add_argument("--scale", type=float, default=1.0, help="scale factor: GB of raw data")
    parser.add_argument("--conf", action="append", default=[], help="settings for Spark, as spark-submit takes them")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        generate(folder, options.scale)
        queries = queries_for(options.scale)
        found = run(options.target, folder, queries, options.conf, options.config)
        expected = {name: answer(folder, query) for name, query in queries.items()}
    report = Report("fargate_tpch" if options.target == "fargate" else "tpch")
    for name in queries:
        report.figures[f"{name}_seconds"] = found[name]["seconds"]
    report.figures["all_seconds"] = round(sum(result["seconds"] for result in found.values()), 3)
    report.figures["scale"] = options.scale
    wrong = [name for name in queries if not same(found[name]["rows"], expected[name])]
    report.figures["answers_equal"] = len(queries) - len(wrong)
    report.notes.append(f"target {options.target}; on record for scale 1: 259 s for all on c5.xlarge hosts")
    for name in wrong:
        report.notes.append(f"{name}: the answer is not DuckDB's")
    report.publish()
    return 1 if wrong else 0


def queries_for(scale: float) -> dict[str, str]:
    """The 22 queries by name, as they are asked of data of that scale factor."""
    # The specification lets Q11's fraction shrink as data grows (2.4.11.3).
    return {
        path.stem: path.read_text(encoding="utf-8").replace("{fraction}", f"{0.0001 / scale:.10f}")
        for path in sorted(QUERIES.glob("q*.sql"))
    }


def generate(folder: Path, scale: float) -> None:
    """A Parquet file for each table."""
    command = [
        str(Path(sys.executable).with_name("tpchgen-cli")),
        "parquet",
        "--scale-factor",
        str(scale),
        "--output-dir",
        str(folder),
    ]
    subprocess.run(command, check=True, timeout=TIMEOUT_SECONDS, stdout=subprocess.DEVNULL)


def run(
    target: str, folder: Path, queries: dict[str, str], settings: list[str], config: Path | None = None
) -> dict[str, dict[str, Any]]:
    """Submit the application to the target and read its results."""
    file = folder / "queries.json"
    file.write_text(json.dumps(queries), encoding="utf-8")
    flags = [word for setting in settings for word in ("--conf", setting)]
    if target == "swarm":
        arguments = [upload(folder, config), "/opt/spark/work-dir/files/queries.json"]
        flags += ["--files", str(file)]
    elif target == "fargate":
        arguments = [upload(folder, config), file.name]
        flags += ["--files", str(file)]
    else:
        arguments = [f"file://{folder}", str(file)]
    place = ["--target", target, *(["--config", str(config)] if config else [])]
    command = [sys.executable, "-m", "sparkvault", "submit", *place, *flags, str(APPLICATION), *arguments]
    done = subprocess.run(command, check=True, timeout=TIMEOUT_SECONDS, stdout=subprocess.PIPE, text=True)
    lines = [line.removeprefix(MARK) for line in done.stdout.splitlines() if line.startswith(MARK)]
    return {result["query"]: result for result in map(json.loads, lines)}


def upload(folder: Path, config: Path | None) -> str:
    """The tables under the default tenant's own prefix in the job bucket."""
    deployment = load_deployment(config)
    account = Account(deployment)
    bucket = bucket_name(deployment.cluster, "jobs", account.id, account.region)
    prefix = f"{tenant_prefix(deployment.tenant_names()[0])}tpch"
    for table in TABLES:
        account.client("s3").upload_file(str(folder / f"{table}.parquet"), bucket, f"{prefix}/{table}.parquet")
    return f"s3a://{bucket}/{prefix}"


def answer(folder: Path, query: str) -> list[list[object]]:
    """DuckDB's answer."""
    database = duckdb.connect()
    for table in TABLES:
        database.read_parquet(str(folder / f"{table}.parquet")).create_view(table)
    return [[plain(value) for value in row] for row in database.execute(query).fetchall()]


def same(found: list[list[object]], expected: list[list[object]]) -> bool:
    """Whether two answers are equal, row by row; where the order of rows is open, in any order."""
    return len(found) == len(expected) and all(
        len(one) == len(other) and all(map(_equal, one, other))
        for one, other in zip(sorted(found, key=_key), sorted(expected, key=_key), strict=True)
    )


def _equal(one: object, other: object) -> bool:
    if isinstance(one, int | float) and isinstance(other, int | float):
        return math.isclose(one, other, rel_tol=TOLERANCE, abs_tol=DIGITS)
    return one == other


def _key(row: list[object]) -> str:
    return str([f"{value:.4g}" if isinstance(value, float) else value for value in row])
