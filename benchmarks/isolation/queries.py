"""TPC-H end to end in Spark on YARN: all queries as one job, under each runtime, each answer compared with DuckDB's."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks import tpch
from benchmarks.isolation.measures import Figures
from benchmarks.tpch_application import MARK, TABLES
from emulation.engine import Engine
from emulation.yarn import SMALL_JOB, YarnCluster, YarnEmulationError
from emulation.yarn.cluster import Runtime

TENANT, NEIGHBOUR = "ada", "bea"
JOB_SECONDS = 1500.0

#: One driver and one executor, each in a container of its own, under every runtime alike.
SETTINGS: Mapping[str, str] = {**SMALL_JOB, "spark.driver.memory": "896m", "spark.executor.memory": "896m"}


@dataclass(frozen=True)
class Data:
    """Tables in a folder, the queries for their scale, and DuckDB's answers."""

    folder: Path
    queries: Mapping[str, str]
    answers: Mapping[str, list[list[object]]]

    @classmethod
    def generate(cls, folder: Path, scale: float) -> Data:
        """Tables of that scale factor: GB of raw data."""
        tpch.generate(folder, scale)
        queries = tpch.queries_for(scale)
        (folder / "queries.json").write_text(json.dumps(queries), encoding="utf-8")
        return cls(folder, queries, {name: tpch.answer(folder, query) for name, query in queries.items()})


def run(engine: Engine, runtime: Runtime, data: Data, progress: Callable[[str], None]) -> Figures:
    """Seconds of each query, of all and of the job, on a cluster of that runtime. Raises YarnEmulationError."""
    tenants = (TENANT, NEIGHBOUR)
    with YarnCluster(runtime, engine, tenants=tenants, progress=progress) as cluster:
        home = cluster.put([data.folder / f"{table}.parquet" for table in TABLES], TENANT)
        queries = data.folder / "queries.json"
        outcome = cluster.submit(
            [str(tpch.APPLICATION), home, queries.name],
            tenant=TENANT,
            settings={**SETTINGS, "spark.files": queries.resolve().as_uri()},
            seconds=JOB_SECONDS,
        )
        if outcome.exit_code:
            raise YarnEmulationError(
                f"TPC-H under {runtime} ended with {outcome.exit_code}: {outcome.diagnostics[-800:]}",
                outcome.output[-800:],
            )
        own = Path("/proc/version").read_text(encoding="utf-8").strip()
        kernels = cluster.kernels(outcome)
        if not kernels or (runtime == "runc") != (own in kernels):
            raise YarnEmulationError(f"TPC-H was to run under {runtime}, and its containers saw the kernels {kernels}")
        return figures(outcome.output, outcome.seconds, data)


def figures(output: str, seconds: float, data: Data) -> Figures:
    """What a job of ``seconds`` that said so measured. Raises YarnEmulationError for an answer that is not DuckDB's."""
    lines = [line.removeprefix(MARK) for line in output.splitlines() if line.startswith(MARK)]
    found = {result["query"]: result for result in map(json.loads, lines)}
    missing = sorted(set(data.queries) - set(found))
    if missing:
        raise YarnEmulationError(f"the job gave no answer to {', '.join(missing)}")
    wrong = [name for name in data.queries if not tpch.same(found[name]["rows"], data.answers[name])]
    if wrong:
        raise YarnEmulationError(f"the answers to {', '.join(wrong)} are not DuckDB's: their times count for nothing")
    each = {f"{name}_seconds": float(found[name]["seconds"]) for name in data.queries}
    return {**each, "all_queries_seconds": round(sum(each.values()), 3), "job_seconds": round(seconds, 1)}
