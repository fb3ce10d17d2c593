"""One measure inside containers of a bare node, and what a container itself costs to start and to keep."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Iterator, Sequence

import docker
import psutil
import requests
from docker.models.containers import Container

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
        output = _beside_a_server(node, runtime, measure.server, command, seconds)
    else:
        output = node.run(runtime, UID, command, ["--rm", *shared(node)], seconds=_limit(seconds))
    try:
        return measure.read(output)
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


@contextlib.contextmanager
def in_background(
    node: BareNode, runtime: str, command: Sequence[str], *, says: str, options: Sequence[str] = (), uid: int = UID
) -> Iterator[Container]:
    """A container that runs beside the measurement, from the moment at which it has said that; removed afterwards.

    Raises YarnEmulationError.
    """
    identity = node.run(runtime, uid, command, ["-d", *options]).strip()
    client = node.engine.client()
    container = client.containers.get(identity)
    try:
        said(container, says, seconds=_START_SECONDS)
        yield container
    finally:
        container.remove(force=True, v=True)
        client.close()


def said(container: Container, *words: str, seconds: float) -> str:
    """Wait until a container has said one of these words; which one it was. Raises YarnEmulationError."""
    deadline = time.monotonic() + seconds
    while True:
        container.reload()
        log = container.logs().decode(errors="replace")
        for word in words:
            if word in log:
                return word
        if container.status == "exited" or time.monotonic() > deadline:
            ended = "ended" if container.status == "exited" else f"ran for {seconds:.0f} s"
            raise YarnEmulationError(f"a container {ended} without saying {' or '.join(words)}: {log[-300:]!r}")
        time.sleep(0.1)


def _beside_a_server(node: BareNode, runtime: str, server: tuple[str, ...], command: list[str], seconds: int) -> str:
    with in_background(node, runtime, server, says="listening") as container:
        address = container.attrs["NetworkSettings"]["Networks"][NETWORK]["IPAddress"]
        there = [address if word == "SERVER" else word for word in command]
        return node.run(runtime, UID, there, ["--rm"], seconds=_limit(seconds))


def start(node: BareNode, runtime: str) -> Figures:
    """Seconds from `docker run` to the end of a container whose program does nothing."""
    started = time.monotonic()
    node.run(runtime, UID, ["true"])
    return {"start_seconds": time.monotonic() - started}


def memory(node: BareNode, runtime: str) -> Figures:
    """MiB of the host that an idle container takes: proportional share of its shim and of all below it."""
    with in_background(node, runtime, ["sh", "-c", "echo up; exec sleep 300"], says="up") as container:
        return {"idle_container_mib": _resident(str(container.id)) / 2**20}


def _resident(identity: str) -> int:
    """Bytes. Raises YarnEmulationError where the container has no shim."""
    for process in psutil.process_iter(["name", "cmdline"]):
        if str(process.info["name"]).startswith("containerd-shim") and identity in (process.info["cmdline"] or []):
            family = [process, *process.children(recursive=True)]
            return sum(int(one.memory_full_info().pss) for one in family)
    raise YarnEmulationError(f"container {identity[:12]} has no shim on this machine")
