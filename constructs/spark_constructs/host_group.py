"""A group of Nitro hosts: an Auto Scaling group with its launch template, role, drain hook and creation signals."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from aws_cdk import Annotations, Duration, Stack, Tags
from aws_cdk import aws_autoscaling as autoscaling
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_ecr as ecr
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_logs as logs
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_s3_assets as s3_assets
from aws_cdk import aws_sns as sns
from constructs import Construct

from spark_constructs.acknowledgments import acknowledge
from spark_constructs.enclave_image import EnclaveImage
from spark_constructs.host_group_guards import (
    QUORUM,
    EnclaveReservation,
    known_types,
    refuse_disordered_counts,
    refuse_impossible_times,
    refuse_unfit_for_enclaves,
    refuse_unsafe_managers,
)
from spark_constructs.host_notifications import HostNotifications, HostNotificationsProps
from spark_constructs.host_role import HostKind, HostRole, HostRoleProps
from spark_constructs.host_user_data import HostIdentity, boot_commands, host_bundle
from spark_constructs.instance_types import Architecture
from spark_constructs.naming import (
    auto_scaling_group_name,
    launch_template_name,
    lifecycle_hook_name,
    parameter_name,
)

#: Devices of Amazon Linux 2023's image and of our data volume; on Nitro both appear as NVMe disks.
ROOT_DEVICE = "/dev/xvda"
DATA_DEVICE = "/dev/xvdb"

#: Tags by which policies know a host; stacks/base.py sets the first on everything.
CLUSTER_TAG = "sparkvault:cluster"
ROLE_TAG = "sparkvault:role"


@dataclass(frozen=True)
class HostDisks:
    """Encrypted gp3 volumes of a host: sizes in GiB, throughput in MiB/s."""

    root_gib: int = 30
    """Root volume; default: 30."""
    data_gib: int = 100
    """Volume for images, shuffle and spill; default: 100."""
    data_iops: int = 3000
    """Provisioned IOPS of the data volume; default: 3000, gp3's own."""
    data_throughput_mib: int = 125
    """Throughput of the data volume; default: 125, gp3's own."""


@dataclass(frozen=True)
class SpotShare:
    """How much of a group is On-Demand; the rest is Spot."""

    on_demand_base: int = 0
    """Hosts that always run On-Demand; default: 0."""
    on_demand_percent_above_base: int = 0
    """Share of On-Demand above the base; default: 0."""


@dataclass(frozen=True)
class HostGroupProps:
    """What HostGroup needs to know."""

    cluster: str
    """Name of the cluster."""
    kind: HostKind
    """``manager``, ``worker``, ``yarn-master`` or ``yarn-node``; the group is named after it: ``<cluster>-workers``."""
    vpc: ec2.IVpc
    """VPC of the hosts."""
    security_group: ec2.ISecurityGroup
    """Security group of the hosts."""
    key: kms.IKey
    """Encrypts volumes, notifications and parameters. Its policy must let the service-linked role of Auto Scaling use
    it (``kms_key.cluster_key_policy`` does), or no host starts."""
    log_group: logs.ILogGroup
    """Where hosts log, and say how booting ended."""
    job_bucket: s3.IBucket
    """Bucket of jobs; one of another stack by its name (``from_bucket_name``), so that policies name it, too."""
    instance_types: tuple[str, ...]
    """Nitro instance types in order of preference, all of one architecture."""
    count: int
    """Hosts at first, and again whenever this number changes; in between the group may be scaled."""
    min_count: int = 0
    """The least hosts that scaling may ask for; managers: always ``count``. Default: 0."""
    max_count: int = 10
    """The most hosts that scaling may ask for; managers: always one more than ``count``, so that a new one can join
    before an old one leaves. Default: 10."""
    subnets: ec2.SubnetSelection | None = None
    """Where hosts run; default: the private subnets of the VPC."""
    architecture: Architecture = "x86_64"
    """CPU architecture of the instance types; default: x86_64."""
    disks: HostDisks = field(default_factory=HostDisks)
    """Volumes of a host; default: see HostDisks."""
    spot: SpotShare | None = None
    """Spot capacity, for workers only; default: none, all hosts are On-Demand."""
    enclaves: EnclaveReservation | None = None
    """What is set aside for Nitro Enclaves, for workers only; default: nothing, and enclaves are off."""
    enclave_image: EnclaveImage | None = None
    """What those enclaves run; default: nothing, and no enclave is started."""
    nested_virtualization: bool = False
    """Whether hosts may run virtual machines of their own (C8i, M8i, R8i); default: no."""
    container_addresses: bool = False
    """Whether each host's network interface has a /28 of addresses for containers beside its own; default: no."""
    more_files: Mapping[str, object] = field(default_factory=dict)
    """Files that user data writes beside host.json: name → what it holds as JSON; default: none."""
    drain_timeout_seconds: int = 600
    """How long a terminating host may take to drain; default: 600."""
    boot_timeout_seconds: int = 900
    """How long a new host may take to signal that it is up, at most 3600; default: 900."""
    bundle: s3_assets.Asset | None = None
    """What hosts run at boot; default: assets/hosts, as an asset of this group's own."""
    notifications: sns.ITopic | None = None
    """Where the group says that it starts and ends hosts; default: an encrypted topic of this group's own."""
    image_repositories: tuple[ecr.IRepository, ...] = ()
    """Repositories that images are pulled from; default: none, and then nothing may be pulled."""
    permissions_boundary: iam.IManagedPolicy | None = None
    """A managed policy that bounds the hosts' role; default: none."""


class HostGroup(Construct):
    """Hosts on Amazon Linux 2023 that are reached through Systems Manager only and boot from one bundle.

    Every host has IMDSv2 with a hop limit of 1, volumes encrypted under the given key, no public address and no key
    pair. CloudFormation waits until as many hosts as asked for have signalled that booting ended well. A new bundle,
    machine image or instance type replaces hosts in a rolling way; a terminating host first gets time to drain.

    Raises UnsafeHostGroupError for what must not be deployed (host_group_guards.py).

    Example::

        workers = HostGroup(self, "Workers", HostGroupProps(cluster="analytics", kind="worker", vpc=vpc,
                            security_group=group, key=key, log_group=log_group, job_bucket=bucket,
                            instance_types=("m5.2xlarge", "c5.4xlarge"), count=2))

    Attributes:
        group: the Auto Scaling group.
        role: the hosts' role; ``role.add(...)`` lets programs on hosts do more.
        name: the group's name.
        drain_hook_name: the hook that waits for a terminating host to drain.
    """

    group: autoscaling.AutoScalingGroup
    role: HostRole
    name: str
    drain_hook_name: str

    def __init__(self, scope: Construct, construct_id: str, props: HostGroupProps) -> None:
        self._props = props
        self._types = known_types(props.instance_types, props.architecture)
        self._placement = _selected(props.vpc, props.subnets or ec2.SubnetSelection())
        self._refuse_unsafe()
        super().__init__(scope, construct_id)
        self.name = auto_scaling_group_name(props.cluster, f"{props.kind}s")
        self.drain_hook_name = lifecycle_hook_name(props.cluster, f"{props.kind}s-drain")
        bundle = props.bundle or host_bundle(self, "Bundle")
        self.role = HostRole(
            self,
            "Role",
            HostRoleProps(
                cluster=props.cluster,
                kind=props.kind,
                group_name=self.name,
                key=props.key,
                log_group=props.log_group,
                job_bucket=props.job_bucket,
                bundle=bundle,
                image_repositories=props.image_repositories,
                permissions_boundary=props.permissions_boundary,
            ),
        )
        user_data = ec2.UserData.for_linux()
        self.group = self._auto_scaling_group(self._launch_template(user_data))
        user_data.add_commands(
            *boot_commands(self._identity(), bundle.s3_object_url, props.enclave_image, props.more_files)
        )
        if props.enclave_image is not None:
            self.role.add(props.enclave_image.read())
        # Hosts must be able to signal and to let go for as long as there are any.
        self.group.node.add_dependency(self.role)
        self._drain_before_termination()
        self._tag()

    def _refuse_unsafe(self) -> None:
        props = self._props
        if props.kind == "manager":
            zones = len(set(self._placement.availability_zones))
            refuse_unsafe_managers(props.count, zones, spot=props.spot is not None, enclaves=props.enclaves is not None)
        refuse_impossible_times(props.boot_timeout_seconds, props.drain_timeout_seconds)
        refuse_disordered_counts(self._least, props.count, self._most)
        if props.enclaves is not None:
            refuse_unfit_for_enclaves(self._types, props.enclaves)

    @property
    def _least(self) -> int:
        return self._props.count if self._is_fixed else self._props.min_count

    @property
    def _most(self) -> int:
        if self._props.kind == "yarn-master":
            # Two at a time would be two realms and two file systems.
            return self._props.count
        return self._props.count + 1 if self._is_fixed else self._props.max_count

    @property
    def _is_fixed(self) -> bool:
        """Whether nobody scales the group."""
        return self._props.kind in ("manager", "yarn-master")

    def _launch_template(self, user_data: ec2.UserData) -> ec2.LaunchTemplate:
        props = self._props
        template = ec2.LaunchTemplate(
            self,
            "LaunchTemplate",
            launch_template_name=launch_template_name(props.cluster, f"{props.kind}s"),
            # A template parameter: CloudFormation resolves it at deployment, so all hosts of the group have the same
            # image and a deployment brings the newest one to all of them.
            machine_image=ec2.MachineImage.latest_amazon_linux2023(
                cached_in_context=False,
                cpu_type=ec2.AmazonLinuxCpuType.ARM_64
                if props.architecture == "arm64"
                else ec2.AmazonLinuxCpuType.X86_64,
            ),
            instance_type=ec2.InstanceType(self._types[0].name),
            role=self.role.role,
            security_group=props.security_group,
            user_data=user_data,
            associate_public_ip_address=False,
            http_endpoint=True,
            http_tokens=ec2.LaunchTemplateHttpTokens.REQUIRED,
            # One hop reaches processes of the host; containers are a second one.
            http_put_response_hop_limit=1,
            http_protocol_ipv6=False,
            instance_metadata_tags=False,
            detailed_monitoring=True,
            ebs_optimized=True,
            nitro_enclave_enabled=props.enclaves is not None,
            cpu_options=ec2.LaunchTemplateCpuOptions(nested_virtualization=True)
            if props.nested_virtualization
            else None,
            block_devices=[
                self._volume(ROOT_DEVICE, props.disks.root_gib),
                self._volume(DATA_DEVICE, props.disks.data_gib, props.disks.data_iops, props.disks.data_throughput_mib),
            ],
        )
        if props.container_addresses:
            self._give_containers_addresses(template)
        Tags.of(template).add("Name", self.name)
        Tags.of(template).add(CLUSTER_TAG, props.cluster)
        Tags.of(template).add(ROLE_TAG, props.kind)
        return template

    def _give_containers_addresses(self, template: ec2.LaunchTemplate) -> None:
        """A /28 of the subnet, which the VPC routes to the host (EC2 user guide, "Prefix delegation")."""
        resource = template.node.default_child
        if not isinstance(resource, ec2.CfnLaunchTemplate):
            raise TypeError("the launch template has no CloudFormation resource; the CDK's structure has changed")
        data = "LaunchTemplateData"
        resource.add_property_override(
            f"{data}.NetworkInterfaces",
            [
                {
                    "DeviceIndex": 0,
                    "AssociatePublicIpAddress": False,
                    "DeleteOnTermination": True,
                    "Groups": [self._props.security_group.security_group_id],
                    "Ipv4PrefixCount": 1,
                }
            ],
        )
        # A template has the groups of its interfaces, or groups of its own.
        resource.add_property_deletion_override(f"{data}.SecurityGroupIds")

    def _volume(
        self, device: str, size_gib: int, iops: int | None = None, throughput_mib: int | None = None
    ) -> ec2.BlockDevice:
        return ec2.BlockDevice(
            device_name=device,
            volume=ec2.BlockDeviceVolume.ebs(
                size_gib,
                encrypted=True,
                kms_key=self._props.key,
                volume_type=ec2.EbsDeviceVolumeType.GP3,
                iops=iops,
                throughput=throughput_mib,
                delete_on_termination=True,
            ),
        )

    def _auto_scaling_group(self, template: ec2.LaunchTemplate) -> autoscaling.AutoScalingGroup:
        props = self._props
        boot_timeout = Duration.seconds(props.boot_timeout_seconds)
        spread = autoscaling.CapacityDistributionStrategy
        policies = autoscaling.TerminationPolicy
        group = autoscaling.AutoScalingGroup(
            self,
            "Group",
            auto_scaling_group_name=self.name,
            vpc=props.vpc,
            vpc_subnets=ec2.SubnetSelection(subnets=self._placement.subnets),
            mixed_instances_policy=self._instances(template),
            min_capacity=self._least,
            desired_capacity=props.count,
            max_capacity=self._most,
            # Of three managers never two in one zone, even while a zone has no capacity: two keep the quorum.
            az_capacity_distribution_strategy=spread.BALANCED_ONLY
            if props.kind == "manager" and props.count == QUORUM
            else spread.BALANCED_BEST_EFFORT,
            # A Spot host at risk is replaced before it is taken.
            capacity_rebalance=props.spot is not None,
            signals=autoscaling.Signals.wait_for_count(props.count, timeout=boot_timeout) if props.count else None,
            update_policy=self._rolling_update(boot_timeout),
            # Impaired volumes count as unhealthy, as impaired hosts do.
            health_checks=autoscaling.HealthChecks.with_additional_checks(
                additional_types=[autoscaling.AdditionalHealthCheckType.EBS], grace_period=boot_timeout
            ),
            termination_policies=[policies.OLDEST_LAUNCH_TEMPLATE, policies.ALLOCATION_STRATEGY, policies.DEFAULT],
            group_metrics=[autoscaling.GroupMetrics.all()],
            notifications=[
                autoscaling.NotificationConfiguration(
                    topic=props.notifications or self._own_topic(), scaling_events=autoscaling.ScalingEvents.ALL
                )
            ],
        )
        Annotations.of(group).acknowledge_warning(
            "@aws-cdk/aws-autoscaling:desiredCapacitySet",
            "The group ignores unmodified sizes on update, so a deployment changes the number of hosts only where "
            "the configuration does.",
        )
        acknowledge(
            group,
            "AwsSolutions-EC26",
            "The rule reads the group's own launch template and throws where a mixed instances policy holds it. Both "
            "volumes in that template are encrypted under the cluster's key, which a test of ours asserts.",
        )
        return group

    def _instances(self, template: ec2.LaunchTemplate) -> autoscaling.MixedInstancesPolicy:
        spot = self._props.spot
        return autoscaling.MixedInstancesPolicy(
            launch_template=template,
            launch_template_overrides=[
                autoscaling.LaunchTemplateOverrides(instance_type=ec2.InstanceType(each.name)) for each in self._types
            ],
            instances_distribution=autoscaling.InstancesDistribution(
                on_demand_allocation_strategy=autoscaling.OnDemandAllocationStrategy.PRIORITIZED,
                on_demand_base_capacity=spot.on_demand_base if spot else 0,
                on_demand_percentage_above_base_capacity=spot.on_demand_percent_above_base if spot else 100,
                # The pools least likely to be taken back; among equal ones, the order of preference.
                spot_allocation_strategy=autoscaling.SpotAllocationStrategy.CAPACITY_OPTIMIZED_PRIORITIZED
                if spot
                else None,
            ),
        )

    def _rolling_update(self, boot_timeout: Duration) -> autoscaling.UpdatePolicy:
        """Managers: a new one is up before an old one goes, one at a time. Others: a quarter of them at a time.

        YARN's one master goes before the new one comes.
        """
        props = self._props
        batch = 1 if self._is_fixed else max(1, props.count // 4)
        in_service = props.count if self._is_fixed else max(0, props.count - batch)
        return autoscaling.UpdatePolicy.rolling_update(
            max_batch_size=batch,
            # CloudFormation wants it below the largest size.
            min_instances_in_service=min(in_service, self._most - 1),
            pause_time=boot_timeout,
            wait_on_resource_signals=True,
            # The processes that would replace or move hosts on their own while CloudFormation does; launching and
            # terminating must go on, for that is how it updates.
            suspend_processes=[
                autoscaling.ScalingProcess.HEALTH_CHECK,
                autoscaling.ScalingProcess.REPLACE_UNHEALTHY,
                autoscaling.ScalingProcess.AZ_REBALANCE,
                autoscaling.ScalingProcess.ALARM_NOTIFICATION,
                autoscaling.ScalingProcess.SCHEDULED_ACTIONS,
            ],
        )

    def _drain_before_termination(self) -> None:
        """Time to decommission executors and leave the swarm.

        There is no hook at launch: nothing sends work to a host because it is in service (a manager must have
        verified it first), and CloudFormation waits for the host's own signal.
        """
        self.group.add_lifecycle_hook(
            "Drain",
            lifecycle_hook_name=self.drain_hook_name,
            lifecycle_transition=autoscaling.LifecycleTransition.INSTANCE_TERMINATING,
            heartbeat_timeout=Duration.seconds(self._props.drain_timeout_seconds),
            # A host that does not answer goes all the same: keeping it would keep what is wrong with it.
            default_result=autoscaling.DefaultResult.CONTINUE,
        )

    def _identity(self) -> HostIdentity:
        props, stack = self._props, Stack.of(self)
        group = self.group.node.default_child
        if not isinstance(group, autoscaling.CfnAutoScalingGroup):
            raise TypeError("the group has no CloudFormation resource; the CDK's structure has changed")
        return HostIdentity(
            cluster=props.cluster,
            role=props.kind,
            region=stack.region,
            stack=stack.stack_name,
            resource=stack.get_logical_id(group),
            group=self.name,
            drain_hook=self.drain_hook_name,
            drain_timeout_seconds=props.drain_timeout_seconds,
            boot_timeout_seconds=props.boot_timeout_seconds,
            log_group=props.log_group.log_group_name,
            parameters=parameter_name(props.cluster),
            job_bucket=props.job_bucket.bucket_name,
            enclaves=props.enclaves,
        )

    def _own_topic(self) -> sns.ITopic:
        props = HostNotificationsProps(cluster=self._props.cluster, key=self._props.key)
        return HostNotifications(self, "Notifications", props).topic

    def _tag(self) -> None:
        for key, value in (("Name", self.name), (CLUSTER_TAG, self._props.cluster), (ROLE_TAG, self._props.kind)):
            Tags.of(self.group).add(key, value)


def _selected(vpc: ec2.IVpc, subnets: ec2.SubnetSelection) -> ec2.SelectedSubnets:
    return vpc.select_subnets(
        availability_zones=subnets.availability_zones,
        one_per_az=subnets.one_per_az,
        subnet_filters=subnets.subnet_filters,
        subnet_group_name=subnets.subnet_group_name,
        subnets=subnets.subnets,
        subnet_type=subnets.subnet_type,
    )
