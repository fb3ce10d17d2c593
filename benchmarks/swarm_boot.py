"""Time from the start of an emulated host's container to the signal that it does its work, phase by phase."""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

from benchmarks.report import Report
from emulation.aws import EmbeddedAws, bootstrap
from emulation.demo.steps import Demo
from emulation.ec2 import EmulatedEc2, Host
from emulation.engine import engine_lease
from sparkvault.project import WORK_FOLDER_VARIABLE
from sparkvault.toolchain import tool_environment

ROOT = Path(__file__).parent.parent
CONFIGURATION = "emulation/demo/deployment.yaml"
LOG_GROUP = "/sparkvault/demo/swarm"

#: Phase → the unit whose activation ends it, in the order of a boot.
PHASES = {
    "user_data_started": "sparkvault-emulation-user-data.service",
    "docker_up": "docker.service",
    "agent_ready": "sparkvault-agent.service",
}


def main(arguments: list[str]) -> int:
    """Deploy the demo's cluster on emulated hosts once, and report how each host spent its boot."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks swarm_boot", description=__doc__)
    parser.add_argument("--with-images", action="store_true", help="build and push Spark's images, and run them")
    options = parser.parse_args(arguments)
    report = Report("swarm_boot")
    with (
        tempfile.TemporaryDirectory() as work,
        engine_lease() as engine,
        EmbeddedAws(hosts="external") as aws,
        EmulatedEc2(aws, engine) as ec2,
    ):
        bootstrap(aws, [ROOT / "node_modules" / ".bin" / "cdk"])
        base = tool_environment() | {WORK_FOLDER_VARIABLE: work}
        environment = ec2.environment(base) if options.with_images else aws.environment(base)
        images = [] if options.with_images else ["--without-images"]
        Demo(environment).run("sparkvault", "deploy", "--config", CONFIGURATION, "--yes", *images)
        signalled = boot_reports(aws)
        for role in ("manager", "worker"):
            measured = [phases(host, signalled[host.instance_id]) for host in ec2.hosts(role)]
            for phase in measured[0]:
                report.add_samples(f"{role}_{phase}_seconds", [one[phase] for one in measured])
    report.notes.append("Seconds since the start of the host's container. Not measured yet: the first job's answer.")
    return 0 if report.publish() else 1


def boot_reports(aws: EmbeddedAws) -> dict[str, float]:
    """Instance → when it reported that its boot had ended, in seconds since 1970."""
    events = aws.client("logs").filter_log_events(logGroupName=LOG_GROUP, logStreamNamePrefix="boot/")["events"]
    return {json.loads(event["message"])["instance"]: event["timestamp"] / 1000 for event in events}


def phases(host: Host, signalled: float) -> dict[str, float]:
    """Seconds from the start of a host's container to the end of each phase."""
    started = host.started().timestamp()
    ends: dict[str, float] = {}
    for phase, unit in PHASES.items():
        which = "ExecMainStartTimestamp" if phase == "user_data_started" else "ActiveEnterTimestamp"
        told = host.run(["systemctl", "show", "--timestamp=unix", "--property", which, "--value", unit]).stdout.strip()
        ends[phase] = float(told.removeprefix("@") or "nan") - started
    return ends | {"signalled": signalled - started}
