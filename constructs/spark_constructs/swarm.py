"""The hosts of target swarm: managers and workers that boot from one bundle."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from aws_cdk import Stack
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_ecr as ecr
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_logs as logs
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_sns as sns
from aws_cdk import aws_ssm as ssm
from constructs import Construct, IDependable

from spark_constructs.enclave_image import EnclaveImage, EnclaveImageProps
from spark_constructs.enclave_key import decrypt_in_enclaves
from spark_constructs.host_group import HostDisks, HostGroup, HostGroupProps, SpotShare
from spark_constructs.host_group_guards import EnclaveReservation
from spark_constructs.host_notifications import HostNotifications, HostNotificationsProps
from spark_constructs.host_user_data import host_bundle
from spark_constructs.instance_types import Architecture
from spark_constructs.naming import parameter_name
from spark_constructs.permissions import Permission
from spark_constructs.storage import EVENT_LOGS_PREFIX
from spark_constructs.swarm_authority import SwarmAuthority, SwarmAuthorityProps
from spark_constructs.tenant_permissions import TenantCatalog
from spark_constructs.tenant_roles import TenantAccess, TenantRoles, TenantRolesProps


@dataclass(frozen=True)
class SwarmManagers:
    """The managers: they run the Spark master, never tasks."""

    count: int = 1
    """1, or 3 that form a quorum over three zones; default: 1."""
    instance_types: tuple[str, ...] = ("m5.large",)
    """Instance types in order of preference; default: m5.large."""
    disks: HostDisks = field(default_factory=lambda: HostDisks(data_gib=30))
    """Volumes; default: 30 GiB each."""


@dataclass(frozen=True)
class SwarmWorkers:
    """The workers: they run Spark workers, drivers and enclaves."""

    count: int = 2
    """How many at first; default: 2."""
    min_count: int = 0
    """The least that scaling may ask for; default: 0."""
    max_count: int = 10
    """The most that scaling may ask for; default: 10."""
    instance_types: tuple[str, ...] = ("m5.2xlarge", "c5.4xlarge")
    """Instance types in order of preference; default: m5.2xlarge, then c5.4xlarge."""
    disks: HostDisks = field(default_factory=HostDisks)
    """Volumes; default: see HostDisks."""
    spot: SpotShare | None = None
    """Spot capacity; default: none, all workers are On-Demand."""
    enclaves: EnclaveReservation | None = None
    """What each worker sets aside for Nitro Enclaves; default: nothing."""
    enclave_image: EnclaveImageProps | None = None
    """What those enclaves run; default: nothing, and no enclave is started."""
    enclave_key_arn: str | None = None
    """The data owner's key (``EnclaveKey``), which enclaves decrypt tables with; default: clients' keys only."""


@dataclass(frozen=True)
class SwarmSettings:
    """What runs on the swarm: a change reaches running hosts, whose agents read it (parameter ``swarm/desired``)."""

    attachable_overlay: bool = False
    """Whether containers outside services may attach to the overlay network; default: no."""
    worker_memory_mib: int | None = None
    """What a Spark worker offers, in MiB; default: what its host has left after enclaves and system."""
    worker_cores: int | None = None
    """Cores that a Spark worker offers; default: all of its host."""
    default_cores_per_application: int = 4
    """Cores of an application that says nothing else; default: 4."""
    executor_memory: str = "2g"
    """Memory of an executor where a job says nothing else; default: 2g."""
    executor_cores: int = 2
    """Cores of an executor where a job says nothing else; default: 2."""
    log_level: str = "WARN"
    """Level of Spark's own log; default: WARN."""
    spark_settings: Mapping[str, str] = field(default_factory=dict)
    """More ``spark.*`` settings for every job; default: none."""


@dataclass(frozen=True)
class SwarmProps:
    """What Swarm needs to know."""

    cluster: str
    """Name of the cluster."""
    vpc: ec2.IVpc
    """VPC of the hosts."""
    managers_security_group: ec2.ISecurityGroup
    """Security group of the managers."""
    workers_security_group: ec2.ISecurityGroup
    """Security group of the workers."""
    key: kms.IKey
    """Encrypts volumes, notifications and parameters; see HostGroupProps.key for what its policy must allow."""
    log_group: logs.ILogGroup
    """Where hosts log."""
    job_bucket: s3.IBucket
    """Bucket of jobs; one of another stack by its name (``from_bucket_name``), so that policies name it, too."""
    subnets: ec2.SubnetSelection | None = None
    """Where hosts run; default: the private subnets of the VPC."""
    managers: SwarmManagers = field(default_factory=SwarmManagers)
    """The managers; default: one m5.large."""
    workers: SwarmWorkers = field(default_factory=SwarmWorkers)
    """The workers; default: two."""
    architecture: Architecture = "x86_64"
    """CPU architecture of the hosts; default: x86_64."""
    drain_timeout_seconds: int = 600
    """How long a terminating host may take to drain; default: 600."""
    boot_timeout_seconds: int = 900
    """How long a new host may take to signal that it is up; default: 900."""
    image_repositories: tuple[ecr.IRepository, ...] = ()
    """Repositories that images are pulled from; default: none, and then nothing may be pulled."""
    settings: SwarmSettings = field(default_factory=SwarmSettings)
    """What runs on the swarm; default: see SwarmSettings."""
    tenants: tuple[TenantAccess, ...] = (TenantAccess("default"),)
    """Tenants, each with a role of its own; default: one, ``default``, without data."""
    catalog: TenantCatalog | None = None
    """Databases of the Glue Data Catalog; default: none."""
    permissions_boundary: iam.IManagedPolicy | None = None
    """A managed policy that bounds every role here; default: none."""


class Swarm(Construct):
    """Two groups of hosts that become a Docker Swarm, with one bundle and one topic of notifications between them.

    Managers are there before workers are started: there is something to join.

    Example::

        swarm = Swarm(self, "Swarm", SwarmProps(cluster="analytics", vpc=vpc, managers_security_group=groups.managers,
                      workers_security_group=groups.workers, key=key, log_group=log_group, job_bucket=bucket))

    Attributes:
        managers: the managers' group.
        workers: the workers' group.
        notifications: where both groups say that they start and end hosts.
        authority: the item that says which swarm is the cluster's.
        tenants: the tenants' roles.
    """

    managers: HostGroup
    workers: HostGroup
    notifications: sns.ITopic
    authority: SwarmAuthority
    tenants: TenantRoles

    def __init__(self, scope: Construct, construct_id: str, props: SwarmProps) -> None:
        """Raises UnsafeHostGroupError for hosts that must not be deployed."""
        super().__init__(scope, construct_id)
        self.notifications = HostNotifications(
            self, "Notifications", HostNotificationsProps(cluster=props.cluster, key=props.key)
        ).topic
        bundle = host_bundle(self, "Bundle")
        managers, workers = props.managers, props.workers
        self.managers = HostGroup(
            self,
            "Managers",
            HostGroupProps(
                cluster=props.cluster,
                kind="manager",
                vpc=props.vpc,
                subnets=props.subnets,
                security_group=props.managers_security_group,
                key=props.key,
                log_group=props.log_group,
                job_bucket=props.job_bucket,
                instance_types=managers.instance_types,
                architecture=props.architecture,
                count=managers.count,
                disks=managers.disks,
                drain_timeout_seconds=props.drain_timeout_seconds,
                boot_timeout_seconds=props.boot_timeout_seconds,
                bundle=bundle,
                notifications=self.notifications,
                image_repositories=props.image_repositories,
                permissions_boundary=props.permissions_boundary,
            ),
        )
        self.workers = HostGroup(
            self,
            "Workers",
            HostGroupProps(
                cluster=props.cluster,
                kind="worker",
                vpc=props.vpc,
                subnets=props.subnets,
                security_group=props.workers_security_group,
                key=props.key,
                log_group=props.log_group,
                job_bucket=props.job_bucket,
                instance_types=workers.instance_types,
                architecture=props.architecture,
                count=workers.count,
                min_count=workers.min_count,
                max_count=workers.max_count,
                disks=workers.disks,
                spot=workers.spot,
                enclaves=workers.enclaves,
                enclave_image=EnclaveImage(self, "EnclaveImage", workers.enclave_image)
                if workers.enclave_image
                else None,
                drain_timeout_seconds=props.drain_timeout_seconds,
                boot_timeout_seconds=props.boot_timeout_seconds,
                bundle=bundle,
                notifications=self.notifications,
                image_repositories=props.image_repositories,
                permissions_boundary=props.permissions_boundary,
            ),
        )
        # Neither group waits for the other: workers fetch their images while the managers form the swarm.
        self._props = props
        self._share_authority()
        self._give_tenants_roles()
        self._write_settings()

    def _share_authority(self) -> None:
        props = self._props
        self.authority = SwarmAuthority(
            self,
            "Authority",
            SwarmAuthorityProps(cluster=props.cluster, key=props.key),
        )
        self.managers.role.add(*self.authority.read(), *self.authority.write())
        self.workers.role.add(*self.authority.read())
        if props.workers.enclave_key_arn:
            self.workers.role.add(decrypt_in_enclaves(props.workers.enclave_key_arn))
        # Hosts ask for it as soon as they boot, and until they are gone.
        self._before_any_host(self.authority)

    def _give_tenants_roles(self) -> None:
        props = self._props
        self.tenants = TenantRoles(
            self,
            "Tenants",
            TenantRolesProps(
                cluster=props.cluster,
                tenants=props.tenants,
                workers_role=self.workers.role.role,
                job_bucket=props.job_bucket,
                key=props.key,
                catalog=props.catalog,
                permissions_boundary=props.permissions_boundary,
            ),
        )
        self.workers.role.add(self.tenants.assume())
        self.managers.role.add(
            Permission(
                "EventLogs",
                ("s3:PutObject",),
                (props.job_bucket.arn_for_objects(f"{EVENT_LOGS_PREFIX}*"),),
                wildcard="Where managers put event logs of ended jobs for the history server, by ids of jobs.",
            )
        )

    def _write_settings(self) -> None:
        props, settings = self._props, self._props.settings
        enclaves = props.workers.enclaves
        desired = {
            "managers": props.managers.count,
            "key": props.key.key_arn,
            "tenants": [tenant.name for tenant in props.tenants],
            "attachable": settings.attachable_overlay,
            "worker_memory_mib": settings.worker_memory_mib,
            "worker_cores": settings.worker_cores,
            "enclave_memory_mib": enclaves.total_memory_mib if enclaves else 0,
            "default_cores_per_application": settings.default_cores_per_application,
            "executor_memory": settings.executor_memory,
            "executor_cores": settings.executor_cores,
            "log_level": settings.log_level,
            "spark_settings": dict(settings.spark_settings),
        }
        for name, parts, value, description in (
            ("Desired", ("swarm", "desired"), desired, "What runs on the swarm; managers' agents make it so"),
            (
                "TenantRolesParameter",
                ("swarm", "worker", "tenants"),
                dict(self.tenants.arns),
                "Role of each tenant, for the credentials brokers",
            ),
        ):
            parameter = ssm.StringParameter(
                self,
                name,
                parameter_name=parameter_name(props.cluster, *parts),
                description=description,
                string_value=Stack.of(self).to_json_string(value),
                # The standard tier ends at 4096 characters, which settings of many tenants may pass.
                tier=ssm.ParameterTier.INTELLIGENT_TIERING,
            )
            self._before_any_host(parameter)

    def _before_any_host(self, needed: IDependable) -> None:
        for hosts in (self.managers, self.workers):
            hosts.group.node.add_dependency(needed)
