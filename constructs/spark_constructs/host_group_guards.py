"""Refuses groups of hosts that would be unsafe or could not start, before anything is synthesised."""

from collections.abc import Sequence
from dataclasses import dataclass

from spark_constructs.instance_types import INSTANCE_TYPES, MAX_ENCLAVES_PER_HOST, Architecture, InstanceType
from spark_constructs.refusal import RefusedError

#: What the system, Docker and the agents of a host keep for themselves beside enclaves, in MiB.
HOST_MEMORY_MIB = 2048

#: CPU 0 and its sibling stay with the host (Nitro Enclaves user guide).
HOST_CORES = 1

#: Zones that three managers need, so that two of them outlive any one zone.
QUORUM = 3


#: The longest that an update waits for a signal, and the least and most that a lifecycle hook waits, in seconds.
MAX_BOOT_SECONDS = 3600
DRAIN_SECONDS = (30, 7200)


class UnsafeHostGroupError(RefusedError):
    """A group of hosts that must not be deployed: what is wrong and what to give instead."""


@dataclass(frozen=True)
class EnclaveReservation:
    """What a host sets aside for Nitro Enclaves, per enclave: vCPU and MiB."""

    count: int
    cpus: int
    memory_mib: int

    @property
    def total_cpus(self) -> int:
        """vCPU of all enclaves of the host."""
        return self.count * self.cpus

    @property
    def total_memory_mib(self) -> int:
        """MiB of all enclaves of the host."""
        return self.count * self.memory_mib


def known_types(names: Sequence[str], architecture: Architecture) -> list[InstanceType]:
    """The instance types of a group, in order of preference. Raises UnsafeHostGroupError."""
    if not names:
        raise UnsafeHostGroupError("a group of hosts needs at least one instance type")
    for name in names:
        if name not in INSTANCE_TYPES:
            raise UnsafeHostGroupError(f"instance type {name} is not on record: use a Nitro type such as m5.xlarge")
        if INSTANCE_TYPES[name].architecture != architecture:
            raise UnsafeHostGroupError(
                f"instance type {name} is {INSTANCE_TYPES[name].architecture}, and the group is {architecture}: "
                "all hosts of a group start from one machine image"
            )
        if names.count(name) > 1:
            raise UnsafeHostGroupError(f"instance type {name} is given twice: name each once, in order of preference")
    return [INSTANCE_TYPES[name] for name in names]


def refuse_unfit_for_enclaves(types: Sequence[InstanceType], enclaves: EnclaveReservation) -> None:
    """Raises UnsafeHostGroupError where a type cannot be the parent of these enclaves."""
    if not 1 <= enclaves.count <= MAX_ENCLAVES_PER_HOST:
        raise UnsafeHostGroupError(f"{enclaves.count} enclaves per host: Nitro runs 1 to {MAX_ENCLAVES_PER_HOST}")
    for each in types:
        if not each.supports_enclaves:
            why = "bare metal has no hypervisor to make them" if each.metal else "it has too few vCPU or no support"
            raise UnsafeHostGroupError(f"{each.name} cannot run Nitro Enclaves ({why}): use a larger virtual type")
        if enclaves.cpus % each.threads_per_core:
            raise UnsafeHostGroupError(
                f"an enclave gets whole cores, which are {each.threads_per_core} vCPU on {each.name}: "
                f"use {enclaves.cpus + 1} instead of {enclaves.cpus}"
            )
        free_cpus = each.vcpu - HOST_CORES * each.threads_per_core
        if enclaves.total_cpus > free_cpus:
            raise UnsafeHostGroupError(
                f"enclaves of {enclaves.total_cpus} vCPU do not fit {each.name}, which has {free_cpus} to give"
            )
        free_mib = each.memory_mib - HOST_MEMORY_MIB
        if enclaves.total_memory_mib > free_mib:
            raise UnsafeHostGroupError(
                f"enclaves of {enclaves.total_memory_mib} MiB do not fit {each.name}, which has {free_mib} to give"
            )


def refuse_unsafe_managers(count: int, zones: int, *, spot: bool, enclaves: bool) -> None:
    """Raises UnsafeHostGroupError for managers that could not keep a quorum, or that run what managers must not."""
    if count not in (1, QUORUM):
        raise UnsafeHostGroupError(f"{count} managers: use 1, or {QUORUM} that keep a quorum when one is lost")
    if count == QUORUM and zones < QUORUM:
        raise UnsafeHostGroupError(
            f"{QUORUM} managers over {zones} zones lose their quorum with one zone: give subnets in {QUORUM} zones"
        )
    if spot:
        raise UnsafeHostGroupError("managers on Spot would take the swarm with them: use Spot for workers only")
    if enclaves:
        raise UnsafeHostGroupError("managers run no jobs and no enclaves: reserve enclaves on workers")


def refuse_impossible_times(boot_timeout_seconds: int, drain_timeout_seconds: int) -> None:
    """Raises UnsafeHostGroupError for timeouts that CloudFormation or Auto Scaling would refuse.

    Sources: CloudFormation user guide, "UpdatePolicy attribute" (PauseTime up to one hour); EC2 Auto Scaling API
    reference, PutLifecycleHook (HeartbeatTimeout 30 to 7200 seconds).
    """
    if not 1 <= boot_timeout_seconds <= MAX_BOOT_SECONDS:
        raise UnsafeHostGroupError(
            f"{boot_timeout_seconds} seconds to boot: CloudFormation waits 1 to {MAX_BOOT_SECONDS} in an update"
        )
    least, most = DRAIN_SECONDS
    if not least <= drain_timeout_seconds <= most:
        raise UnsafeHostGroupError(f"{drain_timeout_seconds} seconds to drain: a hook waits {least} to {most}")


def refuse_disordered_counts(least: int, count: int, most: int) -> None:
    """Raises UnsafeHostGroupError unless least ≤ count ≤ most."""
    if not 0 <= least <= count <= most:
        raise UnsafeHostGroupError(f"{count} hosts are not between the least, {least}, and the most, {most}")
