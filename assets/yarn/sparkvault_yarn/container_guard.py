"""Stands between Hadoop's container-executor and Docker: the last check of every container, whatever Java let through.

container-executor.cfg names it as `docker.binary`. It knows the few options that the executor uses; anything else is
refused. It names the runtime itself, so that a job which asks for none gets the enforced one, and it bounds what a
container may take. One file without imports of ours: it runs as root, isolated from everybody's Python paths.

Usage: container_guard.py POLICY COMMAND [ARGUMENTS…]
"""

from __future__ import annotations

import json
import os
import re
import stat
import sys
from pathlib import Path
from typing import Any

#: Exit code of a refusal: what the executor itself returns when Docker refuses (DOCKER_RUN_FAILED).
REFUSED = 29

#: Commands that start nothing and reveal nothing but what a node knows of its containers.
_HARMLESS = frozenset({"inspect", "kill", "stop", "rm", "logs", "ps", "wait", "images"})

#: Options of `docker run` that take a value, as the executor writes them, with `=` or as two words.
_WITH_VALUE = frozenset(
    {
        *("--name", "--user", "--workdir", "--net", "-v", "--tmpfs", "--cap-drop", "--hostname", "--group-add"),
        *("--security-opt", "--env-file", "--runtime", "--cgroup-parent"),
    }
)
_ALONE = frozenset({"-d", "--rm"})

#: Options that the executor may write, and that are never allowed here → what they would give.
_NEVER = {
    "--privileged": "a privileged container",
    "--device": "a device of the host",
    "--cap-add": "a capability",
    "--pid": "the host's process namespace",
    "--volume-driver": "a volume driver",
    "-p": "a port of the host",
    "-P": "ports of the host",
    "--config": "a Docker configuration of its own",
}


class Refused(Exception):
    """A container that must not start: what it asked for, and what is allowed."""


def main(arguments: list[str]) -> None:
    """Check, then become docker."""
    try:
        policy = read_policy(arguments[0])
        command = checked(arguments[1:], policy)
    except Refused as refusal:
        print(f"sparkvault: {refusal}", file=sys.stderr)
        sys.exit(REFUSED)
    os.execv(policy["docker"][0], [*policy["docker"], *command])  # noqa: S606 (no shell is the point)


def read_policy(path: str) -> dict[str, Any]:
    """The policy. Raises Refused where anybody but root could have written it."""
    try:
        about = Path(path).stat()
        if about.st_uid != 0 or about.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise Refused(f"{path} can be written by others than root: no container starts until that is mended")
        policy = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise Refused(f"the policy {path} cannot be read ({error}): no container starts without it") from error
    missing = {"runtime", "network", "images", "ro_mounts", "rw_mounts", "docker", "add"} - set(policy)
    if missing:
        raise Refused(f"the policy {path} lacks {', '.join(sorted(missing))}: this node starts no container without it")
    return dict(policy)


def checked(command: list[str], policy: dict[str, Any]) -> list[str]:
    """The command as docker gets it. Raises Refused."""
    if not command:
        raise Refused("no command for Docker was given")
    if command[0].startswith("--config"):
        raise Refused(f"a container asked for {_NEVER['--config']}; the node's own is the only one")
    if command[0] == "run":
        return _run(command[1:], policy)
    if command[0] not in _HARMLESS:
        raise Refused(f"`docker {command[0]}` is not for YARN's containers; it may run and end them, no more")
    return command


def _run(words: list[str], policy: dict[str, Any]) -> list[str]:
    options, rest = _parsed(words)
    image = rest[0]
    uid = _uid(options)
    _one(options, "--net", policy["network"], "network")
    asked = [value for name, value in options if name == "--runtime"]
    for runtime in asked:
        if runtime != policy["runtime"]:
            raise Refused(
                f"the container asked for the runtime {runtime!r}; on this cluster every container runs under "
                f"{policy['runtime']!r}: leave YARN_CONTAINER_RUNTIME_DOCKER_RUNTIME out"
            )
    allowed = [*policy["images"].get("*", []), *policy["images"].get(str(uid), [])]
    if image not in allowed:
        raise Refused(
            f"the image {image!r} is not one that user {uid} may run (those are {', '.join(allowed) or 'none'}): "
            "leave YARN_CONTAINER_RUNTIME_DOCKER_IMAGE out, or have it added to the tenant's images"
        )
    for name, value in options:
        if name == "-v":
            _mount(value, uid, policy)
        if name == "--security-opt" and value != "no-new-privileges":
            raise Refused(f"the container asked for the security option {value!r}; there is only no-new-privileges")
        if name == "--cgroup-parent" and not re.fullmatch(r"/?hadoop-yarn(/[\w.-]+)*", value):
            raise Refused(f"the container asked for the control group {value!r}; YARN's are under hadoop-yarn")
    kept = [word for name, value in options if name != "--runtime" for word in ([name, value] if value else [name])]
    # All is dropped and nothing gained, also where the executor forgot to say so.
    always = ["--runtime", policy["runtime"], "--security-opt", "no-new-privileges", "--cap-drop", "ALL"]
    return ["run", *kept, *always, *policy["add"], *rest]


def _parsed(words: list[str]) -> tuple[list[tuple[str, str]], list[str]]:
    options = []
    at = 0
    while at < len(words) and words[at].startswith("-"):
        name, equals, value = words[at].partition("=")
        if name in _NEVER:
            raise Refused(f"the container asked for {_NEVER[name]} ({words[at]}); no container here gets one")
        if name in _WITH_VALUE:
            if not equals:
                at += 1
                value = words[at] if at < len(words) else ""
            options.append((name, value))
        elif words[at] in _ALONE:
            options.append((name, ""))
        else:
            raise Refused(f"the option {words[at]} of `docker run` is not one that YARN's containers need")
        at += 1
    if at == len(words):
        raise Refused("`docker run` without an image")
    return options, words[at:]


def _uid(options: list[tuple[str, str]]) -> int:
    users = [value for name, value in options if name == "--user"]
    if len(users) != 1 or not re.fullmatch(r"\d+(:\d+)?", users[0]):
        raise Refused(f"the container runs as {users or 'nobody in particular'}: exactly one numeric user is needed")
    uid = int(users[0].split(":")[0])
    if uid == 0:
        raise Refused("the container runs as root: containers run as their tenant's user, and not as root")
    return uid


def _one(options: list[tuple[str, str]], option: str, only: str, what: str) -> None:
    values = [value for name, value in options if name == option]
    if values != [only]:
        raise Refused(
            f"the container asked for the {what} {', '.join(values) or 'that Docker likes best'}; "
            f"every container on this cluster has {only!r}: leave YARN_CONTAINER_RUNTIME_DOCKER_CONTAINER_NETWORK out"
        )


def _mount(value: str, uid: int, policy: dict[str, Any]) -> None:
    parts = value.split(":")
    if len(parts) not in (2, 3) or not parts[0].startswith("/"):
        raise Refused(f"the mount {value!r} is not SOURCE:PLACE:ro|rw with a folder of the host")
    source, mode = os.path.realpath(parts[0]), parts[2] if len(parts) == 3 else "rw"
    allowed = [*policy["rw_mounts"], *(policy["ro_mounts"] if mode.split("+")[0] == "ro" else [])]
    if not any(source == one or source.startswith(one.rstrip("/") + "/") for one in map(os.path.realpath, allowed)):
        raise Refused(
            f"the container asked for {parts[0]!r} of the host, {mode}; it gets YARN's own folders and no others: "
            "leave YARN_CONTAINER_RUNTIME_DOCKER_MOUNTS out"
        )
    # Within YARN's folders lie those of other tenants and of the NodeManager: what can be written, or is a user's, has
    # to be this user's own.
    folders = Path(source).parts
    if "nmPrivate" in folders or source in map(os.path.realpath, policy["rw_mounts"]):
        raise Refused(f"the container asked for {parts[0]!r} of the host; that is for the NodeManager alone")
    if (mode.split("+")[0] != "ro" or "usercache" in folders) and _owner(source) != uid:
        raise Refused(f"the container asked for {parts[0]!r} of the host; that is not a folder of user {uid}")


def _owner(path: str) -> int:
    """The user number of a file's owner; that of nobody where there is none."""
    try:
        return Path(path).stat().st_uid
    except OSError:
        return -1


if __name__ == "__main__":
    main(sys.argv[1:])
