"""One measure inside containers of a bare node, and what a container itself costs to start and to keep."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Iterator

import docker
import psutil
import requests

from benchmarks.isolation.measures import Figures, Measure
from emulation.yarn.bare_node import BareNode
from emulation.yarn.errors import YarnEmulationError
from emulation.yarn.node_engine import NETWORK

#: Each container's limits; gVisor ignores them here (--ignore-cgroups).
LIMITS = ("--pids-limit", "512", "--memory", "1g", "--cpus", "2")
#: The user of the containers: any tenant's.
UID = 20000
_START_SECONDS = 60.0


def measured(node: BareNode, runtime: str, measure: Measure, seconds: int) -> Figures:
    """The figures of one measure. Raises YarnEmulationError."""
    command = measure.command(seconds)
    if measure.server:
        said = _beside_a_server(node, runtime, measure.server, command, seconds)
    else:
        said = node.run(runtime, UID, command, ["--rm", *shared(node)], seconds=_limit(seconds))
    try:
        return measure.read(said)
    except (ValueError, KeyError, TypeError) as error:
        raise YarnEmulationError(f"{measure.name} under {runtime} said nothing that can be read: {error}") from error


@contextlib.contextmanager
def one_at_a_time(node: BareNode, what: str) -> Iterator[None]:
    """What fails inside is a YarnEmulationError, and leaves no container behind that would slow the next measure."""
    try:
        yield
    except BaseException as error:
        # An engine that is gone has no containers either.
        with contextlib.suppress(docker.errors.DockerException, requests.exceptions.RequestException):
            client = node.engine.client()
            for container in client.containers.list(all=True, ignore_removed=True):
                container.remove(force=True, v=True)
            client.close()
        if isinstance(error, subprocess.TimeoutExpired):
            raise YarnEmulationError(f"{what} took more than {error.timeout:.0f} s") from error
        if isinstance(error, docker.errors.DockerException | requests.exceptions.RequestException):
            raise YarnEmulationError(f"{what}: Docker said {error}", f"its log is {node.engine.log}") from error
        raise


def _limit(seconds: int) -> float:
    return 60 + seconds * 4


def shared(node: BareNode) -> list[str]:
    """The option that gives a container the host's folder ``node.shared``/own at /shared."""
    own = node.shared / "own"
    own.mkdir(exist_ok=True)
    os.chown(own, UID, UID)
    return ["-v", f"{own}:/shared:rw"]


def _beside_a_server(node: BareNode, runtime: str, server: tuple[str, ...], command: list[str], seconds: int) -> str:
    identity = node.run(runtime, UID, server, ["-d"]).strip()
    client = node.engine.client()
    container = client.containers.get(identity)
    try:
        deadline = time.monotonic() + _START_SECONDS
        while b"listening" not in container.logs():
            container.reload()
            if container.status == "exited" or time.monotonic() > deadline:
                raise YarnEmulationError(f"{server[0]} under {runtime} did not listen: {container.logs()[-300:]!r}")
            time.sleep(0.1)
        container.reload()
        address = container.attrs["NetworkSettings"]["Networks"][NETWORK]["IPAddress"]
        there = [address if word == "SERVER" else word for word in command]
        return node.run(runtime, UID, there, ["--rm"], seconds=_limit(seconds))
    finally:
        container.remove(force=True, v=True)
        client.close()


def start(node: BareNode, runtime: str) -> Figures:
    """Seconds from `docker run` to the end of a container whose program does nothing."""
    started = time.monotonic()
    node.run(runtime, UID, ["true"])
    return {"start_seconds": time.monotonic() - started}


def memory(node: BareNode, runtime: str) -> Figures:
    """MiB of the host that an idle container takes: proportional share of its shim and of all below it."""
    identity = node.run(runtime, UID, ["sh", "-c", "echo up; exec sleep 300"], ["-d"]).strip()
    client = node.engine.client()
    container = client.containers.get(identity)
    try:
        deadline = time.monotonic() + _START_SECONDS
        while b"up" not in container.logs():
            if time.monotonic() > deadline:
                raise YarnEmulationError(f"an idle container under {runtime} did not start")
            time.sleep(0.1)
        return {"idle_container_mib": _resident(identity) / 2**20}
    finally:
        container.remove(force=True, v=True)
        client.close()


def _resident(identity: str) -> int:
    """Bytes. Raises YarnEmulationError where the container has no shim."""
    for process in psutil.process_iter(["name", "cmdline"]):
        if str(process.info["name"]).startswith("containerd-shim") and identity in (process.info["cmdline"] or []):
            family = [process, *process.children(recursive=True)]
            return sum(int(one.memory_full_info().pss) for one in family)
    raise YarnEmulationError(f"container {identity[:12]} has no shim on this machine")
