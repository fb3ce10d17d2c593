"""The hosts of target yarn: one master and a group of nodes that boot from the same bundle as all hosts."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from aws_cdk import Stack
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_ecr as ecr
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_logs as logs
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_s3_assets as s3_assets
from aws_cdk import aws_sns as sns
from aws_cdk import aws_ssm as ssm
from constructs import Construct, IDependable

from spark_constructs.host_group import HostDisks, HostGroup, HostGroupProps
from spark_constructs.host_group_guards import known_types
from spark_constructs.host_notifications import HostNotifications, HostNotificationsProps
from spark_constructs.host_role import let_dead_hosts_go, see_hosts
from spark_constructs.host_user_data import BUNDLE_EXCLUDED, host_bundle
from spark_constructs.instance_types import Architecture
from spark_constructs.naming import auto_scaling_group_name, parameter_name
from spark_constructs.permissions import Permission
from spark_constructs.tenant_permissions import TenantCatalog
from spark_constructs.tenant_roles import TenantAccess, TenantRoles, TenantRolesProps
from spark_constructs.yarn_guards import (
    YarnRuntime,
    refuse_hosts_without_machines,
    refuse_tenants_that_are_no_users,
    refuse_unpinned,
)
from spark_constructs.yarn_settings import (
    CONTAINERS_PER_NODE,
    READER_TAG,
    REALM_PREFIX,
    YARN_FAMILY,
    archive_key,
    keytab_secrets,
    master_parameter,
    settings_parameter,
    shares,
    user_number,
)

#: YARN's programs and templates in this repository, beside the bundle of all hosts.
YARN_FOLDER = Path(__file__).resolve().parents[2] / "assets" / "yarn"

#: What a node's system, Docker and daemons keep for themselves beside containers, in MiB.
NODE_RESERVE_MIB = 3072


@dataclass(frozen=True)
class YarnArchive:
    """A third-party archive that hosts fetch from the job bucket: its file name, version and checksum."""

    name: str
    """Name of the file, as ``hadoop-3.5.0.tar.gz``."""
    sha512: str | None
    """128 hexadecimal digits; None is refused."""


@dataclass(frozen=True)
class YarnTenant:
    """A tenant with its share of the cluster."""

    access: TenantAccess
    """Its name, its data and its key."""
    percent: int = 0
    """Guaranteed share in percent; default: an equal part of what the others leave."""
    most_percent: int = 100
    """The most it may take while others are idle; default: everything."""
    images: tuple[str, ...] = ()
    """Images by digest that its containers may use beside ours; default: none."""


@dataclass(frozen=True)
class YarnGroupProps:
    """A group of YARN hosts."""

    count: int = 1
    """How many; the master is one."""
    instance_types: tuple[str, ...] = ("m5.xlarge",)
    """Instance types in order of preference."""
    disks: HostDisks = field(default_factory=HostDisks)
    """Volumes; default: see HostDisks."""


@dataclass(frozen=True)
class YarnClusterProps:
    """What YarnCluster needs to know."""

    cluster: str
    """Name of the cluster."""
    vpc: ec2.IVpc
    """VPC of the hosts."""
    masters_security_group: ec2.ISecurityGroup
    """Security group of the master."""
    nodes_security_group: ec2.ISecurityGroup
    """Security group of the nodes and their containers."""
    key: kms.IKey
    """Encrypts volumes, notifications, parameters and keytabs: its policy must allow Secrets Manager, too."""
    log_group: logs.ILogGroup
    """Where hosts and jobs log."""
    job_bucket: s3.IBucket
    """Bucket of jobs, archives and the realm's backup; one of another stack by its name."""
    tenants: tuple[YarnTenant, ...]
    """Tenants, each with a queue, a user and a role of its own; at least one."""
    hadoop: YarnArchive
    """Hadoop's distribution."""
    runtime_archive: YarnArchive | None
    """Kata or gVisor; None for ``runc``, which Docker has."""
    runtime: YarnRuntime = "kata"
    """What every container runs under; default: kata."""
    subnets: ec2.SubnetSelection | None = None
    """Where hosts run; default: the private subnets of the VPC."""
    master: YarnGroupProps = field(default_factory=YarnGroupProps)
    """ResourceManager, NameNode and KDC; default: one m5.xlarge."""
    nodes: YarnGroupProps = field(default_factory=lambda: YarnGroupProps(2, ("m8i.2xlarge",)))
    """NodeManagers and DataNodes; default: two m8i.2xlarge."""
    realm: str = "SPARKVAULT.INTERNAL"
    """Name of the Kerberos realm; default: SPARKVAULT.INTERNAL."""
    ticket_hours: int = 10
    """How long a ticket is valid; default: 10."""
    container_memory_mib: int = 16384
    """The largest container, in MiB; default: 16 GiB."""
    container_cores: int = 8
    """The most cores of a container; default: 8."""
    preemption: bool = True
    """Whether a guaranteed share is taken back from others; default: yes."""
    log_retention_days: int = 90
    """Days that aggregated logs of containers are kept in HDFS; default: 90."""
    architecture: Architecture = "x86_64"
    """CPU architecture of the hosts; default: x86_64."""
    drain_timeout_seconds: int = 600
    """How long a terminating host may take to drain; default: 600."""
    boot_timeout_seconds: int = 1800
    """How long a new host may take to signal that it is up; default: 1800, as a node waits for its master."""
    image_repositories: tuple[ecr.IRepository, ...] = ()
    """Repositories that images are pulled from; default: none, and then nothing may be pulled."""
    catalog: TenantCatalog | None = None
    """Databases of the Glue Data Catalog; default: none."""
    permissions_boundary: iam.IManagedPolicy | None = None
    """A managed policy that bounds every role here; default: none."""


class YarnCluster(Construct):
    """A master and nodes, on the same foundations as the swarm's hosts.

    The master makes a keytab for each node that is in service, as a secret that this one node reads. Containers have
    addresses of their node's network interface; under Kata nested virtualization is switched on where it is needed.

    Example::

        yarn = YarnCluster(self, "Yarn", YarnClusterProps(cluster="analytics", vpc=vpc, key=key, job_bucket=bucket,
                           masters_security_group=groups.masters, nodes_security_group=groups.nodes,
                           log_group=log_group, tenants=(YarnTenant(TenantAccess("sales")),),
                           hadoop=YarnArchive("hadoop-3.5.0.tar.gz", sha512), runtime="runc", runtime_archive=None))

    Attributes:
        master: the master's group.
        nodes: the nodes' group.
        notifications: where both groups say that they start and end hosts.
        tenants: the tenants' roles.
    """

    master: HostGroup
    nodes: HostGroup
    notifications: sns.ITopic
    tenants: TenantRoles

    def __init__(self, scope: Construct, construct_id: str, props: YarnClusterProps) -> None:
        """Raises UnsafeYarnClusterError, UnsafeHostGroupError for what must not be deployed."""
        self._node_types = known_types(props.nodes.instance_types, props.architecture)
        refuse_hosts_without_machines(self._node_types, props.runtime)
        refuse_tenants_that_are_no_users([tenant.access.name for tenant in props.tenants])
        archives = {"hadoop": props.hadoop}
        if props.runtime_archive is not None:
            archives[props.runtime] = props.runtime_archive
        self._archives = {kind: (each.name, refuse_unpinned(each.name, each.sha512)) for kind, each in archives.items()}
        super().__init__(scope, construct_id)
        self._props = props
        self.notifications = HostNotifications(
            self, "Notifications", HostNotificationsProps(cluster=props.cluster, key=props.key)
        ).topic
        self._bundle = host_bundle(self, "Bundle")
        self._programs = s3_assets.Asset(self, "Programs", path=str(YARN_FOLDER), exclude=list(BUNDLE_EXCLUDED))
        machines = props.runtime == "kata" and not self._node_types[0].metal
        self.master = self._group("Master", "yarn-master", props.master, props.masters_security_group)
        self.nodes = self._group("Nodes", "yarn-node", props.nodes, props.nodes_security_group, machines=machines)
        self._give_tenants_roles()
        self._let_the_master_work()
        self._let_nodes_work()
        self._write_settings()

    def _group(
        self, construct_id: str, kind: str, group: YarnGroupProps, security_group: ec2.ISecurityGroup, *,
        machines: bool = False,
    ) -> HostGroup:  # fmt: skip
        props, is_node = self._props, kind == "yarn-node"
        hosts = HostGroup(
            self,
            construct_id,
            HostGroupProps(
                cluster=props.cluster,
                kind="yarn-node" if is_node else "yarn-master",
                vpc=props.vpc,
                subnets=props.subnets,
                security_group=security_group,
                key=props.key,
                log_group=props.log_group,
                job_bucket=props.job_bucket,
                instance_types=group.instance_types,
                architecture=props.architecture,
                count=group.count,
                min_count=1,
                max_count=max(group.count, 10) if is_node else 1,
                disks=group.disks,
                nested_virtualization=machines,
                container_addresses=is_node,
                more_files={
                    "yarn.json": {
                        "programs": self._programs.s3_object_url,
                        "settings": settings_parameter(props.cluster),
                        "master": master_parameter(props.cluster),
                    }
                },
                drain_timeout_seconds=props.drain_timeout_seconds,
                boot_timeout_seconds=props.boot_timeout_seconds,
                bundle=self._bundle,
                notifications=self.notifications,
                image_repositories=props.image_repositories,
                permissions_boundary=props.permissions_boundary,
            ),
        )
        bucket = props.job_bucket
        hosts.role.add(
            Permission(
                "YarnPrograms",
                ("s3:GetObject",),
                (self._programs.bucket.arn_for_objects(self._programs.s3_object_key),),
            ),
            Permission(
                "Archives",
                ("s3:GetObject",),
                tuple(bucket.arn_for_objects(archive_key(digest, name)) for name, digest in self._archives.values()),
            ),
            Permission(
                "YarnSettings",
                ("ssm:GetParameter", "ssm:GetParameters"),
                (self._parameter("desired"), self._parameter("master")),
            ),
        )
        return hosts

    def _give_tenants_roles(self) -> None:
        props = self._props
        self.tenants = TenantRoles(
            self,
            "Tenants",
            TenantRolesProps(
                cluster=props.cluster,
                tenants=tuple(tenant.access for tenant in props.tenants),
                workers_role=self.nodes.role.role,
                job_bucket=props.job_bucket,
                key=props.key,
                catalog=props.catalog,
                family=YARN_FAMILY,
                permissions_boundary=props.permissions_boundary,
            ),
        )
        self.nodes.role.add(self.tenants.assume())

    def _let_the_master_work(self) -> None:
        bucket = self._props.job_bucket
        secrets = self._secrets()
        names = "A node's secret is named after its instance, whose id is not known beforehand."
        self.master.role.add(
            *self.master.role.jobs(),
            see_hosts(),
            let_dead_hosts_go(self, auto_scaling_group_name(self._props.cluster, "yarn-nodes")),
            Permission("WhoIsMaster", ("ssm:PutParameter",), (self._parameter("master"),)),
            Permission(
                "Realm",
                ("s3:GetObject", "s3:PutObject"),
                (bucket.arn_for_objects(f"{REALM_PREFIX}*"),),
                wildcard="The backups of this cluster's realm, which no other role reads.",
            ),
            Permission(
                "FindRealm",
                ("s3:ListBucket",),
                (bucket.bucket_arn,),
                conditions={"StringLike": {"s3:prefix": f"{REALM_PREFIX}*"}},
            ),
            Permission(
                "MakeKeytabs",
                ("secretsmanager:CreateSecret", "secretsmanager:TagResource"),
                (secrets,),
                conditions={"ForAllValues:StringEquals": {"aws:TagKeys": [READER_TAG]}},
                wildcard=names,
            ),
            Permission(
                "KeepKeytabs",
                (
                    "secretsmanager:DeleteSecret",
                    "secretsmanager:DescribeSecret",
                    "secretsmanager:PutSecretValue",
                ),
                (secrets,),
                wildcard=names,
            ),
            self._key_for_keytabs("EncryptKeytabs", ("kms:Decrypt", "kms:GenerateDataKey")),
        )

    def _let_nodes_work(self) -> None:
        """IAM user guide, "Request information that you can use for policy variables": a host's id is ROLE:INSTANCE."""
        self.nodes.role.add(
            Permission(
                "OwnKeytab",
                ("secretsmanager:GetSecretValue",),
                (self._secrets(),),
                conditions={"StringEquals": {f"secretsmanager:ResourceTag/{READER_TAG}": "${aws:userid}"}},
                wildcard="Named after the instance; the condition admits the one secret that was made for this host.",
            ),
            self._key_for_keytabs("DecryptKeytab", ("kms:Decrypt",)),
            Permission(
                "DecryptArchives",
                ("kms:Decrypt",),
                (self._props.key.key_arn,),
                conditions={"StringEquals": {"kms:ViaService": f"s3.{Stack.of(self).region}.amazonaws.com"}},
            ),
        )

    def _key_for_keytabs(self, sid: str, actions: tuple[str, ...]) -> Permission:
        """Secrets Manager user guide, "Secret encryption and decryption": the context names the secret."""
        return Permission(
            sid,
            actions,
            (self._props.key.key_arn,),
            conditions={
                "StringEquals": {"kms:ViaService": f"secretsmanager.{Stack.of(self).region}.amazonaws.com"},
                "ArnLike": {"kms:EncryptionContext:SecretARN": self._secrets()},
            },
        )

    def _secrets(self) -> str:
        return Stack.of(self).format_arn(
            service="secretsmanager", resource=f"secret:{keytab_secrets(self._props.cluster)}*"
        )

    def _parameter(self, name: str) -> str:
        return Stack.of(self).format_arn(
            service="ssm", resource=f"parameter{parameter_name(self._props.cluster, 'yarn', name)}"
        )

    def _write_settings(self) -> None:
        """A change reaches running hosts, whose agents read it."""
        props = self._props
        smallest = min(self._node_types, key=lambda each: each.memory_mib)
        memory = smallest.memory_mib - NODE_RESERVE_MIB
        parts = shares([tenant.percent for tenant in props.tenants])
        bucket = props.job_bucket
        wanted: Mapping[str, object] = {
            "runtime": props.runtime,
            "realm": props.realm,
            "ticket_hours": props.ticket_hours,
            "archives": {
                kind: {"url": bucket.s3_url_for_object(archive_key(digest, name)), "sha512": digest}
                for kind, (name, digest) in self._archives.items()
            },
            "realm_backup": bucket.s3_url_for_object(REALM_PREFIX.rstrip("/")),
            "image": parameter_name(props.cluster, "images", "yarn"),
            "nodes_group": auto_scaling_group_name(props.cluster, "yarn-nodes"),
            "nodes_role_id": self.nodes.role.role.role_id,
            "keytabs": keytab_secrets(props.cluster),
            "key": props.key.key_arn,
            "node_memory_mib": memory,
            "node_cores": min(each.vcpu for each in self._node_types),
            "container_least_mib": -(-memory // CONTAINERS_PER_NODE),
            "container_memory_mib": props.container_memory_mib,
            "container_cores": props.container_cores,
            "preemption": props.preemption,
            "log_seconds": props.log_retention_days * 24 * 3600,
            "replication": min(3, props.nodes.count),
            "tenants": [
                {
                    "name": tenant.access.name,
                    "uid": user_number(tenant.access.name),
                    "share": share,
                    "most": max(tenant.most_percent, share),
                    "images": list(tenant.images),
                    "role": self.tenants.arns[tenant.access.name],
                }
                for tenant, share in zip(props.tenants, parts, strict=True)
            ],
        }
        parameter = ssm.StringParameter(
            self,
            "Desired",
            parameter_name=settings_parameter(props.cluster),
            description="What runs on the YARN cluster; its hosts' agents make it so",
            string_value=Stack.of(self).to_json_string(wanted),
            tier=ssm.ParameterTier.INTELLIGENT_TIERING,
        )
        self._before_any_host(parameter)

    def _before_any_host(self, needed: IDependable) -> None:
        for hosts in (self.master, self.nodes):
            hosts.group.node.add_dependency(needed)


__all__ = [
    "YarnArchive",
    "YarnCluster",
    "YarnClusterProps",
    "YarnGroupProps",
    "YarnTenant",
]
