"""Starts the probes beside a neighbour, behind the product's own guard, and makes the table."""

from __future__ import annotations

import argparse
import json
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import cast

from assets.yarn.sparkvault_yarn import tenants
from benchmarks.isolation.containers import in_background
from benchmarks.report import Report
from benchmarks.security import probes
from emulation.engine import Engine, engine_lease
from emulation.yarn.bare_node import bare_node
from emulation.yarn.cluster import Runtime
from emulation.yarn.node_engine import NETWORK, RUNSC_FLAGS

REPORTS = Path(__file__).resolve().parents[1] / "reports"

#: What the containers of the probes get: hard limits, as nothing here may hurt the machine.
MEMORY_MIB, PROCESSES = 128, 128
LIMITS = ["--pids-limit", str(PROCESSES), "--memory", f"{MEMORY_MIB}m", "--memory-swap", f"{MEMORY_MIB}m", "--cpus=1"]
_NEIGHBOUR_PORT = 7337
_MARK = "the-neighbours-secret-argument"

#: Probe → why its outcome under a runtime says nothing on this machine.
VOID: dict[Runtime, dict[str, str]] = {
    "runc": {},
    "runsc": {
        "memory_without_end": "gVisor runs with --ignore-cgroups here: its memory is bounded by nothing",
        "processes_without_end": "gVisor runs with --ignore-cgroups here: its processes are counted by nobody",
    },
}


def main(arguments: list[str]) -> int:
    """Run, print, write the report; 0 when everything ran."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks security", description=__doc__)
    parser.add_argument("--runtimes", default="runc,runsc", help="comma separated: runc, runsc")
    chosen = [cast(Runtime, one) for one in parser.parse_args(arguments).runtimes.split(",")]
    unknown = set(chosen) - set(VOID)
    if unknown:
        print(f"no runtime {', '.join(sorted(unknown))} on this machine; there are runc, runsc", file=sys.stderr)
        return 2
    with engine_lease() as engine:
        found = {runtime: probe(engine, runtime, lambda text: print(text, file=sys.stderr)) for runtime in chosen}
    REPORTS.mkdir(exist_ok=True)
    (REPORTS / "security.md").write_text(as_markdown(found), encoding="utf-8")
    report = Report("security")
    for runtime, outcomes in found.items():
        for outcome in ("blocked", "own kernel", "possible", "not shown here"):
            key = f"{runtime}_{outcome.replace(' ', '_')}"
            report.figures[key] = sum(each[0] == outcome for each in outcomes.values())
    report.notes.append("each probe's outcome is in benchmarks/reports/security.md")
    report.publish()
    return 0


def probe(
    engine: Engine, runtime: Runtime, progress: Callable[[str], None] = lambda text: None
) -> dict[str, tuple[str, str]]:
    """Each probe's outcome under that runtime, and its evidence."""
    ada, bea = tenants.shared_evenly(["ada", "bea"])
    with bare_node(engine, runtime, LIMITS, progress) as node:
        progress(f"probing {runtime}")
        secret = node.shared / "bea"
        secret.mkdir()
        (secret / "file").write_text("hers")
        listener = (
            f"import socket, time; s = socket.create_server(('0.0.0.0', {_NEIGHBOUR_PORT})); print('up', flush=True);"
            "time.sleep(600)"
        )
        server, name = ["python3", "-c", listener, _MARK], ["--name=container_bea"]
        with (
            in_background(node, runtime, server, says="up", options=name, uid=bea.uid) as neighbour,
            socket.create_server(("127.0.0.1", 0)) as loopback,
        ):
            address = neighbour.attrs["NetworkSettings"]["Networks"][NETWORK]["IPAddress"]
            host = Path("/proc/version").read_text(encoding="utf-8").strip()
            doors = [f"{address}:{_NEIGHBOUR_PORT}", f"127.0.0.1:{loopback.getsockname()[1]}"]
            told = [host, _MARK, str(secret / "file"), *doors, str(MEMORY_MIB), ",".join(VOID[runtime])]
            script = Path(probes.__file__).read_text(encoding="utf-8")
            said = node.run(runtime, ada.uid, ["python3", "-c", script, *told])
    return judged(runtime, [json.loads(line) for line in filter(None, said.splitlines())])


def judged(runtime: Runtime, said: list[dict[str, str]]) -> dict[str, tuple[str, str]]:
    """What the probes said, with what this machine cannot show, and a container's own kernel told from the host's."""
    outcomes = {one["probe"]: (one["outcome"], one["evidence"]) for one in said}
    own_kernel = outcomes["kernel_identity"][0] == probes.BLOCKED
    for name, (outcome, evidence) in outcomes.items():
        if own_kernel and outcome == probes.POSSIBLE and name in probes.KERNEL_DOORS:
            outcomes[name] = ("own kernel", f"{evidence}, answered by the container's own kernel")
    return outcomes | {name: ("not shown here", why) for name, why in VOID[runtime].items()}


def as_markdown(found: dict[Runtime, dict[str, tuple[str, str]]]) -> str:
    """The table that the report holds."""
    lines = [
        "# Probes from inside a container",
        "",
        "Written by `python -m benchmarks security`. Containers are started as YARN's are: behind the guard, without",
        "capabilities, as a tenant's user. *Possible* means that the call or the file was reached, not that anything",
        "was broken by it; *own kernel* that it was the container's own kernel, not the host's.",
        f"Flags here: runsc {' '.join(RUNSC_FLAGS)}; limits {MEMORY_MIB} MiB, {PROCESSES} processes.",
        "",
        f"| probe | {' | '.join(found)} |",
        f"|---|{'---|' * len(found)}",
    ]
    for each in probes.PROBES:
        name = each.__name__
        cells = [" ".join(outcomes.get(name, ("not run", ""))[:1]) for outcomes in found.values()]
        lines.append(f"| {name.replace('_', ' ')}: {(each.__doc__ or '').strip()} | {' | '.join(cells)} |")
    lines += ["", "## Evidence", ""]
    for runtime, outcomes in found.items():
        lines += [f"### {runtime}", "", *(f"- {name}: {what}, {why}" for name, (what, why) in outcomes.items()), ""]
    return "\n".join(lines)
