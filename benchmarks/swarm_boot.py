"""Three hosts with the images in their engines, from power-on to a first job's answer: by our bundle, and by hand.

By hand is what tutorials do, as one script: Docker's own commands, one after the other, on the very same hosts.
"""

from __future__ import annotations

import argparse
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from subprocess import PIPE, STDOUT

from benchmarks.emulated_swarm import ANSWER, JOB, SUBMIT, deployed_swarm
from benchmarks.report import Goal, Report
from emulation.demo.steps import ROOT, Demo
from emulation.ec2 import EmulatedEc2, Host

AUTHORITY = "demo-swarm-authority"
PATIENCE_SECONDS = 400.0

#: What the tutorials' containers need of our images: the secret as a file, and to be let write.
BY_HAND_FLAGS = (
    *("--volume", "/root/by-hand:/input:ro", "--env", "SPARK_SECRET_FILE=/input/secret"),
    *("--network", "spark-overlay-net"),
)
OURS = ("sparkvault-agent.service", "sparkvault-jobs.service", "sparkvault-ui-relay.service")


def main(arguments: list[str]) -> int:
    """Deploy once, then start the same hosts anew for each measurement, ours and by hand in turns."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks swarm_boot", description=__doc__)
    parser.add_argument("--repeats", type=int, default=1, help="measurements of each kind (default: 1)")
    options = parser.parse_args(arguments)
    report = Report("swarm_boot", goals=[Goal("boot_over_by_hand", "at_most", 0.8)])
    samples: dict[str, list[float]] = {}
    with deployed_swarm() as (demo, ec2, job):
        images = published(ec2)
        # Not measured: what is read for the first time comes from the disk, and whoever is measured first would pay.
        demo.run(*SUBMIT, str(job))
        for _ in range(options.repeats):
            for kind, measured in (("ours", ours(demo, ec2, job)), ("by_hand", by_hand(ec2, images))):
                for phase, seconds in measured.items():
                    samples.setdefault(f"{kind}_{phase}_seconds", []).append(seconds)
    for name, values in samples.items():
        report.add_samples(name, values)
    ratio = report.figures["ours_answer_seconds"] / report.figures["by_hand_answer_seconds"]
    report.figures["boot_over_by_hand"] = round(ratio, 4)
    report.notes.append(
        "seconds since the hosts were switched on; nothing is left of the swarm before, the images are there; "
        "ours with secrets, verified hosts, a history server and logs shipped, by hand without"
    )
    return 0 if report.publish() else 1


def published(ec2: EmulatedEc2) -> dict[str, str]:
    """The images by name, as hosts have them."""
    names = {name: f"/sparkvault/demo/images/{name}" for name in ("master", "worker", "submit")}
    ssm = ec2.aws.client("ssm")
    return {name: ssm.get_parameter(Name=path)["Parameter"]["Value"] for name, path in names.items()}


def ours(demo: Demo, ec2: EmulatedEc2, job: Path) -> dict[str, float]:
    """New hosts as far as the bundle can tell: user data runs, no swarm is known; then a job by the command line."""
    for host in ec2.hosts():
        forget(host)
        host.run(["rm", "-rf", "/var/lib/cloud/instances"])
    ec2.aws.client("dynamodb").delete_item(TableName=AUTHORITY, Key={"cluster": {"S": "demo"}})
    started = power_cycle(ec2)
    # At once: waiting for the cluster is the command's own work, as it is the script's by hand.
    process = subprocess.Popen([*SUBMIT, str(job)], cwd=ROOT, env=dict(demo.environment), stdout=PIPE, stderr=STDOUT)
    answer = answered(process, started)
    # Read afterwards: each question costs the hosts a tenth of a second of a CPU.
    return {
        "hosts_up": max(entered(host, "docker.service", started) for host in ec2.hosts()),
        "spark_up": max(entered(host, "sparkvault-agent.service", started) for host in ec2.hosts()),
        **answer,
    }


def by_hand(ec2: EmulatedEc2, images: dict[str, str]) -> dict[str, float]:
    """The same hosts without our agent: the tutorials' commands, one after the other."""
    [manager], workers = ec2.hosts("manager"), ec2.hosts("worker")
    for host in ec2.hosts():
        forget(host)
        host.run(["systemctl", "disable", "--quiet", *OURS], check=False)
        host.run(["sh", "-c", "mkdir -p /root/by-hand && cat > /root/by-hand/job.py"], text=JOB)
        host.run(["sh", "-c", "umask 022; printf %064d 7 > /root/by-hand/secret; chmod 755 /root/by-hand"])
    started = power_cycle(ec2)
    phases = {"hosts_up": max(entered(host, "docker.service", started) for host in ec2.hosts())}
    manager.run(["docker", "swarm", "init", "--advertise-addr", manager.address])
    token = manager.run(["docker", "swarm", "join-token", "--quiet", "worker"]).stdout.strip()
    for host in workers:
        host.run(["docker", "swarm", "join", "--token", token, f"{manager.address}:2377"])
    manager.run(["docker", "network", "create", "--driver", "overlay", "--attachable", "spark-overlay-net"])
    phases["swarm_up"] = time.monotonic() - started
    name = ("--name", "spark-master", "--hostname", "spark-master", "--env", "SPARK_MASTER_HOST=spark-master")
    # Looked at as often as our own services are that others wait for; workers that find no master wait much longer.
    manager.run(["docker", "run", "--detach", *BY_HAND_FLAGS, "--health-interval", "2s", *name, images["master"]])
    healthy(manager, "spark-master")
    size = ("--env", "MEMORY=4g", "--env", "CORES=2", "--env", "SPARK_MASTER_URL=spark://spark-master:7077")
    for host in workers:
        host.run(["docker", "run", "--detach", *BY_HAND_FLAGS, *size, "--name", "spark-worker", images["worker"]])
    # Nobody waits for workers: the driver does.
    phases["spark_started"] = time.monotonic() - started
    name = (
        "--name",
        "spark-submit",
        "--hostname",
        "spark-submit",
        "--env",
        "SPARK_MASTER_URL=spark://spark-master:7077",
    )
    limits = ("--conf", "spark.cores.max=4", "--conf", "spark.executor.memory=2g")
    driver = [*BY_HAND_FLAGS, *name, images["submit"], "submit", *limits, "/input/job.py"]
    process = workers[0].process(["docker", "run", *driver], interactive=False, stderr=STDOUT)
    return phases | answered(process, started)


def answered(process: subprocess.Popen[bytes], started: float) -> dict[str, float]:
    """Seconds since `started` until the job's answer is read, and until the command that ran it has ended."""
    watchdog = threading.Timer(PATIENCE_SECONDS, process.kill)
    watchdog.start()
    phases: dict[str, float] = {}
    said = b""
    assert process.stdout is not None  # noqa: S101 (asked for as a pipe)
    for line in process.stdout:
        said += line
        if line.strip() == ANSWER.encode():
            phases["answer"] = time.monotonic() - started
    code = process.wait()
    watchdog.cancel()
    # A wrong answer is no measurement.
    assert code == 0, said.decode(errors="replace")  # noqa: S101
    assert phases, said.decode(errors="replace")  # noqa: S101
    return phases | {"command_end": time.monotonic() - started}


def forget(host: Host) -> None:
    """Nothing of a swarm, ours or by hand, is left on the host; its images are."""
    host.run(["systemctl", "stop", *OURS], check=False)
    host.run(["docker", "swarm", "leave", "--force"], check=False)
    host.run(["sh", "-c", "docker ps --all --quiet | xargs -r docker rm --force --volumes"], timeout=PATIENCE_SECONDS)
    # A master that remembers waits for what it remembers.
    host.run(["sh", "-c", "docker volume ls --quiet | xargs -r docker volume rm --force"])
    host.run(["sh", "-c", "rm -rf /var/lib/sparkvault /run/sparkvault/*"])


def power_cycle(ec2: EmulatedEc2) -> float:
    """All hosts off and on again, together; when that was, by the monotonic clock."""
    hosts = ec2.hosts()
    for host in hosts:
        host.kill()
    started = time.monotonic()
    with ThreadPoolExecutor() as pool:
        list(pool.map(partial(Host.start, wait=False), hosts))
    return started


def active(host: Host, unit: str) -> bool:
    """Whether a unit is up."""
    return host.run(["systemctl", "is-active", unit], check=False).stdout.strip() == "active"


def entered(host: Host, unit: str, started: float) -> float:
    """Seconds from `started` until the unit was up; hosts have this machine's monotonic clock."""
    host.wait_for(f"{unit} to be up", partial(active, host, unit), PATIENCE_SECONDS)
    shown = host.run(["systemctl", "show", "--value", "--property=ActiveEnterTimestampMonotonic", unit])
    return int(shown.stdout) / 1e6 - started


def healthy(host: Host, container: str) -> None:
    """Return when the image's own health check is content."""
    look = "docker inspect --format '{{.State.Health.Status}}' " + container
    # On the host: each question from outside costs it a tenth of a second of a CPU.
    host.run(["sh", "-c", f'until [ "$({look})" = healthy ]; do sleep 0.5; done'], timeout=PATIENCE_SECONDS)
