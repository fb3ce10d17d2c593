"""Time to synthesize the whole app, as a ratio to an app with our network stack alone; cdk-nag on in both."""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.report import Goal, Report
from sparkvault.toolchain import find_node, tool_environment

ROOT = Path(__file__).parent.parent

#: Both configure every target that can be deployed, with enclaves.
CONFIGURATION = '{"targets": ["swarm"], "enclaves": {"enabled": true}}'


def main(arguments: list[str]) -> int:
    """Measure, interleaved, and report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks synth", description=__doc__)
    parser.add_argument("--repeats", type=int, default=5, help="counted runs of each, after one that is not")
    options = parser.parse_args(arguments)
    find_node(tool_environment())
    whole: list[float] = []
    network: list[float] = []
    for number in range(options.repeats + 1):
        pair = (seconds("app.py"), seconds("benchmarks/network_app.py"))
        print(f"run {number}: whole app {pair[0]:.2f} s, network stack alone {pair[1]:.2f} s", flush=True)
        if number:
            whole.append(pair[0])
            network.append(pair[1])
    report = Report("synth", goals=[Goal("ratio", "at_most", 2.0)])
    report.add_samples("whole_app_seconds", whole)
    report.add_samples("network_alone_seconds", network)
    report.add_samples("ratio", [one / other for one, other in zip(whole, network, strict=True)])
    return 0 if report.publish() else 1


def seconds(program: str) -> float:
    """Wall-clock seconds of one synthesis in a process of its own, started cold."""
    with tempfile.TemporaryDirectory() as folder:
        environment = tool_environment()
        environment |= {
            "CDK_OUTDIR": folder,
            "CDK_CONTEXT_JSON": f'{{"sparkvault": {CONFIGURATION}}}',
            "PYTHONPATH": f"{ROOT}:{ROOT / 'constructs'}",
        }
        started = time.perf_counter()
        subprocess.run([sys.executable, program], cwd=ROOT, env=environment, check=True, timeout=600, stdout=2)
        return time.perf_counter() - started
