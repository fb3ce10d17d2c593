"""Runs all measures under each runtime, interleaved and resumable, and writes the report."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path
from statistics import median

import psutil

from benchmarks.isolation.measures import Figures, Measure, all_measures
from benchmarks.isolation.page import write_page
from benchmarks.report import Report, this_machine
from emulation.engine import engine_lease
from emulation.yarn.bare_node import BareNode, bare_node
from emulation.yarn.errors import YarnEmulationError
from emulation.yarn.node_engine import NETWORK, RUNSC_FLAGS

HERE = Path(__file__).resolve().parent
REPORTS = HERE.parent / "reports"
STATE = HERE.parent / "results" / "isolation.state.json"

#: What is said with every figure.
FLAGS = {"runc": "Docker 20.10's defaults", "runsc": " ".join(RUNSC_FLAGS)}
#: Each container's limits; gVisor ignores them here (--ignore-cgroups).
LIMITS = ("--pids-limit", "512", "--memory", "1g", "--cpus", "2")
UID = 20000
_START_SECONDS = 60.0
#: Runtime → names of its processes on the host, for the memory that a container costs beside its own program's.
_PROCESSES = {"runc": ("containerd-shim",), "runsc": ("containerd-shim", "runsc", "exe")}


def main(arguments: list[str]) -> int:
    """Measure, or go on where an earlier run was ended; 0 when everything was measured."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks isolation", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="2 s for each measure, twice; otherwise 10 s, five times")
    parser.add_argument(
        "--runtimes", default="runc,runsc", help="two or more of runc, runsc; the first is the baseline"
    )
    parser.add_argument("--again", action="store_true", help="forget what an earlier run has measured")
    options = parser.parse_args(arguments)
    runtimes = options.runtimes.split(",")
    if set(runtimes) - set(FLAGS) or len(runtimes) < 2:
        print(f"--runtimes takes two or more of {', '.join(FLAGS)}, and got {options.runtimes}", file=sys.stderr)
        return 2
    seconds, repeats = (2, 2) if options.quick else (10, 5)
    STATE.parent.mkdir(exist_ok=True)
    if options.again:
        STATE.unlink(missing_ok=True)
    state: dict[str, Figures] = json.loads(STATE.read_text(encoding="utf-8")) if STATE.exists() else {}
    load_before = psutil.getloadavg()[0]
    started = time.monotonic()
    with engine_lease() as engine, bare_node(engine, runtimes[0], LIMITS, _say) as node:
        node.build(HERE, "sparkvault/spark-measured:latest")
        for number in range(repeats):
            for measure in (None, *all_measures()):
                for runtime in runtimes:
                    name = measure.name if measure else "start"
                    key = f"{seconds}s/{runtime}/{name}/{number}"
                    if key not in state:
                        _say(f"[{time.monotonic() - started:4.0f} s] {number + 1} of {repeats}: {name} under {runtime}")
                        state[key] = measured(node, runtime, measure, seconds)
                        STATE.write_text(json.dumps(state), encoding="utf-8")
    samples = gathered(state, runtimes, seconds)
    load = f"{load_before:.1f} before, {psutil.getloadavg()[0]:.1f} after, on {this_machine().cores} cores"
    write_page(REPORTS, samples, {runtime: FLAGS[runtime] for runtime in runtimes}, seconds, repeats, load)
    report = Report("isolation")
    for figure, by_runtime in samples.items():
        for runtime, values in by_runtime.items():
            report.add_samples(f"{runtime}_{figure}", values)
    report.notes += [f"{runtime}: {FLAGS[runtime]}" for runtime in runtimes]
    report.notes.append(f"load of the machine: {load}")
    report.publish()
    STATE.unlink()
    return 0


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def gathered(state: dict[str, Figures], runtimes: list[str], seconds: int) -> dict[str, dict[str, list[float]]]:
    """Figure → runtime → samples, of runs with that length."""
    found: dict[str, dict[str, list[float]]] = {}
    for key, figures in state.items():
        length, runtime, _, _ = key.split("/")
        if length == f"{seconds}s" and runtime in runtimes:
            for name, value in figures.items():
                found.setdefault(name, {one: [] for one in runtimes})[runtime].append(value)
    return found


def ratio(by_runtime: dict[str, list[float]], runtime: str, baseline: str) -> float | None:
    """Median under ``runtime`` ÷ median under ``baseline``; None where the latter is nothing."""
    under = median(by_runtime[baseline])
    return median(by_runtime[runtime]) / under if under else None


def measured(node: BareNode, runtime: str, measure: Measure | None, seconds: int) -> Figures:
    """The figures of one measure, or with None of a container's start. Raises YarnEmulationError."""
    if measure is None:
        return start_and_memory(node, runtime)
    command = measure.command(seconds)
    if not measure.needs_server:
        own = node.shared / "own"
        own.mkdir(exist_ok=True)
        os.chown(own, UID, UID)
        shared = ["-v", f"{own}:/shared:rw"]
        return measure.read(node.run(runtime, UID, command, shared, seconds=60 + seconds * 4))
    server = node.run(runtime, UID, ["iperf3", "-s", "-1"], ["-d"]).strip()
    client = node.engine.client()
    try:
        container = client.containers.get(server)
        deadline = time.monotonic() + _START_SECONDS
        while b"listening" not in container.logs():
            if time.monotonic() > deadline:
                raise YarnEmulationError(f"no iperf3 server under {runtime} within {_START_SECONDS:.0f} s", "try again")
            time.sleep(0.1)
        container.reload()
        address = container.attrs["NetworkSettings"]["Networks"][NETWORK]["IPAddress"]
        there = [address if word == "SERVER" else word for word in command]
        return measure.read(node.run(runtime, UID, there, seconds=60 + seconds * 4))
    finally:
        client.containers.get(server).remove(force=True)
        client.close()


def start_and_memory(node: BareNode, runtime: str) -> Figures:
    """Seconds of a container whose program does nothing, and MiB that an idle one costs its host."""
    started = time.monotonic()
    node.run(runtime, UID, ["true"])
    took = time.monotonic() - started
    before = _resident(runtime)
    idle = node.run(runtime, UID, ["sleep", "300"], ["-d"]).strip()
    cost = _resident(runtime) - before
    client = node.engine.client()
    client.containers.get(idle).remove(force=True)
    client.close()
    return {"start_seconds": took, "idle_container_mib": cost / 2**20}


def _resident(runtime: str) -> int:
    """Proportional share of memory, in bytes, of all processes of container runtimes on this machine."""
    total = 0
    for process in psutil.process_iter(["name"]):
        if str(process.info["name"]).startswith((*_PROCESSES[runtime], "sleep")):
            try:
                total += int(process.memory_full_info().pss)
            except psutil.Error:
                continue
    return total
