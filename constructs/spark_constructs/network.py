"""The VPC in which everything runs: private subnets, and endpoints in place of the internet."""

from dataclasses import dataclass

from aws_cdk import Fn, RemovalPolicy, Stack, Tags
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_logs as logs
from constructs import Construct, IConstruct

from spark_constructs.default_security_group import keep_default_security_group_empty
from spark_constructs.endpoints import (
    SWARM_ENDPOINTS,
    DataBucketAccess,
    InterfaceEndpoint,
    dynamodb_endpoint_policy,
    interface_endpoint_policy,
    interface_service,
    s3_endpoint_policy,
)
from spark_constructs.log_retention import retention
from spark_constructs.naming import log_group_name
from spark_constructs.refusal import RefusedError

#: Name of the log group's last part, under the prefix that the cluster's key admits.
FLOW_LOGS = "flow-logs"


@dataclass(frozen=True)
class ExistingVpc:
    """A VPC that is there already. Nothing about it is looked up, so synthesis needs no credentials."""

    vpc_id: str
    """Its id."""
    cidr: str
    """Its address range."""
    availability_zones: tuple[str, ...]
    """Zones of the private subnets."""
    private_subnet_ids: tuple[str, ...]
    """Private subnets, one per zone, in the same order."""
    private_route_table_ids: tuple[str, ...] = ()
    """Route tables of the subnets, in the same order; default: none, and then no gateway endpoints are made."""


@dataclass(frozen=True)
class SparkNetworkProps:
    """What SparkNetwork needs to know."""

    cluster: str
    """Name of the cluster."""
    encryption_key: kms.IKey | None = None
    """Key of the log groups; default: none, and then CloudWatch Logs uses a key of its own."""
    cidr: str = "10.20.0.0/16"
    """Address range of the VPC, /16 to /22; default: 10.20.0.0/16."""
    zones: int = 3
    """How many availability zones it spans, 2 to 6; default: 3."""
    availability_zones: tuple[str, ...] = ()
    """Zones by name; default: the region's first ones, resolved at deployment."""
    nat_gateways: int = 0
    """NAT gateways; default: 0, and then there is no public subnet and no internet gateway either."""
    flow_logs: bool = True
    """Whether the VPC's traffic is logged; default: yes."""
    log_retention_days: int = 90
    """Days that flow logs are kept, one of the numbers that CloudWatch Logs knows; default: 90."""
    removal_policy: RemovalPolicy = RemovalPolicy.RETAIN
    """What happens to the log groups when the stack goes; default: they are retained."""
    interface_endpoints: tuple[InterfaceEndpoint, ...] = SWARM_ENDPOINTS
    """AWS services reached by interface endpoints; default: what target swarm calls. Empty: none are made."""
    data_buckets: tuple[DataBucketAccess, ...] = ()
    """Data buckets that jobs use; default: only buckets of this account."""
    existing: ExistingVpc | None = None
    """A VPC to use in place of our own; default: our own is made."""


class InvalidNetworkError(RefusedError):
    """A network that cannot be built: what is wrong and what to give instead."""


class SparkNetwork(Construct):
    """A VPC whose hosts reach AWS's services and nothing else.

    Private subnets over two or more zones without a route to the internet, gateway endpoints for S3 and DynamoDB,
    interface endpoints for the rest, flow logs, and a default security group without rules. With an existing VPC
    only the endpoints are added to it: its flow logs and default security group stay its owner's.

    In a stack with an explicit environment the CDK looks zones up, even where they are given, unless the stack
    overrides ``availability_zones`` (as ours do, stacks/base.py) or its context already holds them.

    Example::

        network = SparkNetwork(self, "Network", SparkNetworkProps(cluster="analytics", encryption_key=key))
        group = ec2.SecurityGroup(self, "Hosts", vpc=network.vpc, allow_all_outbound=False)
        network.allow_endpoints_from(group, "Hosts")

    Attributes:
        vpc: the VPC.
        private_subnets: where hosts and tasks run.
        private_subnet_ids: their ids, one per zone.
        endpoint_security_group: in front of the interface endpoints; None where none are made.
        flow_log_group: where flow logs go; None where there are none.
    """

    vpc: ec2.IVpc
    private_subnets: ec2.SubnetSelection
    private_subnet_ids: list[str]
    endpoint_security_group: ec2.SecurityGroup | None
    flow_log_group: logs.ILogGroup | None

    def __init__(self, scope: Construct, construct_id: str, props: SparkNetworkProps) -> None:
        """Raises InvalidNetworkError where the zones do not fit."""
        super().__init__(scope, construct_id)
        self._props = props
        self.flow_log_group = None
        if props.existing is None:
            vpc = self._own_vpc()
            self.vpc = vpc
            keep_default_security_group_empty(
                vpc,
                cluster=props.cluster,
                encryption_key=props.encryption_key,
                log_retention_days=props.log_retention_days,
                removal_policy=props.removal_policy,
            )
            if props.flow_logs:
                self.flow_log_group = self._log_traffic(vpc)
        else:
            self.vpc = self._imported_vpc(props.existing)
            self.private_subnets = ec2.SubnetSelection(subnets=self.vpc.private_subnets)
        if props.existing is None or props.existing.private_route_table_ids:
            self._gateway_endpoints()
        self.private_subnet_ids = self.vpc.select_subnets(
            subnet_type=self.private_subnets.subnet_type, subnets=self.private_subnets.subnets
        ).subnet_ids
        self.endpoint_security_group = self._interface_endpoints() if props.interface_endpoints else None

    def allow_endpoints_from(self, security_group: ec2.SecurityGroup, name: str) -> None:
        """Let members of a security group call the interface endpoints (tcp/443), and its egress reach them.

        ``name`` in CamelCase tells rules of several groups apart. The rules belong to the group's own stack, so that
        a later stack can add them without changing this one. Where no endpoints are made, egress reaches those that
        the existing VPC has; to let the group in is then for their owner.
        """
        if self.endpoint_security_group is None:
            ec2.CfnSecurityGroupEgress(
                security_group,
                f"{name}ToEndpoints",
                group_id=security_group.security_group_id,
                cidr_ip=self.vpc.vpc_cidr_block,
                ip_protocol="tcp",
                from_port=443,
                to_port=443,
                description="AWS APIs through the interface endpoints that the VPC has",
            )
            return
        endpoint_group_id = self.endpoint_security_group.security_group_id
        ec2.CfnSecurityGroupIngress(
            security_group,
            f"EndpointsFrom{name}",
            group_id=endpoint_group_id,
            source_security_group_id=security_group.security_group_id,
            ip_protocol="tcp",
            from_port=443,
            to_port=443,
            description="AWS APIs through interface endpoints",
        )
        ec2.CfnSecurityGroupEgress(
            security_group,
            f"{name}ToEndpoints",
            group_id=security_group.security_group_id,
            destination_security_group_id=endpoint_group_id,
            ip_protocol="tcp",
            from_port=443,
            to_port=443,
            description="AWS APIs through interface endpoints",
        )

    def _own_vpc(self) -> ec2.Vpc:
        props = self._props
        if not 2 <= props.zones <= 6:
            raise InvalidNetworkError(f"zones = {props.zones}: give 2 to 6, so that one zone's failure is survived")
        if props.availability_zones and len(props.availability_zones) != props.zones:
            raise InvalidNetworkError(
                f"zones = {props.zones}, but {len(props.availability_zones)} are named: name as many as there are"
            )
        if props.nat_gateways > props.zones:
            raise InvalidNetworkError(f"nat_gateways = {props.nat_gateways}: give at most one per zone ({props.zones})")
        zones = list(props.availability_zones) or [Fn.select(index, Fn.get_azs()) for index in range(props.zones)]
        kind = ec2.SubnetType.PRIVATE_WITH_EGRESS if props.nat_gateways else ec2.SubnetType.PRIVATE_ISOLATED
        self.private_subnets = ec2.SubnetSelection(subnet_type=kind)
        subnets = [ec2.SubnetConfiguration(name="Private", subnet_type=kind)]
        if props.nat_gateways:
            # Only for the NAT gateways: nothing else may get a public address.
            subnets.append(
                ec2.SubnetConfiguration(
                    name="Nat", subnet_type=ec2.SubnetType.PUBLIC, cidr_mask=28, map_public_ip_on_launch=False
                )
            )
        vpc = ec2.Vpc(
            self,
            "Vpc",
            ip_addresses=ec2.IpAddresses.cidr(props.cidr),
            availability_zones=zones,
            nat_gateways=props.nat_gateways,
            create_internet_gateway=props.nat_gateways > 0,
            subnet_configuration=subnets,
            restrict_default_security_group=True,
        )
        self._name(vpc)
        return vpc

    def _name(self, vpc: ec2.Vpc) -> None:
        """Names by the cluster, where the CDK would show the path of the construct. Later tags need a priority."""
        cluster = self._props.cluster
        names: dict[IConstruct, str] = {vpc: cluster}
        for kind, subnets in (("nat", vpc.public_subnets), ("private", vpc.private_subnets + vpc.isolated_subnets)):
            names |= {subnet: f"{cluster}-{kind}-{number}" for number, subnet in enumerate(subnets, start=1)}
        for construct, name in names.items():
            Tags.of(construct).add("Name", name, priority=300 if construct is vpc else 400)

    def _imported_vpc(self, existing: ExistingVpc) -> ec2.IVpc:
        if len(existing.private_subnet_ids) != len(existing.availability_zones):
            raise InvalidNetworkError(
                f"{len(existing.private_subnet_ids)} private subnets for {len(existing.availability_zones)} zones: "
                "give one subnet per zone, in the same order"
            )
        return ec2.Vpc.from_vpc_attributes(
            self,
            "Vpc",
            vpc_id=existing.vpc_id,
            vpc_cidr_block=existing.cidr,
            availability_zones=list(existing.availability_zones),
            private_subnet_ids=list(existing.private_subnet_ids),
            private_subnet_route_table_ids=list(existing.private_route_table_ids) or None,
        )

    def _log_traffic(self, vpc: ec2.Vpc) -> logs.ILogGroup:
        props = self._props
        stack = Stack.of(self)
        log_group = logs.LogGroup(
            self,
            "FlowLogGroup",
            log_group_name=log_group_name(props.cluster, FLOW_LOGS),
            encryption_key=props.encryption_key,
            retention=retention(props.log_retention_days),
            removal_policy=props.removal_policy,
        )
        role = iam.Role(
            self,
            "FlowLogRole",
            description=f"Writes the flow logs of {props.cluster}",
            # VPC user guide, "IAM role for publishing flow logs": against the confused deputy.
            assumed_by=iam.ServicePrincipal(
                "vpc-flow-logs.amazonaws.com",
                conditions={
                    "StringEquals": {"aws:SourceAccount": stack.account},
                    "ArnLike": {
                        "aws:SourceArn": stack.format_arn(service="ec2", resource="vpc-flow-log", resource_name="*")
                    },
                },
            ),
        )
        vpc.add_flow_log(
            "FlowLog",
            destination=ec2.FlowLogDestination.to_cloud_watch_logs(log_group, role),
            traffic_type=ec2.FlowLogTrafficType.ALL,
            max_aggregation_interval=ec2.FlowLogMaxAggregationInterval.ONE_MINUTE,
        )
        return log_group

    def _gateway_endpoints(self) -> None:
        props = self._props
        # Passed by subnet: an imported VPC knows the route tables of its private subnets only.
        s3 = ec2.GatewayVpcEndpoint(
            self,
            "S3",
            vpc=self.vpc,
            service=ec2.GatewayVpcEndpointAwsService.S3,
            subnets=[self.private_subnets],
        )
        for statement in s3_endpoint_policy(self, props.data_buckets):
            s3.add_to_policy(statement)
        dynamodb = ec2.GatewayVpcEndpoint(
            self,
            "DynamoDb",
            vpc=self.vpc,
            service=ec2.GatewayVpcEndpointAwsService.DYNAMODB,
            subnets=[self.private_subnets],
        )
        for statement in dynamodb_endpoint_policy(self, props.cluster):
            dynamodb.add_to_policy(statement)

    def _interface_endpoints(self) -> ec2.SecurityGroup:
        props = self._props
        security_group = ec2.SecurityGroup(
            self,
            "EndpointSecurityGroup",
            vpc=self.vpc,
            description=f"Interface endpoints of {props.cluster}: 443 from the groups of its hosts only",
            # An endpoint answers; it never opens a connection.
            allow_all_outbound=False,
        )
        for each in props.interface_endpoints:
            endpoint = ec2.InterfaceVpcEndpoint(
                self,
                "".join(word.capitalize() for word in each.name.replace(".", "-").split("-")),
                vpc=self.vpc,
                service=interface_service(each.name),
                subnets=self.private_subnets,
                security_groups=[security_group],
                private_dns_enabled=True,
                # The CDK would open it to the whole address range of the VPC.
                open=False,
            )
            for statement in interface_endpoint_policy(self):
                endpoint.add_to_policy(statement)
        return security_group
