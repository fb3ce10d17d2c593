"""Three hosts with the images in their engines, from power-on to a first job's answer: by our bundle, and by hand.

By hand is what tutorials do, as one script: Docker's own commands, one after the other, on the very same hosts. Once
with our images, which shows what the bundle alone costs, and once with the image that people make from Debian and pip.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from subprocess import PIPE
from typing import IO, NamedTuple

from benchmarks.emulated_swarm import ANSWER, JOB, SUBMIT, deployed_swarm
from benchmarks.images import plain_image
from benchmarks.report import Goal, Report
from emulation.demo.steps import ROOT, Demo
from emulation.ec2 import EmulatedEc2, Host
from emulation.engine import Engine, engine_lease
from sparkvault.errors import SparkvaultError

AUTHORITY = "demo-swarm-authority"
PATIENCE_SECONDS = 400.0

MASTER_URL = "spark://spark-master:7077"
LIMITS = ("--conf", "spark.cores.max=4", "--conf", "spark.executor.memory=2g")
OURS = ("sparkvault-agent.service", "sparkvault-jobs.service", "sparkvault-ui-relay.service")


class ByHand(NamedTuple):
    """What `docker run` is told by hand, besides names and the network: options, the image, and its command."""

    master: tuple[str, ...]
    worker: tuple[str, ...]
    driver: tuple[str, ...]
    master_listens: str
    """A command of the shell that is content once the master takes workers and applications."""


def main(arguments: list[str]) -> int:
    """Deploy once, then start the same hosts anew for each measurement, ours and by hand in turns."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks swarm_boot", description=__doc__)
    parser.add_argument("--repeats", type=int, default=1, help="measurements of each kind (default: 1)")
    options = parser.parse_args(arguments)
    report = Report("swarm_boot", goals=[Goal("boot_over_by_hand", "at_most", 0.8)])
    samples: dict[str, list[float]] = {}
    with engine_lease() as engine, deployed_swarm() as (demo, ec2, job):
        plain = plain_image(engine)
        load(engine, plain, ec2.hosts())
        same, plainly = with_our_images(published(ec2)), with_plain_image(plain)
        # Not measured: what is read for the first time comes from the disk, and whoever is measured first would pay.
        demo.run(*SUBMIT, str(job))
        by_hand(ec2, plainly)
        for _ in range(options.repeats):
            measured = {
                "ours": ours(demo, ec2, job),
                "by_hand": by_hand(ec2, same),
                "by_hand_plain_image": by_hand(ec2, plainly),
            }
            for kind, phases in measured.items():
                for phase, seconds in phases.items():
                    samples.setdefault(f"{kind}_{phase}_seconds", []).append(seconds)
    for name, values in samples.items():
        report.add_samples(name, values)
    for kind in ("by_hand", "by_hand_plain_image"):
        ratio = report.figures["ours_answer_seconds"] / report.figures[f"{kind}_answer_seconds"]
        report.figures[f"boot_over_{kind}"] = round(ratio, 4)
    report.notes.append(
        "seconds since the hosts were switched on; nothing is left of the swarm before, the images are there; "
        "ours with secrets, verified hosts, a history server and logs shipped, by hand without; "
        "by_hand with the same images as ours, by_hand_plain_image with Debian's Java and what pip installs"
    )
    return 0 if report.publish() else 1


def published(ec2: EmulatedEc2) -> dict[str, str]:
    """The images by name, as hosts have them."""
    names = {name: f"/sparkvault/demo/images/{name}" for name in ("master", "worker", "submit")}
    ssm = ec2.aws.client("ssm")
    return {name: ssm.get_parameter(Name=path)["Parameter"]["Value"] for name, path in names.items()}


def load(engine: Engine, image: str, hosts: list[Host]) -> None:
    """Give hosts' engines an image of this machine's engine."""
    for host in hosts:
        save = subprocess.Popen(["docker", "save", image], env=os.environ | engine.environment(), stdout=PIPE)
        loaded = host.process(["docker", "load"], interactive=True, stdin=save.stdout, stdout=None, stderr=None)
        assert save.stdout is not None  # noqa: S101 (asked for as a pipe)
        save.stdout.close()
        if loaded.wait(timeout=PATIENCE_SECONDS) != 0 or save.wait(timeout=PATIENCE_SECONDS) != 0:
            raise SparkvaultError(f"the image {image} could not be given to {host.instance_id}")


def with_our_images(images: dict[str, str]) -> ByHand:
    """The images that the deployment published, by `published`."""
    needs = ("--volume", "/root/by-hand:/input:ro", "--env", "SPARK_SECRET_FILE=/input/secret")
    # Looked at as often as our own services are that others wait for; workers that find no master wait much longer.
    master = (*needs, "--health-interval", "2s", "--env", "SPARK_MASTER_HOST=spark-master")
    size = ("--env", "MEMORY=4g", "--env", "CORES=2", "--env", f"SPARK_MASTER_URL={MASTER_URL}")
    driver = (*needs, "--env", f"SPARK_MASTER_URL={MASTER_URL}")
    return ByHand(
        master=(*master, images["master"]),
        worker=(*needs, *size, images["worker"]),
        driver=(*driver, images["submit"], "submit", *LIMITS, "/input/job.py"),
        master_listens="""[ "$(docker inspect --format '{{.State.Health.Status}}' spark-master)" = healthy ]""",
    )


def with_plain_image(image: str) -> ByHand:
    """One image for all, Spark's own commands, and no secret."""
    # Without a name in the image's list of users Hadoop does not start.
    needs = ("--user", "root", "--volume", "/root/by-hand:/input:ro", image)
    spark = "org.apache.spark.deploy"
    return ByHand(
        master=(*needs, "spark-class", f"{spark}.master.Master", "--host", "spark-master"),
        worker=(*needs, "spark-class", f"{spark}.worker.Worker", "--memory", "4g", "--cores", "2", MASTER_URL),
        driver=(*needs, "spark-submit", "--master", MASTER_URL, *LIMITS, "/input/job.py"),
        master_listens="docker logs spark-master 2>&1 | grep --quiet 'New state: ALIVE'",
    )


def ours(demo: Demo, ec2: EmulatedEc2, job: Path) -> dict[str, float]:
    """New hosts as far as the bundle can tell: user data runs, no swarm is known; then a job by the command line."""
    for host in ec2.hosts():
        forget(host)
        host.run(["rm", "-rf", "/var/lib/cloud/instances"])
    ec2.aws.client("dynamodb").delete_item(TableName=AUTHORITY, Key={"cluster": {"S": "demo"}})
    started = power_cycle(ec2)
    with tempfile.TemporaryFile() as log:
        # At once: waiting for the cluster is the command's own work, as it is the script's by hand.
        process = subprocess.Popen([*SUBMIT, str(job)], cwd=ROOT, env=dict(demo.environment), stdout=PIPE, stderr=log)
        answer = answered(process, log, started)
    # Read afterwards: each question costs the hosts a tenth of a second of a CPU.
    return {
        "hosts_up": max(entered(host, "docker.service", started) for host in ec2.hosts()),
        "spark_up": max(entered(host, "sparkvault-agent.service", started) for host in ec2.hosts()),
        **answer,
    }


def by_hand(ec2: EmulatedEc2, how: ByHand) -> dict[str, float]:
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
    start(manager, "spark-master", how.master)
    # On the host: each question from outside costs it a tenth of a second of a CPU.
    manager.run(["sh", "-c", f"until {how.master_listens}; do sleep 0.5; done"], timeout=PATIENCE_SECONDS)
    for number, host in enumerate(workers, 1):
        start(host, f"spark-worker-{number}", how.worker)
    # Nobody waits for workers: the driver does.
    phases["spark_started"] = time.monotonic() - started
    with tempfile.TemporaryFile() as log:
        process = workers[0].process([*docker_run("spark-submit"), *how.driver], interactive=False, stderr=log)
        return phases | answered(process, log, started)


def docker_run(name: str) -> tuple[str, ...]:
    """The command that runs a container on the overlay, under the name by which others find it."""
    return ("docker", "run", "--network", "spark-overlay-net", "--name", name, "--hostname", name)


def start(host: Host, name: str, rest: tuple[str, ...]) -> None:
    """Run a container in the background."""
    host.run([*docker_run(name), "--detach", *rest])


def answered(process: subprocess.Popen[bytes], log: IO[bytes], started: float) -> dict[str, float]:
    """Seconds since `started` until the job's answer is read, and until the command that ran it has ended.

    `log` is where the process writes its errors: on one stream with the answer, a line of Spark's could cut into it.
    """
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
    if code != 0 or not phases:
        log.seek(0)
        said += log.read()
        answer = "with" if phases else "without"
        raise SparkvaultError(f"the job ended with {code}, {answer} the right answer:\n{said.decode(errors='replace')}")
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
