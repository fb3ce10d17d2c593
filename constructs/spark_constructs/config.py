"""The deployment configuration: one model, read from the CDK context or a file, for every target.

This module does not import the CDK: the command line checks a configuration in milliseconds.
`config_source` reads it, `config_rules` holds the rules that span more than one field.
"""

from typing import Annotated, Final, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from spark_constructs.fargate_sizes import EPHEMERAL_STORAGE_GIB, MAX_STOP_TIMEOUT_SECONDS
from spark_constructs.instance_types import MAX_ENCLAVES_PER_HOST, Architecture

#: The Spark that the images, the local cluster and the tests run.
SPARK_VERSION: Final = "4.2.0"

Target = Literal["swarm", "fargate", "yarn"]

ClusterName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{1,22}[a-z0-9]$")]
TenantName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,30}[a-z0-9]$")]
AccountId = Annotated[str, StringConstraints(pattern=r"^[0-9]{12}$")]
Region = Annotated[str, StringConstraints(pattern=r"^[a-z]{2}(-gov|-iso[a-z]?)?-[a-z]+-[0-9]$")]
KmsKeyArn = Annotated[str, StringConstraints(pattern=r"^arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:key/[0-9a-zA-Z-]+$")]
PolicyArn = Annotated[str, StringConstraints(pattern=r"^arn:aws[a-z-]*:iam::([0-9]{12}|aws):policy/[\w+=,.@/-]+$")]
RoleArn = Annotated[str, StringConstraints(pattern=r"^arn:aws[a-z-]*:iam::[0-9]{12}:role/[\w+=,.@/-]+$")]
VpcId = Annotated[str, StringConstraints(pattern=r"^vpc-[0-9a-f]{8,17}$")]
SubnetId = Annotated[str, StringConstraints(pattern=r"^subnet-[0-9a-f]{8,17}$")]
RouteTableId = Annotated[str, StringConstraints(pattern=r"^rtb-[0-9a-f]{8,17}$")]
PrefixListId = Annotated[str, StringConstraints(pattern=r"^pl-[0-9a-f]{8,17}$")]
AvailabilityZone = Annotated[str, StringConstraints(pattern=r"^[a-z]{2}(-[a-z]+)+-[0-9][a-z]$")]
BucketName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")]
ObjectPrefix = Annotated[str, StringConstraints(pattern=r"^([A-Za-z0-9!_.*'()=-]+/)*$")]
Cidr = Annotated[str, StringConstraints(pattern=r"^\d{1,3}(\.\d{1,3}){3}/\d{1,2}$")]
Memory = Annotated[str, StringConstraints(pattern=r"^[1-9][0-9]*[mMgG]$")]
Version = Annotated[str, StringConstraints(pattern=r"^\d+(\.\d+){1,2}$")]
Sha256Digest = Annotated[str, StringConstraints(pattern=r"^sha256:[0-9a-f]{64}$")]
ImageByDigest = Annotated[str, StringConstraints(pattern=r"^[\w.:/-]+@sha256:[0-9a-f]{64}$")]

#: How many days CloudWatch Logs can keep a log group.
RetentionDays = Literal[
    1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653
]


def _setting_text(value: object) -> object:
    """A setting's value as Spark's properties write it; anything but a scalar is left to be refused."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int | float) else value


SettingValue = Annotated[str, BeforeValidator(_setting_text)]


def memory_mib(text: str) -> int:
    """MiB of a memory size as Spark writes it: ``512m``, ``6g``."""
    return int(text[:-1]) * (1024 if text[-1] in "gG" else 1)


class Section(BaseModel):
    """A part of the configuration: unknown keys are refused, and nothing changes it once it is read.

    Where a section has other defaults than elsewhere, it has a class of its own: who sets one of its keys keeps the
    defaults of the others.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Network(Section):
    """The VPC: one of our own with private subnets only, or one that is there already."""

    cidr: Cidr = "10.20.0.0/16"
    """Address range of our own VPC, /16 to /22."""
    zones: int = Field(default=3, ge=2, le=6)
    """How many availability zones our own VPC spans."""
    availability_zones: list[AvailabilityZone] = []
    """Zones by name, for our own VPC or of the given subnets; by default the region's first ones."""
    nat_gateways: int = Field(default=0, ge=0, le=6)
    """NAT gateways for jobs that need the internet; with 0 there is neither a public subnet nor a gateway."""
    gateway_prefix_lists: list[PrefixListId] = []
    """Prefix lists of S3 and DynamoDB in the region, which narrow the hosts' egress; by default port 443 to any."""
    flow_logs: bool = True
    """Whether the VPC's traffic is logged."""
    interface_endpoints: bool = True
    """Whether the interface endpoints are made; off only where the given VPC has them already."""
    vpc_id: VpcId | None = None
    """An existing VPC to use instead of our own; then vpc_cidr, private_subnet_ids and so on describe it."""
    vpc_cidr: Cidr | None = None
    """Address range of the existing VPC."""
    private_subnet_ids: list[SubnetId] = []
    """Private subnets of the existing VPC, one per entry of availability_zones, in the same order."""
    private_route_table_ids: list[RouteTableId] = []
    """Route tables of those subnets, in the same order, for the gateway endpoints."""


class Spot(Section):
    """Spot capacity of a group."""

    enabled: bool = False
    """Whether workers may run on Spot capacity."""
    on_demand_base: int = Field(default=0, ge=0, le=100)
    """Workers that always run On-Demand."""
    on_demand_percent_above_base: int = Field(default=0, ge=0, le=100)
    """Share in percent of On-Demand above the base."""


class Disks(Section):
    """Encrypted gp3 volumes of a host, in GiB."""

    root_gib: int = Field(default=30, ge=20, le=1024)
    """Root volume."""
    data_gib: int = Field(default=100, ge=20, le=16384)
    """Volume for images, shuffle and spill."""
    data_iops: int = Field(default=3000, ge=3000, le=16000)
    """Provisioned IOPS of the data volume."""
    data_throughput_mib: int = Field(default=125, ge=125, le=1000)
    """Provisioned throughput of the data volume in MiB/s."""


class ManagerDisks(Disks):
    """Encrypted gp3 volumes of a manager, in GiB."""

    data_gib: int = Field(default=30, ge=20, le=16384)
    """Volume for images and the Spark master's state."""


class Managers(Section):
    """Swarm managers: they run the Spark master, never tasks."""

    count: Literal[1, 3] = 1
    """One manager, or three across zones that form a quorum."""
    instance_types: list[str] = Field(default=["m5.large"], min_length=1, max_length=10)
    """Instance types in order of preference."""
    disks: ManagerDisks = ManagerDisks()
    """Volumes of a manager."""


class Workers(Section):
    """Swarm workers: they run Spark workers, drivers and enclaves."""

    count: int = Field(default=2, ge=0, le=200)
    """Workers at first."""
    min: int = Field(default=0, ge=0, le=200)
    """The least that `sparkvault scale` may ask for."""
    max: int = Field(default=10, ge=1, le=200)
    """The most that `sparkvault scale` may ask for."""
    instance_types: list[str] = Field(default=["m5.2xlarge", "c5.4xlarge"], min_length=1, max_length=10)
    """Instance types in order of preference."""
    spot: Spot = Spot()
    """Spot capacity."""
    disks: Disks = Disks()
    """Volumes of a worker."""


class Hosts(Section):
    """The Nitro EC2 hosts of target `swarm`."""

    managers: Managers = Managers()
    """The managers."""
    workers: Workers = Workers()
    """The workers."""
    attachable_overlay: bool = False
    """Whether containers outside services may attach to the overlay network; decided when the swarm is formed."""
    drain_timeout_seconds: int = Field(default=600, ge=60, le=7200)
    """How long a terminating host may take to decommission its executors and leave; on target `yarn`, too."""
    boot_timeout_seconds: int = Field(default=900, ge=300, le=3600)
    """How long a new host may take to signal that it is up."""


class OwnerKey(Section):
    """The data owner's key, as a stack of its own: only enclaves that run a listed image decrypt with it."""

    owners: list[RoleArn] = Field(min_length=1, max_length=50)
    """Roles that encrypt tables under the key."""
    administrators: list[RoleArn] = []
    """Roles that administer the key, its policy included; by default the account. They are trusted."""
    account: AccountId | None = None
    """The data owner's account, if it is not the cluster's."""


class Enclaves(Section):
    """Nitro Enclaves on every worker."""

    enabled: bool = False
    """Whether workers reserve memory and CPUs for enclaves."""
    count: int = Field(default=1, ge=1, le=MAX_ENCLAVES_PER_HOST)
    """Enclaves per worker."""
    cpus: int = Field(default=2, ge=1, le=190)
    """vCPU of one enclave; whole cores, so even where vCPU are hyper-threads."""
    memory_mib: int = Field(default=4096, ge=64, multiple_of=2)
    """Memory of one enclave, in steps of 2 MiB."""
    eif_mib: int = Field(default=300, ge=1)
    """Size of the enclave image file: an enclave needs four times as much memory."""
    image: str | None = None
    """The image file that workers run, one of `measurements.json`; without it they only set memory and CPUs aside."""
    key_arn: KmsKeyArn | None = None
    """The data owner's key, which workers' enclaves may then use; without it only clients' own keys are used."""
    owner_key: OwnerKey | None = None
    """Makes the stack `enclave-key`, whose output is that key's ARN: deploy it first."""


class Spark(Section):
    """Spark: its version, its sizes, its settings."""

    version: Literal["4.2.0"] = SPARK_VERSION
    """Version of Spark in the images."""
    worker_memory: Memory | None = None
    """Memory a worker of `swarm` offers (`6g`); by default what its host has left after enclaves and system."""
    worker_cores: int | None = Field(default=None, ge=1, le=256)
    """Cores a worker of `swarm` offers; by default what its host has left."""
    executor_memory: Memory = "2g"
    """Memory of an executor of `swarm` where a job says nothing else."""
    executor_cores: int = Field(default=2, ge=1, le=64)
    """Cores of an executor of `swarm` where a job says nothing else."""
    default_cores_per_application: int = Field(default=4, ge=1, le=4096)
    """Cores an application of `swarm` gets where it says nothing else, so that two jobs can share the cluster."""
    settings: dict[str, SettingValue] = {}
    """More `spark.*` settings for every job of `swarm` and `fargate`; what would switch a protection off is refused."""


class Images(Section):
    """Where the container images come from."""

    source: Literal["build", "none"] = "build"
    """`build`: built from assets/spark-images and pushed on deploy; `none`: stacks without images."""
    base_image: ImageByDigest | None = None
    """Another base image, by digest, in place of Debian 12's slim one, which is taken by tag."""


class Logging(Section):
    """Logs, of Spark and of AWS."""

    retention_days: RetentionDays = 90
    """How long logs are kept."""
    level: Literal["ERROR", "WARN", "INFO", "DEBUG"] = "WARN"
    """Level of Spark's own log on `swarm`."""


class Storage(Section):
    """Data of jobs, and what happens to it when the stacks are destroyed."""

    job_retention_days: int = Field(default=30, ge=1, le=3650)
    """How long specifications, files and event logs of finished jobs are kept."""
    on_destroy: Literal["retain", "delete"] = "retain"
    """First switch: whether `destroy` may delete buckets, keys and logs."""
    delete_data_of: str | None = None
    """Second switch: the cluster's name again, without which nothing is deleted."""

    def may_delete(self, cluster: str) -> bool:
        """Whether both switches are set for this cluster."""
        return self.on_destroy == "delete" and self.delete_data_of == cluster


class DataBucket(Section):
    """A bucket with data that jobs may use."""

    bucket: BucketName
    """Name of the bucket."""
    prefix: ObjectPrefix = ""
    """Only keys below it (`sales/2026/`); empty for the whole bucket."""
    mode: Literal["read", "read-write"] = "read"
    """What jobs may do."""
    key: KmsKeyArn | None = None
    """The KMS key its objects are encrypted under, if it is not ours."""
    tenants: list[TenantName] = []
    """The tenants that may use it; empty for all."""


class Glue(Section):
    """The AWS Glue Data Catalog."""

    enabled: bool = False
    """IAM permissions for the Glue Data Catalog, for jobs that bring its client: the images have none."""
    databases: list[Annotated[str, StringConstraints(pattern=r"^[a-z0-9_]{1,255}$")]] = []
    """The only databases that jobs may see."""
    account: AccountId | None = None
    """The account that owns the catalog, if it is another."""


class Tenant(Section):
    """A tenant: the unit of isolation. Jobs of one tenant trust each other."""

    name: TenantName
    """Its name: also that of its bucket prefix, queue and log group."""
    key: KmsKeyArn | None = None
    """A further key, whose use its jobs' role gets (`swarm`, `yarn`), with the encryption context `tenant`."""
    images: list[ImageByDigest] = []
    """Images its YARN containers may use beside ours."""
    queue_percent: int = Field(default=0, ge=0, le=100)
    """Guaranteed share of the YARN cluster; 0: an equal part of what the others leave."""
    queue_max_percent: int = Field(default=100, ge=1, le=100)
    """The most it may take when others are idle."""


class FargateTask(Section):
    """Size of a Fargate task."""

    vcpu: float = Field(default=2, gt=0, le=16)
    """vCPU."""
    memory_mib: int = Field(default=8192, ge=512)
    """Memory; Fargate offers certain sizes for each number of vCPU."""
    ephemeral_storage_gib: int = Field(default=50, ge=EPHEMERAL_STORAGE_GIB[0], le=EPHEMERAL_STORAGE_GIB[1])
    """Disk for shuffle and spill."""


class FargateDriver(FargateTask):
    """Size of a driver's task."""

    vcpu: float = Field(default=1, gt=0, le=16)
    """vCPU."""
    memory_mib: int = Field(default=4096, ge=512)
    """Memory; Fargate offers certain sizes for each number of vCPU."""
    ephemeral_storage_gib: int = Field(default=21, ge=EPHEMERAL_STORAGE_GIB[0], le=EPHEMERAL_STORAGE_GIB[1])
    """Disk."""


class FargateCapacity(Section):
    """How tasks are spread over On-Demand and Spot."""

    on_demand_base: int = Field(default=0, ge=0, le=100_000)
    """Tasks that always run On-Demand."""
    on_demand_weight: int = Field(default=1, ge=0, le=1000)
    """Share of On-Demand above the base."""
    spot_weight: int = Field(default=0, ge=0, le=1000)
    """Share of Spot above the base."""


class Fargate(Section):
    """Target `fargate`: one task per executor."""

    driver: FargateDriver = FargateDriver()
    """Size of a driver task."""
    executor: FargateTask = FargateTask()
    """Size of an executor task."""
    capacity: FargateCapacity = FargateCapacity()
    """On-Demand and Spot for executors; drivers always run On-Demand."""
    max_executors: int = Field(default=50, ge=1, le=5000)
    """The most executors of one job."""
    platform_version: Literal["LATEST", "1.4.0"] = "LATEST"
    """Fargate platform version."""
    report_interval_seconds: int = Field(default=5, ge=1, le=300)
    """How often the state of the tasks is read."""
    allocate_interval_ms: int = Field(default=500, ge=50, le=60_000)
    """How often, in milliseconds, missing executors are started."""
    max_pending: int = Field(default=2000, ge=1, le=5000)
    """The most tasks that may be starting at once; a limit below what Fargate launches slows large jobs."""
    stop_timeout_seconds: int = Field(default=120, ge=10, le=MAX_STOP_TIMEOUT_SECONDS)
    """Time between SIGTERM and SIGKILL, for decommissioning."""
    shell_idle_timeout_minutes: int = Field(default=30, ge=1, le=480)
    """When an unused shell is ended."""
    shuffle_retention_days: int = Field(default=1, ge=1, le=30)
    """When shuffle files left in the bucket are removed by lifecycle rule."""
    monthly_budget_usd: int | None = Field(default=None, ge=1)
    """Alarm when the month's cost reaches it."""
    budget_email: Annotated[str, StringConstraints(pattern=r"^[^@\s]+@[^@\s]+\.[^@\s]+$")] | None = None
    """Who is told."""


class YarnGroup(Section):
    """A group of YARN hosts."""

    count: int = Field(default=2, ge=1, le=200)
    """How many."""
    instance_types: list[str] = Field(default=["m8i.2xlarge"], min_length=1, max_length=10)
    """Instance types in order of preference."""
    disks: Disks = Disks()
    """Volumes."""


class YarnMaster(YarnGroup):
    """The host of YARN's master."""

    count: Literal[1] = 1
    """There is one."""
    instance_types: list[str] = Field(default=["m5.xlarge"], min_length=1, max_length=10)
    """Instance types in order of preference."""


class Kerberos(Section):
    """Kerberos of the YARN cluster."""

    realm: Annotated[str, StringConstraints(pattern=r"^[A-Z][A-Z0-9.-]*[A-Z0-9]$")] = "SPARKVAULT.INTERNAL"
    """Name of the realm."""
    ticket_lifetime_hours: int = Field(default=10, ge=1, le=168)
    """How long a ticket is valid."""


class Download(Section):
    """A third-party archive that hosts install from the project's own bucket."""

    version: Version
    """Its version."""
    mirror: Annotated[str, StringConstraints(pattern=r"^https://[^\s]+$")] | None = None
    """Where it is fetched from at build time, by https."""
    sha512: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{128}$")] | None = None
    """Its checksum, as its maker publishes it; without it the download is refused."""


class Hadoop(Download):
    """Hadoop's distribution, which hosts install from the project's own bucket."""

    version: Version = "3.5.0"
    """Its version."""


class Kata(Download):
    """Kata Containers, which hosts install from the project's own bucket."""

    version: Version = "3.29.0"
    """Its version."""


class Gvisor(Download):
    """gVisor, which hosts install from the project's own bucket."""

    version: Version = "20240729.0"
    """Its version."""


class Yarn(Section):
    """Target `yarn`: every container under one enforced OCI runtime."""

    runtime: Literal["kata", "runsc", "runc"] = "kata"
    """`kata`: a virtual machine per container (C8i, M8i, R8i, metal); `runsc`: gVisor; `runc`: plain, the baseline."""
    master: YarnMaster = YarnMaster()
    """ResourceManager, NameNode and Kerberos host."""
    nodes: YarnGroup = YarnGroup()
    """NodeManagers."""
    kerberos: Kerberos = Kerberos()
    """The realm."""
    hadoop: Hadoop = Hadoop()
    """Hadoop's distribution."""
    kata: Kata = Kata()
    """Kata Containers, needed for the runtime `kata`."""
    gvisor: Gvisor = Gvisor()
    """gVisor's program `runsc`, needed for the runtime `runsc`."""
    preemption: bool = True
    """Whether a tenant's guaranteed share is taken back from others."""
    container_max_memory: Memory = "16g"
    """The largest container."""
    container_max_cores: int = Field(default=8, ge=1, le=128)
    """The most cores of a container."""


class Deployment(Section):
    """Everything that one deployment needs to know."""

    cluster: ClusterName = "sparkvault"
    """Name of the cluster: part of every resource's name."""
    account: AccountId | None = None
    """AWS account, quoted; by default that of the credentials."""
    region: Region | None = None
    """AWS region; by default that of the credentials."""
    targets: list[Target] = Field(default=["swarm"], min_length=1)
    """What is deployed."""
    architecture: Architecture = "x86_64"
    """CPU architecture of hosts, tasks and images."""
    network: Network = Network()
    """The VPC."""
    storage: Storage = Storage()
    """Data at rest."""
    kms_key_arn: KmsKeyArn | None = None
    """An existing key in place of our own for everything at rest."""
    permissions_boundary: PolicyArn | None = None
    """A managed policy that bounds every role we make."""
    hosts: Hosts = Hosts()
    """The hosts of target `swarm`."""
    enclaves: Enclaves = Enclaves()
    """Nitro Enclaves on the workers."""
    spark: Spark = Spark()
    """Spark itself."""
    images: Images = Images()
    """The container images."""
    logging: Logging = Logging()
    """Logs."""
    data: list[DataBucket] = []
    """Buckets with data."""
    glue: Glue = Glue()
    """The catalog."""
    tenants: list[Tenant] = []
    """Tenants; where none is listed there is one, `default`. Jobs without `--tenant` are the first one's."""
    fargate: Fargate = Fargate()
    """Target `fargate`."""
    yarn: Yarn = Yarn()
    """Target `yarn`."""
    tags: dict[str, str] = {}
    """Tags on every resource."""

    def tenant_names(self) -> list[str]:
        """The tenants; `default` alone where none is configured."""
        return [tenant.name for tenant in self.tenants] or ["default"]

    @classmethod
    def default(cls) -> Self:
        """The configuration of a deployment that configures nothing."""
        return cls()
