"""The rules that a configuration must keep beyond the form of each field. Each yields what breaks it."""

import ipaddress
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import combinations

from spark_constructs.config import Deployment, Disks, Download, Tenant, memory_mib
from spark_constructs.config_errors import Problem, closest, shown
from spark_constructs.fargate_sizes import FARGATE_MEMORY_MIB, is_offered, smallest_fitting
from spark_constructs.instance_types import INSTANCE_TYPES, InstanceType
from spark_constructs.spark_settings import refused_settings
from spark_constructs.yarn_settings import TAKEN_USERS, user_number

#: What the system, Docker and the agents of a host keep for themselves, in MiB.
HOST_RESERVE_MIB = 2048

#: An enclave needs this many times its image file's size as memory (nitro-cli, error E26).
EIF_MEMORY_FACTOR = 4

#: AWS allows 50 tags on a resource; CloudFormation and Auto Scaling add some of their own.
MAX_TAGS = 40

#: Longest name of a tenant that is a Linux user, too.
MAX_USER_NAME = 31

Rule = Callable[[Deployment], Iterator[Problem]]

_RULES: list[Rule] = []


def problems_of(deployment: Deployment) -> list[Problem]:
    """Everything in a well-formed configuration that breaks a rule."""
    return [problem for rule in _RULES for problem in rule(deployment)]


def _rule(function: Rule) -> Rule:
    _RULES.append(function)
    return function


def _groups(deployment: Deployment) -> Iterator[tuple[str, list[str]]]:
    """Each group of hosts that is to be deployed: the path of its instance types, and these."""
    if "swarm" in deployment.targets:
        yield "hosts.managers.instance_types", deployment.hosts.managers.instance_types
        yield "hosts.workers.instance_types", deployment.hosts.workers.instance_types
    if "yarn" in deployment.targets:
        yield "yarn.master.instance_types", deployment.yarn.master.instance_types
        yield "yarn.nodes.instance_types", deployment.yarn.nodes.instance_types


def _known(path: str, names: list[str]) -> Iterator[tuple[str, InstanceType]]:
    for index, name in enumerate(names):
        if name in INSTANCE_TYPES:
            yield f"{path}[{index}]", INSTANCE_TYPES[name]


@_rule
def instance_types_are_known(deployment: Deployment) -> Iterator[Problem]:
    """Only Nitro instance types whose size is on record."""
    for path, names in _groups(deployment):
        for index, name in enumerate(names):
            if name not in INSTANCE_TYPES:
                near = closest(name, list(INSTANCE_TYPES))
                remedy = f"did you mean {near}?" if near else "use a c5 or m5 type, for example m5.2xlarge"
                yield Problem(f"{path}[{index}]", shown(name), "not a supported Nitro instance type", remedy)
        for name, count in Counter(names).items():
            if count > 1:
                yield Problem(path, shown(name), "an instance type may stand in the list once", "remove the repetition")


@_rule
def instance_types_have_the_architecture(deployment: Deployment) -> Iterator[Problem]:
    """One architecture for images and hosts alike."""
    for path, names in _groups(deployment):
        for at, kind in _known(path, names):
            if kind.architecture != deployment.architecture:
                yield Problem(
                    at,
                    shown(kind.name),
                    f"it is {kind.architecture}, while architecture is {deployment.architecture}",
                    f"use a type of {deployment.architecture}, or set architecture to {kind.architecture}",
                )


@_rule
def enclaves_fit_their_hosts(deployment: Deployment) -> Iterator[Problem]:
    """Every worker type supports enclaves and has CPUs and memory for them and for Spark beside them."""
    enclaves = deployment.enclaves
    if not enclaves.enabled:
        return
    if "swarm" not in deployment.targets:
        yield Problem("enclaves.enabled", "true", "enclaves run on the hosts of target swarm", "add swarm to targets")
        return
    total_mib, total_cpus = enclaves.memory_mib * enclaves.count, enclaves.cpus * enclaves.count
    for at, kind in _known("hosts.workers.instance_types", deployment.hosts.workers.instance_types):
        if not kind.supports_enclaves:
            yield Problem(
                at,
                shown(kind.name),
                "this type cannot run Nitro Enclaves (bare metal and fewer than 4 vCPU, 2 on Graviton, cannot)",
                "use an xlarge or larger virtualized type, for example m5.2xlarge",
            )
            continue
        if enclaves.cpus % kind.threads_per_core:
            yield Problem(
                "enclaves.cpus",
                shown(enclaves.cpus),
                f"enclaves get whole cores, which are {kind.threads_per_core} vCPU on {kind.name}",
                f"use {enclaves.cpus + 1}",
            )
        free_cpus = kind.vcpu - kind.threads_per_core
        if total_cpus > free_cpus:
            yield Problem(
                "enclaves.cpus",
                shown(enclaves.cpus),
                f"{enclaves.count} times {enclaves.cpus} vCPU do not fit {kind.name}: of its {kind.vcpu} vCPU"
                f" the first core stays with the host",
                f"use at most {free_cpus // enclaves.count} per enclave, fewer enclaves, or a larger type",
            )
        free_mib = kind.memory_mib - HOST_RESERVE_MIB
        if total_mib > free_mib:
            yield Problem(
                "enclaves.memory_mib",
                shown(enclaves.memory_mib),
                f"{enclaves.count} times {enclaves.memory_mib} MiB do not fit {kind.name}: of its {kind.memory_mib}"
                f" MiB {HOST_RESERVE_MIB} stay with the host",
                f"use at most {free_mib // enclaves.count // 2 * 2} MiB per enclave, fewer enclaves, or a larger type",
            )


@_rule
def enclave_memory_holds_its_image(deployment: Deployment) -> Iterator[Problem]:
    """An enclave needs four times the memory of its image file."""
    enclaves = deployment.enclaves
    least = EIF_MEMORY_FACTOR * enclaves.eif_mib
    if enclaves.enabled and enclaves.memory_mib < least:
        yield Problem(
            "enclaves.memory_mib",
            shown(enclaves.memory_mib),
            f"an enclave needs {EIF_MEMORY_FACTOR} times its image file's size as memory, and eif_mib is"
            f" {enclaves.eif_mib}",
            f"use at least {least}",
        )


@_rule
def spark_workers_fit_their_hosts(deployment: Deployment) -> Iterator[Problem]:
    """What a Spark worker offers is what its host has left."""
    if "swarm" not in deployment.targets:
        return
    spark, enclaves = deployment.spark, deployment.enclaves
    taken_mib = HOST_RESERVE_MIB + (enclaves.memory_mib * enclaves.count if enclaves.enabled else 0)
    taken_cpus = enclaves.cpus * enclaves.count if enclaves.enabled else 0
    for _, kind in _known("hosts.workers.instance_types", deployment.hosts.workers.instance_types):
        left_mib, left_cpus = kind.memory_mib - taken_mib, kind.vcpu - taken_cpus
        if spark.worker_memory is not None and memory_mib(spark.worker_memory) > left_mib > 0:
            yield Problem(
                "spark.worker_memory",
                shown(spark.worker_memory),
                f"{kind.name} has {left_mib} MiB left for Spark",
                f"use at most {left_mib}m, or leave it out to take what there is",
            )
        if spark.worker_cores is not None and spark.worker_cores > left_cpus > 0:
            yield Problem(
                "spark.worker_cores",
                shown(spark.worker_cores),
                f"{kind.name} has {left_cpus} vCPU left for Spark",
                f"use at most {left_cpus}, or leave it out to take what there is",
            )
        offered_mib = memory_mib(spark.worker_memory) if spark.worker_memory else left_mib
        if memory_mib(spark.executor_memory) > offered_mib > 0:
            yield Problem(
                "spark.executor_memory",
                shown(spark.executor_memory),
                f"no executor of this size fits a worker on {kind.name}, which offers {offered_mib} MiB",
                f"use at most {offered_mib}m, or larger instances",
            )
        offered_cpus = spark.worker_cores or left_cpus
        if spark.executor_cores > offered_cpus > 0:
            yield Problem(
                "spark.executor_cores",
                shown(spark.executor_cores),
                f"no executor of this size fits a worker on {kind.name}, which offers {offered_cpus} cores",
                f"use at most {offered_cpus}, or larger instances",
            )


@_rule
def spark_settings_keep_protections(deployment: Deployment) -> Iterator[Problem]:
    """No setting may switch a protection off."""
    for refused in refused_settings(deployment.spark.settings):
        yield Problem(f"spark.settings[{refused.key!r}]", shown(refused.value), refused.rule, refused.remedy)


@_rule
def worker_counts_are_ordered(deployment: Deployment) -> Iterator[Problem]:
    """min ≤ count ≤ max."""
    workers = deployment.hosts.workers
    if workers.min > workers.max:
        yield Problem(
            "hosts.workers.min", shown(workers.min), f"it is more than max ({workers.max})", "raise max or lower min"
        )
    elif not workers.min <= workers.count <= workers.max:
        yield Problem(
            "hosts.workers.count",
            shown(workers.count),
            f"it is not between min ({workers.min}) and max ({workers.max})",
            f"use {min(max(workers.count, workers.min), workers.max)}, or widen min and max",
        )


@_rule
def three_managers_have_three_zones(deployment: Deployment) -> Iterator[Problem]:
    """A quorum outlives a zone only if each manager has one of its own."""
    network = deployment.network
    zones = len(network.availability_zones) or network.zones
    if "swarm" in deployment.targets and deployment.hosts.managers.count == 3 and zones < 3:
        yield Problem(
            "hosts.managers.count",
            "3",
            f"three managers need three zones, and there are {zones}",
            "use 3 zones or more",
        )


@_rule
def zones_are_enough_and_distinct(deployment: Deployment) -> Iterator[Problem]:
    """Named zones: two or more, each once, of the region."""
    zones = deployment.network.availability_zones
    if not zones:
        return
    path = "network.availability_zones"
    if len(set(zones)) < len(zones):
        yield Problem(path, shown(zones), "a zone may stand in the list once", "remove the repetition")
    elif len(zones) < 2:
        yield Problem(path, shown(zones), "hosts are spread over two zones or more", "name at least two zones")
    for index, zone in enumerate(zones):
        if deployment.region and not zone.startswith(deployment.region):
            yield Problem(
                f"{path}[{index}]",
                shown(zone),
                f"it is not in region {deployment.region}",
                f"name zones of {deployment.region}, for example {deployment.region}a",
            )


@_rule
def addresses_are_private_networks(deployment: Deployment) -> Iterator[Problem]:
    """VPC address ranges are real, private and large enough."""
    for field in ("cidr", "vpc_cidr"):
        text = getattr(deployment.network, field)
        if text is None:
            continue
        path = f"network.{field}"
        try:
            range_ = ipaddress.IPv4Network(text)
        except ValueError as error:
            yield Problem(path, shown(text), f"not an address range ({error})", "write it like 10.20.0.0/16")
            continue
        if not range_.is_private:
            yield Problem(path, shown(text), "not a private range (RFC 1918)", "use for example 10.20.0.0/16")
        if field == "cidr" and not 16 <= range_.prefixlen <= 22:
            yield Problem(path, shown(text), "our own VPC is /16 to /22", f"use {range_.network_address}/16")


@_rule
def existing_vpc_is_described(deployment: Deployment) -> Iterator[Problem]:
    """An existing VPC comes with its subnets, so that synthesis needs no look-up in the account."""
    network = deployment.network
    zones = len(network.availability_zones)
    if network.vpc_id is None:
        for field in ("vpc_cidr", "private_subnet_ids", "private_route_table_ids"):
            value = getattr(network, field)
            if value:
                yield Problem(
                    f"network.{field}",
                    shown(value),
                    "it describes an existing VPC, but vpc_id is not given",
                    "give vpc_id, or remove it",
                )
        if not network.interface_endpoints:
            yield Problem(
                "network.interface_endpoints",
                "false",
                "our own VPC has no internet: without endpoints its hosts reach no AWS service",
                "remove it, or give vpc_id",
            )
        return
    if network.vpc_cidr is None:
        yield Problem(
            "network.vpc_cidr", "null", "vpc_id is given, so its range must be too", "give the range of the VPC"
        )
    if network.nat_gateways:
        yield Problem(
            "network.nat_gateways", shown(network.nat_gateways), "we make none in an existing VPC", "remove it"
        )
    if not zones:
        yield Problem(
            "network.availability_zones", "[]", "vpc_id is given, so the subnets' zones must be too", "name the zones"
        )
    for field in ("private_subnet_ids", "private_route_table_ids"):
        found = len(getattr(network, field))
        if found != zones:
            yield Problem(
                f"network.{field}",
                shown(getattr(network, field)),
                f"one for each of the {zones} zones in availability_zones, not {found}",
                "list them in the order of the zones",
            )


@_rule
def nat_gateways_have_zones(deployment: Deployment) -> Iterator[Problem]:
    """A NAT gateway per zone at most."""
    network = deployment.network
    zones = len(network.availability_zones) or network.zones
    if network.vpc_id is None and network.nat_gateways > zones:
        yield Problem(
            "network.nat_gateways", shown(network.nat_gateways), f"there are {zones} zones", f"use at most {zones}"
        )


@_rule
def data_deletion_needs_both_switches(deployment: Deployment) -> Iterator[Problem]:
    """Data is deleted only if the cluster's name is given again."""
    storage = deployment.storage
    if storage.on_destroy == "delete" and storage.delete_data_of != deployment.cluster:
        yield Problem(
            "storage.delete_data_of",
            shown(storage.delete_data_of),
            "on_destroy is delete, which takes effect only with the cluster's name here",
            f"write {deployment.cluster}, or set on_destroy to retain",
        )
    if storage.on_destroy == "retain" and storage.delete_data_of is not None:
        yield Problem(
            "storage.delete_data_of",
            shown(storage.delete_data_of),
            "on_destroy is retain, so nothing is deleted",
            "remove it, or set on_destroy to delete",
        )


@_rule
def arns_are_of_this_account_and_region(deployment: Deployment) -> Iterator[Problem]:
    """A key encrypts in its own region only, and a boundary bounds roles of its own account."""
    keys = [("kms_key_arn", deployment.kms_key_arn), ("enclaves.key_arn", deployment.enclaves.key_arn)]
    keys += [(f"tenants[{index}].key", tenant.key) for index, tenant in enumerate(deployment.tenants)]
    keys += [(f"data[{index}].key", bucket.key) for index, bucket in enumerate(deployment.data)]
    for path, arn in keys:
        if arn and deployment.region and arn.split(":")[3] != deployment.region:
            yield Problem(path, shown(arn), f"the key is not in region {deployment.region}", "use a key of that region")
    boundary = deployment.permissions_boundary
    if boundary and deployment.account and boundary.split(":")[4] not in (deployment.account, "aws"):
        yield Problem(
            "permissions_boundary",
            shown(boundary),
            f"the policy is not of account {deployment.account}",
            "use a policy of that account",
        )


@_rule
def enclave_key_needs_enclaves(deployment: Deployment) -> Iterator[Problem]:
    """A key for enclaves means nothing without them."""
    if deployment.enclaves.key_arn and not deployment.enclaves.enabled:
        yield Problem(
            "enclaves.key_arn",
            shown(deployment.enclaves.key_arn),
            "enclaves.enabled is false, so nothing would use the key",
            "set enclaves.enabled to true, or remove it",
        )


@_rule
def enclave_key_stack_knows_where_it_is(deployment: Deployment) -> Iterator[Problem]:
    """Its policy names the hosts' role by account, so with an account of its own both must be known."""
    owner_key = deployment.enclaves.owner_key
    if owner_key is None:
        return
    if not deployment.enclaves.enabled:
        yield Problem(
            "enclaves.owner_key",
            "given",
            "enclaves.enabled is false, so nothing would use the key",
            "set enclaves.enabled to true, or remove it",
        )
    if owner_key.account and not (deployment.account and deployment.region):
        yield Problem(
            "enclaves.owner_key.account",
            shown(owner_key.account),
            "the key's policy names the hosts' role, so account and region of the cluster must be known",
            "set account and region",
        )


@_rule
def names_are_unique(deployment: Deployment) -> Iterator[Problem]:
    """Targets and tenants stand once."""
    for target, count in Counter(deployment.targets).items():
        if count > 1:
            yield Problem("targets", shown(target), "a target may stand in the list once", "remove the repetition")
    for name, count in Counter(tenant.name for tenant in deployment.tenants).items():
        if count > 1:
            yield Problem("tenants", shown(name), "two tenants have this name", "rename one")


@_rule
def tenants_share_one_cluster(deployment: Deployment) -> Iterator[Problem]:
    """Guaranteed shares add up to at most the whole, and each share is at most its maximum."""
    total = sum(tenant.queue_percent for tenant in deployment.tenants)
    if total > 100:
        yield Problem("tenants", shown(total), "the queue_percent of all tenants exceed 100", "lower some of them")
    for index, tenant in enumerate(deployment.tenants):
        yield from _share_is_within_maximum(index, tenant)


def _share_is_within_maximum(index: int, tenant: Tenant) -> Iterator[Problem]:
    if tenant.queue_percent > tenant.queue_max_percent:
        yield Problem(
            f"tenants[{index}].queue_percent",
            shown(tenant.queue_percent),
            f"it is more than queue_max_percent ({tenant.queue_max_percent})",
            "lower it, or raise queue_max_percent",
        )


@_rule
def data_buckets_name_known_tenants(deployment: Deployment) -> Iterator[Problem]:
    """A bucket is shared with tenants that exist, and no two entries overlap."""
    names = deployment.tenant_names()
    for index, bucket in enumerate(deployment.data):
        for place, tenant in enumerate(bucket.tenants):
            if tenant not in names:
                near = closest(tenant, names)
                yield Problem(
                    f"data[{index}].tenants[{place}]",
                    shown(tenant),
                    "no such tenant",
                    f"did you mean {near}?" if near else f"use one of {', '.join(names)}",
                )
    for (_, one), (second, other) in combinations(enumerate(deployment.data), 2):
        overlap = one.prefix.startswith(other.prefix) or other.prefix.startswith(one.prefix)
        if one.bucket == other.bucket and overlap:
            yield Problem(
                f"data[{second}].prefix",
                shown(other.prefix),
                f"it overlaps with prefix {one.prefix!r} of the same bucket, so what may be done there is not clear",
                "merge the two, or give prefixes that do not contain each other",
            )


@_rule
def glue_names_databases(deployment: Deployment) -> Iterator[Problem]:
    """The catalog is opened database by database."""
    glue = deployment.glue
    if glue.enabled and not glue.databases:
        yield Problem("glue.databases", "[]", "jobs may see only databases listed here", "list at least one")
    if not glue.enabled and (glue.databases or glue.account):
        yield Problem("glue.enabled", "false", "databases or account are given", "set it to true, or remove them")


@_rule
def fargate_sizes_are_offered(deployment: Deployment) -> Iterator[Problem]:
    """Fargate has certain pairs of CPU and memory only."""
    if "fargate" not in deployment.targets:
        return
    for name in ("driver", "executor"):
        task = getattr(deployment.fargate, name)
        if is_offered(task.vcpu, task.memory_mib):
            continue
        if task.vcpu not in FARGATE_MEMORY_MIB:
            offered = ", ".join(f"{vcpu:g}" for vcpu in FARGATE_MEMORY_MIB)
            yield Problem(
                f"fargate.{name}.vcpu", shown(task.vcpu), "Fargate has no such number of vCPU", f"use one of {offered}"
            )
            continue
        sizes = FARGATE_MEMORY_MIB[task.vcpu]
        fitting = smallest_fitting(task.vcpu, task.memory_mib)
        remedy = f"use {fitting.memory_mib} with vcpu {fitting.vcpu:g}" if fitting else f"use at most {sizes[-1]}"
        yield Problem(
            f"fargate.{name}.memory_mib",
            shown(task.memory_mib),
            f"with {task.vcpu:g} vCPU Fargate offers {sizes[0]} to {sizes[-1]} MiB in steps of {sizes[1] - sizes[0]}",
            remedy,
        )


@_rule
def fargate_capacity_and_budget_are_whole(deployment: Deployment) -> Iterator[Problem]:
    """Some capacity provider has weight, pending fits the executors, and an alarm has somebody to tell."""
    fargate = deployment.fargate
    if fargate.capacity.on_demand_weight == 0 and fargate.capacity.spot_weight == 0:
        yield Problem(
            "fargate.capacity",
            "weights 0 and 0",
            "one weight must be above 0",
            "set on_demand_weight or spot_weight to 1",
        )
    if (fargate.monthly_budget_usd is None) != (fargate.budget_email is None):
        missing = "budget_email" if fargate.budget_email is None else "monthly_budget_usd"
        yield Problem(
            f"fargate.{missing}", "null", "a budget alarm needs an amount and an address", "give both, or neither"
        )


@_rule
def kata_has_virtual_machines(deployment: Deployment) -> Iterator[Problem]:
    """Kata needs KVM: bare metal, or a type with nested virtualization, which the stack switches on."""
    yarn = deployment.yarn
    if "yarn" not in deployment.targets or yarn.runtime != "kata":
        return
    for at, kind in _known("yarn.nodes.instance_types", yarn.nodes.instance_types):
        if not kind.runs_virtual_machines:
            yield Problem(
                at,
                shown(kind.name),
                "Kata needs bare metal or an instance with nested virtualization",
                "use C8i, M8i, R8i or a metal type, or set yarn.runtime to runsc",
            )


@_rule
def yarn_hosts_are_of_one_kind(deployment: Deployment) -> Iterator[Problem]:
    """Nested virtualization is switched on for a whole group, and metal has no such switch."""
    yarn = deployment.yarn
    if "yarn" not in deployment.targets or yarn.runtime != "kata":
        return
    kinds = [kind for _, kind in _known("yarn.nodes.instance_types", yarn.nodes.instance_types)]
    if all(kind.runs_virtual_machines for kind in kinds) and len({kind.metal for kind in kinds}) > 1:
        yield Problem(
            "yarn.nodes.instance_types",
            shown(yarn.nodes.instance_types),
            "nested virtualization is switched on for the whole group, and metal has no such switch",
            "use metal types alone, or virtualised ones alone",
        )


@_rule
def yarn_archives_are_pinned(deployment: Deployment) -> Iterator[Problem]:
    """Hosts install nothing whose checksum nobody gave."""
    yarn = deployment.yarn
    if "yarn" not in deployment.targets:
        return
    needed: dict[str, Download] = {"hadoop": yarn.hadoop}
    if yarn.runtime == "kata":
        needed["kata"] = yarn.kata
    elif yarn.runtime == "runsc":
        needed["gvisor"] = yarn.gvisor
    for name, download in needed.items():
        if download.sha512 is None:
            yield Problem(
                f"yarn.{name}.sha512",
                "null",
                f"hosts install {name} {download.version} by its SHA-512 alone",
                "give the one that its maker publishes, checked against the maker's signature",
            )


@_rule
def yarn_tenants_are_users(deployment: Deployment) -> Iterator[Problem]:
    """Each tenant is a Linux user and a queue on YARN's hosts."""
    if "yarn" not in deployment.targets:
        return
    if not deployment.tenants:
        yield Problem("tenants", "[]", "each job on YARN runs as its tenant's user", "name at least one tenant")
    numbers: dict[int, str] = {}
    for index, tenant in enumerate(deployment.tenants):
        if tenant.name in TAKEN_USERS or len(tenant.name) > MAX_USER_NAME:
            yield Problem(
                f"tenants[{index}].name",
                shown(tenant.name),
                "on YARN's hosts it cannot be a Linux user of its own",
                f"use another name of at most {MAX_USER_NAME} characters",
            )
        other = numbers.setdefault(user_number(tenant.name), tenant.name)
        if other != tenant.name:
            yield Problem(
                f"tenants[{index}].name",
                shown(tenant.name),
                f"on YARN's hosts it would be the same Linux user as {other}",
                "rename one of them",
            )


@_rule
def yarn_containers_fit_their_nodes(deployment: Deployment) -> Iterator[Problem]:
    """The largest container fits every node."""
    yarn = deployment.yarn
    if "yarn" not in deployment.targets:
        return
    for _, kind in _known("yarn.nodes.instance_types", yarn.nodes.instance_types):
        left = kind.memory_mib - HOST_RESERVE_MIB
        if memory_mib(yarn.container_max_memory) > left:
            yield Problem(
                "yarn.container_max_memory",
                shown(yarn.container_max_memory),
                f"{kind.name} has {left} MiB for containers",
                f"use at most {left}m",
            )
        if yarn.container_max_cores > kind.vcpu:
            yield Problem(
                "yarn.container_max_cores",
                shown(yarn.container_max_cores),
                f"{kind.name} has {kind.vcpu} vCPU",
                f"use at most {kind.vcpu}",
            )


@_rule
def tags_are_allowed(deployment: Deployment) -> Iterator[Problem]:
    """AWS's limits on tags."""
    if len(deployment.tags) > MAX_TAGS:
        yield Problem("tags", shown(len(deployment.tags)), f"more than {MAX_TAGS} tags", "remove some")
    for key, value in deployment.tags.items():
        path = f"tags[{key!r}]"
        if key.lower().startswith("aws:"):
            yield Problem(path, shown(value), "keys that start with aws: belong to AWS", "rename it")
        if not 1 <= len(key) <= 128:
            yield Problem(path, shown(value), "a key has 1 to 128 characters", "shorten it")
        if len(value) > 256:
            yield Problem(path, shown(value), "a value has at most 256 characters", "shorten it")


@_rule
def disks_are_balanced(deployment: Deployment) -> Iterator[Problem]:
    """gp3 gives at most 500 IOPS a GiB and 0.25 MiB/s an IOPS (Amazon EBS user guide)."""
    groups: list[tuple[str, Disks]] = []
    if "swarm" in deployment.targets:
        groups += [
            ("hosts.managers.disks", deployment.hosts.managers.disks),
            ("hosts.workers.disks", deployment.hosts.workers.disks),
        ]
    if "yarn" in deployment.targets:
        groups += [
            ("yarn.master.disks", deployment.yarn.master.disks),
            ("yarn.nodes.disks", deployment.yarn.nodes.disks),
        ]
    for path, disks in groups:
        if disks.data_iops > 500 * disks.data_gib:
            yield Problem(
                f"{path}.data_iops",
                shown(disks.data_iops),
                f"gp3 gives at most 500 IOPS a GiB: {500 * disks.data_gib} here",
                "lower it, or raise data_gib",
            )
        if disks.data_throughput_mib > disks.data_iops / 4:
            yield Problem(
                f"{path}.data_throughput_mib",
                shown(disks.data_throughput_mib),
                f"gp3 gives at most 0.25 MiB/s an IOPS: {disks.data_iops // 4} here",
                "lower it, or raise data_iops",
            )
