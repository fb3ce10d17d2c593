"""Three hosts, one fault after the other: seconds until the cluster is whole again, and a job's answer is right."""

import argparse
import json
import subprocess
import time
from collections.abc import Callable
from typing import NamedTuple

from benchmarks.emulated_swarm import ANSWER, PLACE, SUBMIT, deployed_swarm
from benchmarks.report import Report
from emulation.demo.steps import ROOT, Demo, console
from emulation.ec2 import EmulatedEc2, Host
from sparkvault.errors import SparkvaultError, WaitTimeout

WORKERS = 2
PATIENCE_SECONDS = 900.0
#: Each look is a command with a second of work, on hosts that need it for what is awaited.
PAUSE_SECONDS = 2.0
PARTITION_SECONDS = 60.0
SPOT_SECONDS = 90.0


class Struck(NamedTuple):
    """A fault that has happened."""

    at: float
    """When, by the monotonic clock; when it was over, where hosts were cut off."""
    was_noticed: Callable[[], bool]
    """Whether a cluster that looks whole is so again, and not still."""


def worker_engine_restarted(ec2: EmulatedEc2) -> Struck:
    """A worker's Docker engine stops with all that it runs, and is started again."""
    victim = ec2.hosts("worker")[0]
    at = time.monotonic()
    victim.stop_engine()
    victim.start_engine()
    return Struck(at, lambda: True)


def worker_killed(ec2: EmulatedEc2) -> Struck:
    """A worker's power fails; EC2 finds the instance impaired, and its group replaces it."""
    return _killed(ec2, ec2.hosts("worker")[0])


def worker_cut_off(ec2: EmulatedEc2) -> Struck:
    """A worker has no network for a minute."""
    return _cut_off(ec2.hosts("worker")[0], from_aws=True)


def worker_taken_by_spot(ec2: EmulatedEc2) -> Struck:
    """EC2 takes a worker back after its notice."""
    victim = ec2.hosts("worker")[0]
    at = time.monotonic()
    ec2.spot_notice(victim, SPOT_SECONDS)
    return Struck(at, lambda: is_gone(ec2, victim))


def manager_terminated(ec2: EmulatedEc2) -> Struck:
    """The only manager ends in order, and the swarm is made anew."""
    [victim] = ec2.hosts("manager")
    at = time.monotonic()
    ec2.terminate(victim)
    return Struck(at, lambda: is_gone(ec2, victim))


def manager_killed(ec2: EmulatedEc2) -> Struck:
    """The only manager's power fails, and the swarm is made anew."""
    [victim] = ec2.hosts("manager")
    return _killed(ec2, victim)


def manager_cut_off(ec2: EmulatedEc2) -> Struck:
    """The other hosts do not reach the only manager for a minute."""
    [victim] = ec2.hosts("manager")
    return _cut_off(victim, from_aws=False)


def all_rebooted(ec2: EmulatedEc2) -> Struck:
    """Every host reboots at once."""
    began = {host.instance_id: host.started() for host in ec2.hosts()}
    at = time.monotonic()
    for host in ec2.hosts():
        host.reboot(wait=False)
    return Struck(at, lambda: all(host.started() > began[host.instance_id] for host in ec2.hosts()))


FAULTS: dict[str, Callable[[EmulatedEc2], Struck]] = {
    fault.__name__: fault
    for fault in (
        worker_engine_restarted,
        worker_killed,
        worker_cut_off,
        worker_taken_by_spot,
        manager_terminated,
        manager_killed,
        manager_cut_off,
        all_rebooted,
    )
}


def main(arguments: list[str]) -> int:
    """Deploy once, then one fault after the other, each on a whole cluster."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks swarm_recovery", description=__doc__)
    parser.add_argument("--fault", choices=FAULTS, action="append", help="only this one, as often as given")
    options = parser.parse_args(arguments)
    report = Report("swarm_recovery")
    with deployed_swarm() as (demo, ec2, job):
        until_whole(demo, lambda: True)
        for name in options.fault or FAULTS:
            console.print(f"[bold]{name}[/]: {FAULTS[name].__doc__}")
            struck = FAULTS[name](ec2)
            until_whole(demo, struck.was_noticed)
            report.figures[f"{name}_seconds"] = round(time.monotonic() - struck.at, 1)
            if ANSWER not in demo.run(*SUBMIT, str(job)):
                raise SparkvaultError(f"after {name} the job's answer is wrong")
    report.notes.append(
        "from the fault, or its end where hosts were cut off, until `sparkvault status` finds nothing missing; "
        "of a host that must be replaced most of it is the time until its group has let it go"
    )
    return 0 if report.publish() else 1


def until_whole(demo: Demo, was_noticed: Callable[[], bool]) -> None:
    """Return once the fault was noticed and the cluster is whole. Raises WaitTimeout."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (was_noticed() and is_whole(demo)):
        if time.monotonic() > deadline:
            raise WaitTimeout("a whole cluster", PATIENCE_SECONDS)
        time.sleep(PAUSE_SECONDS)


def is_whole(demo: Demo) -> bool:
    """Whether the status finds nothing missing, and as many live Spark workers as there should be."""
    command = ["sparkvault", "status", *PLACE, "--json"]
    done = subprocess.run(
        command, cwd=ROOT, env=dict(demo.environment), capture_output=True, text=True, timeout=120, check=False
    )
    if done.returncode != 0:
        return False
    [target] = json.loads(done.stdout)["targets"]
    alive = [one for one in target["components"] if one["kind"] == "worker" and one["state"] == "alive"]
    return len(alive) == WORKERS


def is_gone(ec2: EmulatedEc2, host: Host) -> bool:
    """Whether EC2 has ended the instance."""
    return ec2.state_of(host.instance_id) == "terminated"


def _killed(ec2: EmulatedEc2, victim: Host) -> Struck:
    at = time.monotonic()
    victim.kill()
    ec2.impair(victim)
    return Struck(at, lambda: is_gone(ec2, victim))


def _cut_off(victim: Host, *, from_aws: bool) -> Struck:
    with victim.cut_off(PARTITION_SECONDS, from_aws=from_aws):
        pass
    return Struck(time.monotonic(), lambda: True)
