"""Part `yarn`: Hadoop's real daemons, the same jobs under runc and gVisor, and a job that asks for less refused."""

import json
import math
import re
import sys
from collections import Counter
from pathlib import Path

from benchmarks import tpch
from benchmarks.tpch_application import MARK
from emulation.aws import EmbeddedAws
from emulation.demo.steps import ROOT, Demo, DemoError, console
from emulation.engine import Engine, EngineMissing, engine_lease
from emulation.yarn import SMALL_JOB, Outcome, YarnCluster, node_engine
from emulation.yarn.cluster import Runtime

APPLICATION = Path(__file__).with_name("yarn_application.py")
TENANT, TOP = "ada", 5
#: Queries and scale of the TPC-H part: a few megabytes, for answers and not for speed.
QUERIES, SCALE = ("q01", "q06"), 0.01


def run(demo: Demo, aws: EmbeddedAws, work: Path) -> None:
    """Both runtimes, one after the other. Needs nothing of the emulated AWS."""
    text = work / "yarn-text.txt"
    data = work / "tpch"
    demo.run(sys.executable, "examples/text.py", str(text), shown=f"python examples/text.py {text.name}")
    data.mkdir()
    tpch.generate(data, SCALE)
    try:
        with engine_lease() as engine:
            for runtime in ("runc", "runsc"):
                under(demo, engine, runtime, text, data)
    except EngineMissing as missing:
        demo.note("YARN", f"not shown: {missing}")
        return
    demo.note("YARN with Kata", "not shown: this machine has no KVM")


def under(demo: Demo, engine: Engine, runtime: Runtime, text: Path, data: Path) -> None:
    """A cluster whose containers all have that runtime."""
    flags = f", flags {' '.join(node_engine.RUNSC_FLAGS)}" if runtime == "runsc" else ""
    demo.headline(f"YARN: HDFS, ResourceManager and NodeManager are Hadoop's; every container under {runtime}{flags}")
    with YarnCluster(runtime, engine, tenants=(TENANT, "bea"), progress=_say) as cluster:
        answered(demo, cluster, text, data)
        if runtime != "runc":
            refused(demo, cluster)


def _say(step: str) -> None:
    console.print(f"  {step}", markup=False)


def answered(demo: Demo, cluster: YarnCluster, text: Path, data: Path) -> None:
    """Word count and TPC-H as one job, each answer compared with one without Spark, and its containers' kernel."""
    asked = {name: (tpch.QUERIES / f"{name}.sql").read_text(encoding="utf-8") for name in QUERIES}
    queries = data / "queries.json"
    queries.write_text(json.dumps(asked), encoding="utf-8")
    home = cluster.put([text, data / "lineitem.parquet"], TENANT)
    modules = [ROOT / "examples" / "word_count.py", tpch.APPLICATION]
    sent = {
        "spark.files": queries.resolve().as_uri(),
        "spark.submit.pyFiles": ",".join(module.as_uri() for module in modules),
    }
    application = [str(APPLICATION), f"{home}/{text.name}", f"{home}/lineitem.parquet", queries.name, str(TOP)]
    console.print(f"[dim]$ spark-submit {APPLICATION.name} {text.name} lineitem.parquet[/]")
    outcome = cluster.submit(application, tenant=TENANT, settings={**SMALL_JOB} | sent)
    if outcome.exit_code:
        raise DemoError(
            f"the job ended with {outcome.exit_code}: {outcome.diagnostics[-2000:]}\n{outcome.output[-2000:]}"
        )
    counted_right(outcome, text)
    own_kernel(demo, cluster, outcome)
    lines = [line.removeprefix(MARK) for line in outcome.output.splitlines() if line.startswith(MARK)]
    found = {result["query"]: result for result in map(json.loads, lines)}
    for name, query in asked.items():
        if name not in found or not same(found[name]["rows"], tpch.answer(data, query)):
            raise DemoError(f"the answer of {name} is not DuckDB's: {found.get(name)}")
    seconds = ", ".join(f"{name} {found[name]['seconds']:.1f} s" for name in QUERIES)
    demo.note(
        f"job under {cluster.runtime}",
        f"{outcome.seconds:.0f} s; words equal an independent count, {seconds} equal DuckDB's answers",
    )


def same(found: list[list[object]], expected: list[list[object]]) -> bool:
    """Whether two ordered answers are equal; Spark's averages of decimals have six digits after the point."""

    def equal(one: object, other: object) -> bool:
        if isinstance(one, int | float) and isinstance(other, int | float):
            return math.isclose(one, other, rel_tol=tpch.TOLERANCE, abs_tol=1e-6)
        return one == other

    return len(found) == len(expected) and all(
        len(one) == len(other) and all(map(equal, one, other)) for one, other in zip(found, expected, strict=True)
    )


def counted_right(outcome: Outcome, text: Path) -> None:
    """Raises DemoError where a count without Spark differs."""
    expected = Counter(re.findall(r"[a-z]+(?:'[a-z]+)*", text.read_text(encoding="utf-8").lower()))
    missing = [word for word, count in expected.most_common(TOP) if f"{count:,}  {word}\n" not in outcome.output]
    if missing:
        raise DemoError(f"the job's output lacks the right count of {', '.join(missing)}")


def own_kernel(demo: Demo, cluster: YarnCluster, outcome: Outcome) -> None:
    """Raises DemoError where a container saw another kernel than its runtime has."""
    kernels = cluster.kernels(outcome)
    own = Path("/proc/version").read_text(encoding="utf-8").strip()
    if not kernels or (cluster.runtime == "runc") != (own in kernels):
        raise DemoError(f"the containers' kernels are {kernels}, and the host's is {own}")
    demo.note(f"kernel in its containers, {cluster.runtime}", "; ".join(kernel[:60] for kernel in kernels))


def refused(demo: Demo, cluster: YarnCluster) -> None:
    """A job that asks for plain containers."""
    demo.headline("YARN: a job asks for runc on this cluster")
    outcome = cluster.submit(
        [str(ROOT / "examples" / "pi.py")],
        tenant=TENANT,
        settings={**SMALL_JOB} | {"spark.yarn.maxAppAttempts": "1"},
        environment={"YARN_CONTAINER_RUNTIME_TYPE": "docker", "YARN_CONTAINER_RUNTIME_DOCKER_RUNTIME": "runc"},
    )
    reason = outcome.refusal
    if outcome.exit_code == 0 or reason is None:
        raise DemoError(f"a job that asked for runc was not refused: {outcome.diagnostics[-1500:]}")
    console.print(f"  {reason}", markup=False)
    demo.note("a job that asks for runc", f"refused: {reason}")


__all__ = ["run"]
