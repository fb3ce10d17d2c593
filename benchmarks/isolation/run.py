"""Runs all measures under each runtime, by turns and resumable, and writes the report."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import cast

import psutil

from benchmarks.isolation import containers, queries, sweep
from benchmarks.isolation.measures import Figures, Measure, all_measures
from benchmarks.isolation.page import Found, percentile, write_page
from benchmarks.isolation.samples import Key, Samples
from benchmarks.report import Report, this_machine
from emulation.engine import Engine, engine_lease
from emulation.yarn.bare_node import BareNode, bare_node
from emulation.yarn.cluster import Runtime
from emulation.yarn.node_engine import RUNSC_FLAGS
from sparkvault.errors import SparkvaultError

HERE = Path(__file__).resolve().parent
REPORTS = HERE.parent / "reports"
STATE = HERE.parent / "results" / "isolation.state.json"
IMAGE = "sparkvault/spark-measured:latest"

#: What is said with every figure.
FLAGS = {"runc": "Docker 20.10's defaults", "runsc": " ".join(RUNSC_FLAGS)}
#: Why a runtime that the project has cannot be measured here.
NOT_HERE = {"kata": "Kata needs KVM and Docker 23 or newer; this machine has neither"}
PARTS = ("tpch", "micro", "sweep")


@dataclass(frozen=True)
class Effort:
    """How long and how often."""

    seconds: int
    micro_repeats: int
    starts: int
    """Containers started in each repeat."""
    tpch_repeats: int
    sweep_repeats: int
    scale: float
    """TPC-H's scale factor."""

    def size(self, part: str) -> str:
        """What samples must have in common to stand side by side."""
        return f"sf{self.scale:g}" if part == "tpch" else f"{self.seconds}s"


QUICK = Effort(seconds=2, micro_repeats=2, starts=5, tpch_repeats=1, sweep_repeats=1, scale=0.01)
FULL = Effort(seconds=10, micro_repeats=3, starts=20, tpch_repeats=3, sweep_repeats=3, scale=0.1)


def main(arguments: list[str]) -> int:
    """Measure, or go on where an earlier run was ended. 0: all measured; 1: not all; 2: wrong options."""
    try:
        runtimes, parts, effort, again = parsed(arguments)
    except SparkvaultError as error:
        print(error, file=sys.stderr)
        return 2
    machine = this_machine()
    conditions = {"flags": {one: FLAGS[one] for one in runtimes}, "limits": containers.LIMITS, **asdict(machine)}
    if again:
        STATE.unlink(missing_ok=True)
    samples = Samples.load(STATE, conditions)
    if samples.forgotten:
        _say(f"what an earlier run measured is not used: {samples.forgotten}")
    notes = [f"load of the machine before: {psutil.getloadavg()[0]:.1f}, on {machine.cores} cores"]
    ended = False
    try:
        with engine_lease() as engine:
            notes += measure(engine, samples, runtimes, parts, effort)
    except KeyboardInterrupt:
        ended = True
        notes.append("the run was ended before everything was measured")
    notes += [f"not measured: {key.replace('|', ' ')}: {reason}" for key, reason in samples.failures.items()]
    publish(samples, runtimes, effort, notes)
    if ended:
        _say("ended; the report has what was measured, and the next run goes on from here")
        return 1
    if samples.failures:
        _say(f"{len(samples.failures)} measures failed; run it again to try them alone")
        return 1
    if set(parts) == set(PARTS):
        STATE.unlink(missing_ok=True)
    return 0


class Wrong(SparkvaultError):
    """Options that make no sense; exit code 2."""


def parsed(arguments: Sequence[str]) -> tuple[list[Runtime], list[str], Effort, bool]:
    """Runtimes, the parts to run, the effort, and whether earlier samples are forgotten. Raises Wrong."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks isolation", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="minutes, where the full run takes an hour")
    parser.add_argument("--runtimes", default="runc,runsc", help="two of runc, runsc; the first is the baseline")
    parser.add_argument("--scale", type=float, help="TPC-H's scale factor; 0.1, or 0.01 with --quick")
    parser.add_argument(
        "--without", action="append", default=[], choices=PARTS, help="leave a part out; what was measured of it stays"
    )
    parser.add_argument("--again", action="store_true", help="forget what an earlier run has measured")
    options = parser.parse_args(arguments)
    runtimes = options.runtimes.split(",")
    for runtime in runtimes:
        if runtime in NOT_HERE:
            raise Wrong(f"--runtimes: {NOT_HERE[runtime]}", f"take of {', '.join(FLAGS)}")
    if set(runtimes) - set(FLAGS) or len(runtimes) < 2 or len(set(runtimes)) < len(runtimes):
        raise Wrong(f"--runtimes takes two different ones of {', '.join(FLAGS)}, and got {options.runtimes}")
    effort = QUICK if options.quick else FULL
    if options.scale is not None:
        if not 0 < options.scale <= 10:
            raise Wrong(f"--scale takes more than 0 and 10 GB at most, and got {options.scale:g}")
        effort = Effort(**{**asdict(effort), "scale": options.scale})
    parts = [part for part in PARTS if part not in options.without]
    if not parts:
        raise Wrong("--without leaves nothing to measure", f"leave one of {', '.join(PARTS)}")
    return [cast(Runtime, one) for one in runtimes], parts, effort, options.again


def micro_keys(runtimes: Sequence[str], effort: Effort, number: int) -> list[Key]:
    """One repeat of all measures of one thing at a time; which runtime comes first changes from one to the next."""
    size = effort.size("micro")
    turn = runtimes if number % 2 == 0 else list(reversed(runtimes))
    starts = range(number * effort.starts, (number + 1) * effort.starts)
    names = ["memory", *(one.name for one in all_measures())]
    return [
        *(Key("micro", size, runtime, "start", start) for start in starts for runtime in turn),
        *(Key("micro", size, runtime, name, number) for name in names for runtime in turn),
    ]


def sweep_keys(variants: Sequence[str], effort: Effort, number: int) -> list[Key]:
    """One repeat of the sweep's measures, all settings by turns."""
    size = effort.size("sweep")
    names = ["visibility", *(one.name for one in sweep.measures())]
    return [Key("sweep", size, one, name, number) for name in names for one in variants]


def tpch_keys(runtimes: Sequence[str], effort: Effort) -> list[Key]:
    """One job each."""
    size = effort.size("tpch")
    numbers = range(effort.tpch_repeats)
    return [
        Key("tpch", size, runtime, "queries", number)
        for number in numbers
        for runtime in (runtimes if number % 2 == 0 else reversed(runtimes))
    ]


def measure(
    engine: Engine, samples: Samples, runtimes: Sequence[Runtime], parts: Sequence[str], effort: Effort
) -> list[str]:
    """Measure what has not been; returns what is to be noted. Raises SparkvaultError where nothing can be measured."""
    notes: list[str] = []
    jobs = samples.pending(tpch_keys(runtimes, effort)) if "tpch" in parts else []
    if jobs:
        with tempfile.TemporaryDirectory(prefix="isolation-") as name:
            data = queries.Data.generate(Path(name), effort.scale)
            each(samples, jobs, lambda key: queries.run(engine, cast(Runtime, key.runtime), data, _say))
    variants: Mapping[str, Sequence[str]] = {}
    if "sweep" in parts:
        variants, unknown = sweep.possible(sweep.installed_flags())
        notes += unknown
    wanted: list[Key] = []
    # A run that is ended has a first sample of as much as possible.
    for number in range(max(effort.micro_repeats, effort.sweep_repeats)):
        if "micro" in parts and number < effort.micro_repeats:
            wanted += micro_keys(runtimes, effort, number)
        if "sweep" in parts and number < effort.sweep_repeats:
            wanted += sweep_keys(list(variants), effort, number)
    in_containers = samples.pending(wanted)
    if in_containers:
        with bare_node(engine, runtimes[0], containers.LIMITS, _say, variants) as node:
            node.build(HERE / "image", IMAGE)
            known = {one.name: one for one in all_measures()}
            each(samples, in_containers, lambda key: in_container(node, key, known, effort))
    return notes


def in_container(node: BareNode, key: Key, known: Mapping[str, Measure], effort: Effort) -> Figures:
    """What that key names. Raises YarnEmulationError."""
    with containers.one_at_a_time(node, f"{key.measure} under {key.runtime}"):
        if key.measure == "start":
            return containers.start(node, key.runtime)
        if key.measure == "memory":
            return containers.memory(node, key.runtime)
        if key.measure == "visibility":
            return sweep.visibility(node, key.runtime)
        return containers.measured(node, key.runtime, known[key.measure], effort.seconds)


def each(samples: Samples, keys: Sequence[Key], run: Callable[[Key], Figures]) -> None:
    """Run them one after the other; one that fails is noted, and the others are measured all the same."""
    started = time.monotonic()
    for number, key in enumerate(keys, 1):
        _say(f"[{time.monotonic() - started:4.0f} s] {number} of {len(keys)}: {key.measure} under {key.runtime}")
        try:
            samples.add(key, run(key))
        except SparkvaultError as error:
            _say(f"  failed: {error.what}")
            samples.fail(key, error.what[:300].replace("\n", " "))


def publish(samples: Samples, runtimes: Sequence[str], effort: Effort, notes: list[str]) -> None:
    """Write the report and the figures, of all that there is."""
    flags = {runtime: FLAGS[runtime] for runtime in runtimes}
    machine = this_machine()
    told = [
        f"limits of each container: {' '.join(containers.LIMITS)}; gVisor ignores them under --ignore-cgroups",
        *notes,
        f"load of the machine after: {psutil.getloadavg()[0]:.1f}, on {machine.cores} cores",
    ]
    micro = samples.by_figure("micro", effort.size("micro"), runtimes)
    tpch = samples.by_figure("tpch", effort.size("tpch"), runtimes)
    swept = samples.by_figure("sweep", effort.size("sweep"), list(sweep.SETTINGS))
    write_page(REPORTS, Found(flags, effort.seconds, effort.scale, micro, tpch, swept, FLAGS["runsc"], told))
    report = Report("isolation")
    for prefix, part in (("", micro), ("tpch_", tpch), ("sweep_", swept)):
        for figure, by_runtime in part.items():
            for runtime, values in by_runtime.items():
                if values:
                    report.add_samples(f"{runtime}_{prefix}{figure}".replace("-", "_"), values)
    for runtime, starts in micro.get("start_seconds", {}).items():
        if starts:
            report.figures[f"{runtime}_start_p95_seconds"] = round(percentile(starts, 95), 4)
    report.notes += [f"{runtime}: {text}" for runtime, text in flags.items()]
    report.notes += [f"{name}: {' '.join(all_flags)}" for name, all_flags in sweep.VARIANTS.items()]
    report.notes += told
    report.publish()


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
