"""Files of a node's enforcement beside Hadoop's own: the guard with its policy, and what containers know of users."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Sequence
from pathlib import Path

from .render import write
from .tenants import Tenant, group, passwd

_GUARD_PROGRAM = Path(__file__).with_name("container_guard.py")

#: systemd-resolved's list of real resolvers (systemd-resolved.service(8)), then everybody's.
_RESOLVERS = (Path("/run/systemd/resolve/resolv.conf"), Path("/etc/resolv.conf"))

#: The most processes of a container: enough for a JVM with Python workers, and the end of a fork bomb.
PIDS = 4096


def write_container_users(folder: Path, tenants: Sequence[Tenant], realm: str, runtime: str) -> None:
    """What containers get of users, the realm's name, and the file by which the launcher knows where it is."""
    write(folder / "passwd", passwd(tenants))
    write(folder / "group", group(tenants))
    write(folder / "krb5.conf", f"[libdefaults]\n default_realm = {realm}\n dns_lookup_kdc = false\n")
    # The VPC's own resolver. Docker's would be at an address of its loopback rules, which a container with a kernel of
    # its own does not see (gVisor's FAQ; Kata's limitations).
    write(folder / "resolv.conf", resolvers())
    kernel = Path("/proc/version").read_text(encoding="utf-8").strip()
    write(folder / "node", f"{runtime}\n{kernel}\n")


def resolvers(files: Sequence[Path] = _RESOLVERS) -> str:
    """Where this host itself asks for names, without a stub on its own loopback interface."""
    for file in files:
        lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
        kept = [line for line in lines if re.match(r"search |nameserver (?!127\.)", line)]
        if any(line.startswith("nameserver") for line in kept):
            return "\n".join([*kept, ""])
    return ""


def guard_policy(
    runtime: str,
    network: str,
    image: str,
    tenants: Sequence[Tenant],
    *,
    users: Path,
    ro_mounts: Sequence[str],
    rw_mounts: Sequence[str],
    docker: Sequence[str],
) -> str:
    """The guard's policy as JSON. ``docker``: the real program with the engine's address."""
    return json.dumps(
        {
            "runtime": runtime,
            "network": network,
            "images": {"*": [image], **{str(tenant.uid): list(tenant.images) for tenant in tenants}},
            "ro_mounts": list(ro_mounts),
            "rw_mounts": list(rw_mounts),
            "docker": list(docker),
            "add": [
                *("--pids-limit", str(PIDS), "-v", f"{users / 'node'}:/run/sparkvault/node:ro"),
                *("-v", f"{users / 'resolv.conf'}:/etc/resolv.conf:ro"),
            ],
        },
        indent=2,
    )


def write_guard(place: Path, python: str, policy: Path) -> None:
    """The program that container-executor.cfg names as Docker: root's, isolated from everybody's Python."""
    line = shlex.join([python, "-I", str(_GUARD_PROGRAM), str(policy)])
    write(place, f'#!/bin/sh\nexec {line} "$@"\n', 0o755)
