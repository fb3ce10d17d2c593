"""Refuses YARN clusters that could not keep what their runtime promises, before anything is synthesised."""

import re
from collections.abc import Sequence
from typing import Literal

from spark_constructs.instance_types import InstanceType
from spark_constructs.refusal import RefusedError
from spark_constructs.yarn_settings import TAKEN_USERS, user_number

#: What containers can run under: a virtual machine each, gVisor's kernel each, or the host's kernel.
YarnRuntime = Literal["kata", "runsc", "runc"]


class UnsafeYarnClusterError(RefusedError):
    """A YARN cluster that must not be deployed: what is wrong and what to give instead."""


def refuse_hosts_without_machines(types: Sequence[InstanceType], runtime: YarnRuntime) -> None:
    """Raises UnsafeYarnClusterError where Kata would find no KVM.

    Metal and virtualised types do not go together either: one launch template switches nested virtualization on for
    all, and EC2 refuses that option for metal.
    """
    if runtime != "kata":
        return
    for each in types:
        if not each.runs_virtual_machines:
            raise UnsafeYarnClusterError(
                f"Kata needs virtual machines, and {each.name} runs none: use C8i, M8i, R8i or a metal type, "
                "or the runtime runsc"
            )
    if len({each.metal for each in types}) > 1:
        raise UnsafeYarnClusterError(
            "metal and virtualised instance types in one group: nested virtualization is switched on for the whole "
            "group, and metal has no such switch; use one kind"
        )


def refuse_tenants_that_are_no_users(names: Sequence[str]) -> None:
    """Raises UnsafeYarnClusterError unless each name can be a Linux user and a queue of its own."""
    if not names:
        raise UnsafeYarnClusterError("a YARN cluster needs a tenant: each job runs as its tenant's user")
    for name in names:
        if name in TAKEN_USERS or not re.fullmatch(r"[a-z][a-z0-9-]{0,30}", name):
            raise UnsafeYarnClusterError(f"tenant {name!r} cannot be a Linux user of its own: choose another name")
    if len(set(names)) != len(names):
        raise UnsafeYarnClusterError("two tenants have the same name: each needs its own user and queue")
    numbers: dict[int, str] = {}
    for name in names:
        other = numbers.setdefault(user_number(name), name)
        if other != name:
            raise UnsafeYarnClusterError(f"tenants {other!r} and {name!r} would be one Linux user: rename one of them")


def refuse_unpinned(name: str, sha512: str | None) -> str:
    """The checksum. Raises UnsafeYarnClusterError where it is none."""
    if sha512 is None or not re.fullmatch("[0-9a-f]{128}", sha512):
        raise UnsafeYarnClusterError(
            f"{name} has no SHA-512: hosts install nothing that is not pinned; give the one that its maker publishes"
        )
    return sha512
