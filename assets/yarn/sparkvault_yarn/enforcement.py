"""Whether this node forces every container into its runtime; the NodeManager starts only after this check.

An allow-list of runtimes alone lets a job through that asks for none. What holds is all of it together: YARN's
settings, the executor's, the guard before Docker, Docker's default runtime, and a container that really
has another kernel.

Usage: python3 -m sparkvault_yarn.enforcement NODE.json
"""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from .container_guard import Refused, read_policy
from .errors import YarnHostError
from .render import properties

#: Runtimes under which a container has a kernel of its own.
OWN_KERNEL = frozenset({"kata", "runsc"})
RUNTIMES = OWN_KERNEL | {"runc"}

_YARN = "yarn.nodemanager.runtime.linux"
_COMMAND_SECONDS = 120


@dataclass(frozen=True)
class Node:
    """Where a node's pieces are, and the one runtime that all its containers have to have."""

    runtime: str
    network: str
    image: str
    #: Hadoop's configuration folder, with container-executor.cfg.
    hadoop: Path
    #: Docker's daemon.json.
    daemon: Path
    #: The guard's policy, and the program that container-executor.cfg has to name as Docker.
    policy: Path
    guard: Path

    @classmethod
    def read(cls, path: Path) -> Node:
        """From the file that the host's boot writes. Raises YarnHostError."""
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            places = {name: Path(found[name]) for name in ("hadoop", "daemon", "policy", "guard")}
            return cls(str(found["runtime"]), str(found["network"]), str(found["image"]), **places)
        except (OSError, ValueError, KeyError) as error:
            raise YarnHostError(f"{path} does not say what this node enforces ({error!r}): boot it anew") from error


def main(arguments: list[str]) -> int:
    """0 where everything is enforced; 1 with a line for each piece that is missing."""
    try:
        found = problems(Node.read(Path(arguments[0])))
    except YarnHostError as error:
        found = [str(error)]
    for problem in found:
        print(f"sparkvault: {problem}", file=sys.stderr)
    if found:
        print("sparkvault: this node starts no NodeManager until that is mended", file=sys.stderr)
    return 1 if found else 0


def problems(node: Node) -> list[str]:
    """What is missing, one sentence each; none where everything holds."""
    found = [*_settings(node), *_executor(node), *_policy(node), *_daemon(node), *_owners(node)]
    # A container is started only where the rest is as it should be.
    return found or list(_kernel(node))


def wanted_settings(node: Node) -> Mapping[str, str]:
    """The properties of yarn-site.xml without which a container could be something else."""
    return {
        "yarn.nodemanager.container-executor.class": (
            "org.apache.hadoop.yarn.server.nodemanager.LinuxContainerExecutor"
        ),
        "yarn.nodemanager.linux-container-executor.nonsecure-mode.limit-users": "false",
        f"{_YARN}.allowed-runtimes": "docker",
        f"{_YARN}.type": "docker",
        f"{_YARN}.docker.image-name": node.image,
        f"{_YARN}.docker.allowed-container-runtimes": node.runtime,
        f"{_YARN}.docker.allowed-container-networks": node.network,
        f"{_YARN}.docker.default-container-network": node.network,
        # An empty value would be Hadoop's default list.
        f"{_YARN}.docker.capabilities": "none",
        f"{_YARN}.docker.privileged-containers.allowed": "false",
        f"{_YARN}.docker.privileged-containers.acl": "",
        f"{_YARN}.docker.host-pid-namespace.allowed": "false",
        f"{_YARN}.docker.delayed-removal.allowed": "false",
        f"{_YARN}.docker.enable-userremapping.allowed": "true",
    }


def wanted_executor(node: Node) -> Mapping[str, str]:
    """What container-executor.cfg has to say in its section `[docker]`."""
    return {
        "module.enabled": "true",
        "docker.binary": str(node.guard),
        "docker.allowed.runtimes": node.runtime,
        "docker.allowed.networks": node.network,
        "docker.allowed.capabilities": "",
        "docker.allowed.devices": "",
        "docker.allowed.volume-drivers": "",
        "docker.privileged-containers.enabled": "false",
        "docker.host-pid-namespace.enabled": "false",
        "docker.no-new-privileges.enabled": "true",
        "docker.service-mode.enabled": "false",
    }


def _settings(node: Node) -> Iterator[str]:
    if node.runtime not in RUNTIMES:
        yield f"there is no runtime {node.runtime!r}; there are {', '.join(sorted(RUNTIMES))}"
    path = node.hadoop / "yarn-site.xml"
    try:
        there = properties(path.read_text(encoding="utf-8"))
    except (OSError, SyntaxError) as error:
        yield f"{path} cannot be read: {error}"
        return
    for name, value in wanted_settings(node).items():
        if there.get(name) != value:
            yield f"{path}: {name} is {there.get(name)!r}, and {value!r} is what enforces {node.runtime}"


def _executor(node: Node) -> Iterator[str]:
    path = node.hadoop / "container-executor.cfg"
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        yield f"{path} cannot be read: {error}"
        return
    docker = "\n".join(lines).partition("[docker]")[2].splitlines()
    there = dict(line.strip().split("=", 1) for line in docker if "=" in line)
    for name, value in wanted_executor(node).items():
        if there.get(name) != value:
            yield f"{path}: {name} is {there.get(name)!r}, and {value!r} is what enforces {node.runtime}"


def _policy(node: Node) -> Iterator[str]:
    try:
        policy = read_policy(str(node.policy))
    except Refused as refusal:
        yield str(refusal)
        return
    for name, value in (("runtime", node.runtime), ("network", node.network)):
        if policy[name] != value:
            yield f"{node.policy}: {name} is {policy[name]!r}, and {value!r} is what is enforced"
    if not os.access(node.guard, os.X_OK):
        yield f"the guard {node.guard} is not there, or cannot be run"


def _daemon(node: Node) -> Iterator[str]:
    try:
        default = json.loads(node.daemon.read_text(encoding="utf-8")).get("default-runtime")
    except (OSError, ValueError) as error:
        yield f"{node.daemon} cannot be read: {error}"
        return
    if default != node.runtime:
        yield f"{node.daemon}: default-runtime is {default!r}, and {node.runtime!r} is what is enforced"
        return
    running = _docker(node, ["info", "--format", "{{.DefaultRuntime}}"])
    if running != node.runtime:
        yield f"the running Docker engine's default runtime is {running!r}: restart it with {node.daemon}"


def _owners(node: Node) -> Iterator[str]:
    for path in (node.hadoop / "container-executor.cfg", node.hadoop / "yarn-site.xml", node.daemon, node.guard):
        about = path.stat() if path.exists() else None
        if about and (about.st_uid != 0 or about.st_mode & (stat.S_IWGRP | stat.S_IWOTH)):
            yield f"{path} can be written by others than root: chown root, chmod go-w"


def _kernel(node: Node) -> Iterator[str]:
    seen = _docker(node, ["run", "--rm", "--network", "none", "--entrypoint", "cat", node.image, "/proc/version"])
    host = Path("/proc/version").read_text(encoding="utf-8").strip()
    if not seen.startswith("Linux"):
        yield f"no container starts under {node.runtime}: {seen or 'it says nothing'}"
    elif node.runtime in OWN_KERNEL and seen == host:
        yield f"a container that asked for no runtime runs on this host's own kernel, and not under {node.runtime}"


def _docker(node: Node, command: list[str]) -> str:
    """What docker answers, or what is wrong with it."""
    docker = json.loads(node.policy.read_text(encoding="utf-8"))["docker"] if node.policy.exists() else ["docker"]
    try:
        done = subprocess.run(
            [*docker, *command], capture_output=True, text=True, timeout=_COMMAND_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return (done.stdout if done.returncode == 0 else done.stderr).strip()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
