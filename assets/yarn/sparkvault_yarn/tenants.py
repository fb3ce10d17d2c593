"""Tenants of a YARN cluster as its hosts need them: users, queues, and the images that each may run."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from .errors import YarnHostError
from .render import configuration

#: Linux users of tenants have the numbers from here on: those of services and people on a host are below.
LEAST_UID = 20000
MOST_UID = 59999
_NAME = re.compile(r"[a-z][a-z0-9-]{0,30}")
_BY_MEMORY_AND_CORES = "org.apache.hadoop.yarn.util.resource.DominantResourceCalculator"
_ROOT = "yarn.scheduler.capacity.root"
#: Share of a queue, in percent, that the application masters of waiting jobs may take: small clusters need much.
_MASTERS_SHARE = "0.5"


@dataclass(frozen=True)
class Tenant:
    """One tenant: its name is its queue's and its Linux user's."""

    name: str
    uid: int
    #: Share of the cluster that it is guaranteed, in percent.
    share: float
    #: Share that it may take while others leave it, in percent.
    most: float = 100.0
    #: Images beside the cluster's own that its containers may run.
    images: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name) or self.name in ("default", "root"):
            raise YarnHostError(f"{self.name!r} names no tenant: lower-case letters, digits and hyphens, and not root")
        if not LEAST_UID <= self.uid <= MOST_UID:
            raise YarnHostError(f"tenant {self.name} has the uid {self.uid}: give it one from {LEAST_UID} to 59999")
        if not 0 < self.share <= self.most <= 100:
            raise YarnHostError(f"tenant {self.name} has {self.share} to {self.most} percent: 0 < share ≤ most ≤ 100")


def checked(tenants: Sequence[Tenant]) -> Sequence[Tenant]:
    """The same tenants. Raises YarnHostError where two share a name or uid, or the shares do not make 100 percent."""
    if len({tenant.name for tenant in tenants}) != len(tenants) or len({t.uid for t in tenants}) != len(tenants):
        raise YarnHostError("two tenants have the same name or uid: each needs its own")
    total = sum(tenant.share for tenant in tenants)
    if not tenants or abs(total - 100) > 0.01:
        raise YarnHostError(f"the tenants' shares make {total:g} percent: make them 100")
    return tenants


def shared_evenly(names: Sequence[str]) -> Sequence[Tenant]:
    """Tenants of those names with equal shares; numbers of users in the order given."""
    share = round(100 / len(names), 3)
    shares = [share] * (len(names) - 1) + [round(100 - share * (len(names) - 1), 3)]
    return checked([Tenant(name, LEAST_UID + at, part) for at, (name, part) in enumerate(zip(names, shares))])


def capacity_scheduler(tenants: Sequence[Tenant]) -> str:
    """capacity-scheduler.xml: a queue for each tenant, which nobody else submits to or looks into.

    Jobs go to their user's queue whatever they ask for.
    """
    values: dict[str, str] = {
        "yarn.scheduler.capacity.maximum-am-resource-percent": _MASTERS_SHARE,
        "yarn.scheduler.capacity.resource-calculator": _BY_MEMORY_AND_CORES,
        "yarn.scheduler.capacity.queue-mappings": ",".join(f"u:{t.name}:root.{t.name}" for t in tenants),
        "yarn.scheduler.capacity.queue-mappings-override.enable": "true",
        f"{_ROOT}.queues": ",".join(tenant.name for tenant in tenants),
        # A right at the root holds for all queues below it: a space is nobody.
        f"{_ROOT}.acl_submit_applications": " ",
        f"{_ROOT}.acl_administer_queue": " sparkvault-admins",
    }
    for tenant in checked(tenants):
        queue = f"{_ROOT}.{tenant.name}"
        values[f"{queue}.capacity"] = f"{tenant.share:g}"
        values[f"{queue}.maximum-capacity"] = f"{tenant.most:g}"
        values[f"{queue}.acl_submit_applications"] = tenant.name
        values[f"{queue}.acl_administer_queue"] = " sparkvault-admins"
        values[f"{queue}.ordering-policy"] = "fair"
        values[f"{queue}.user-limit-factor"] = f"{max(1.0, tenant.most / tenant.share):g}"
    return configuration(values)


def passwd(tenants: Sequence[Tenant]) -> str:
    """What containers have as /etc/passwd: the tenants and root, none of the host's people and services."""
    lines = ["root:x:0:0:root:/root:/usr/sbin/nologin", "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin"]
    lines += [f"{t.name}:x:{t.uid}:{t.uid}:tenant:/nonexistent:/usr/sbin/nologin" for t in tenants]
    return "\n".join(lines) + "\n"


def group(tenants: Sequence[Tenant]) -> str:
    """What containers have as /etc/group."""
    lines = ["root:x:0:", "nogroup:x:65534:", *(f"{tenant.name}:x:{tenant.uid}:" for tenant in tenants)]
    return "\n".join(lines) + "\n"
