"""The security groups of each target, made from the table of ports and from nothing else."""

from dataclasses import dataclass
from typing import Literal

from aws_cdk import aws_ec2 as ec2
from constructs import Construct

from spark_constructs.network import SparkNetwork
from spark_constructs.ports import (
    ENDPOINTS,
    FARGATE_GROUPS,
    GATEWAYS,
    IP_PROTOCOL,
    SWARM_GROUPS,
    YARN_GROUPS,
    PortRule,
    rules_of,
)


@dataclass(frozen=True)
class SecurityGroupsProps:
    """What the security groups of a target need to know."""

    cluster: str
    """Name of the cluster."""
    network: SparkNetwork
    """The network whose hosts these are; its interface endpoints are opened to them."""
    gateway_prefix_lists: tuple[str, ...] = ()
    """Prefix lists of S3 and DynamoDB in the region (``pl-…``); default: none, and egress on 443 names any address.

    Prefix lists are not known at synthesis without asking AWS. A subnet without a NAT gateway has routes to its own
    VPC and to the gateway endpoints alone, so there the broader rule reaches no further."""


class _TableOfPorts(Construct):
    """One group per name; rules go from group to group, never to an address range but for egress to S3 and DynamoDB."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        props: SecurityGroupsProps,
        target: Literal["swarm", "fargate", "yarn"],
        groups: dict[str, str],
    ) -> None:
        """``groups``: name in the table → description."""
        super().__init__(scope, construct_id)
        self._groups = {
            name: ec2.SecurityGroup(
                self,
                name.capitalize(),
                vpc=props.network.vpc,
                description=description,
                allow_all_outbound=False,
            )
            for name, description in groups.items()
        }
        for rule in rules_of(target):
            if rule.destination == ENDPOINTS:
                props.network.allow_endpoints_from(self._groups[rule.source], rule.source.capitalize())
            elif rule.destination == GATEWAYS:
                self._allow_gateways(rule, props.gateway_prefix_lists)
            else:
                self._allow_hosts(rule)

    def _allow_hosts(self, rule: PortRule) -> None:
        source, destination = self._groups[rule.source], self._groups[rule.destination]
        ec2.CfnSecurityGroupIngress(
            self,
            f"{rule.key}Ingress",
            group_id=destination.security_group_id,
            source_security_group_id=source.security_group_id,
            ip_protocol=IP_PROTOCOL[rule.protocol],
            from_port=rule.port,
            to_port=rule.port,
            description=rule.purpose,
        )
        ec2.CfnSecurityGroupEgress(
            self,
            f"{rule.key}Egress",
            group_id=source.security_group_id,
            destination_security_group_id=destination.security_group_id,
            ip_protocol=IP_PROTOCOL[rule.protocol],
            from_port=rule.port,
            to_port=rule.port,
            description=rule.purpose,
        )

    def _allow_gateways(self, rule: PortRule, prefix_lists: tuple[str, ...]) -> None:
        source = self._groups[rule.source]
        if not prefix_lists:
            ec2.CfnSecurityGroupEgress(
                self,
                f"{rule.key}Egress",
                group_id=source.security_group_id,
                cidr_ip="0.0.0.0/0",
                ip_protocol=IP_PROTOCOL[rule.protocol],
                from_port=rule.port,
                to_port=rule.port,
                description=rule.purpose,
            )
        for index, prefix_list in enumerate(prefix_lists):
            ec2.CfnSecurityGroupEgress(
                self,
                f"{rule.key}Egress{index}",
                group_id=source.security_group_id,
                destination_prefix_list_id=prefix_list,
                ip_protocol=IP_PROTOCOL[rule.protocol],
                from_port=rule.port,
                to_port=rule.port,
                description=rule.purpose,
            )


class SwarmSecurityGroups(_TableOfPorts):
    """Two security groups, managers and workers, that talk to each other on Docker Swarm's ports only.

    ``gateway_prefix_lists`` narrows the egress to S3 and DynamoDB. docs/ports.md shows all rules.

    Example::

        groups = SwarmSecurityGroups(self, "Hosts", SecurityGroupsProps(cluster="analytics", network=network))
        template = ec2.LaunchTemplate(self, "Workers", security_group=groups.workers, ...)

    Attributes:
        managers: of the swarm's managers.
        workers: of the swarm's workers.
    """

    managers: ec2.SecurityGroup
    workers: ec2.SecurityGroup

    def __init__(self, scope: Construct, construct_id: str, props: SecurityGroupsProps) -> None:
        groups = {name: f"Swarm {name} of {props.cluster}" for name in SWARM_GROUPS}
        super().__init__(scope, construct_id, props, "swarm", groups)
        self.managers, self.workers = self._groups["managers"], self._groups["workers"]


class FargateSecurityGroups(_TableOfPorts):
    """Two security groups, drivers and executors, that talk to each other on two fixed ports of Spark only.

    Example::

        groups = FargateSecurityGroups(self, "Tasks", SecurityGroupsProps(cluster="analytics", network=network))

    Attributes:
        drivers: of the tasks that run drivers and shells.
        executors: of the tasks that run executors.
    """

    drivers: ec2.SecurityGroup
    executors: ec2.SecurityGroup

    def __init__(self, scope: Construct, construct_id: str, props: SecurityGroupsProps) -> None:
        groups = {name: f"Fargate {name} of {props.cluster}" for name in FARGATE_GROUPS}
        super().__init__(scope, construct_id, props, "fargate", groups)
        self.drivers, self.executors = self._groups["drivers"], self._groups["executors"]


class YarnSecurityGroups(_TableOfPorts):
    """Two security groups, masters and nodes, that talk to each other on Hadoop's and Spark's documented ports only.

    Example::

        groups = YarnSecurityGroups(self, "Hosts", SecurityGroupsProps(cluster="analytics", network=network))

    Attributes:
        masters: of the host of ResourceManager, NameNode and KDC.
        nodes: of the hosts of NodeManagers and DataNodes, and of their containers.
    """

    masters: ec2.SecurityGroup
    nodes: ec2.SecurityGroup

    def __init__(self, scope: Construct, construct_id: str, props: SecurityGroupsProps) -> None:
        groups = {name: f"YARN {name} of {props.cluster}" for name in YARN_GROUPS}
        super().__init__(scope, construct_id, props, "yarn", groups)
        self.masters, self.nodes = self._groups["masters"], self._groups["nodes"]
