"""The security groups of the swarm's hosts, made from the table of ports and from nothing else."""

from dataclasses import dataclass

from aws_cdk import aws_ec2 as ec2
from constructs import Construct

from spark_constructs.network import SparkNetwork
from spark_constructs.ports import ENDPOINTS, GATEWAYS, IP_PROTOCOL, PortRule, rules_of


@dataclass(frozen=True)
class SwarmSecurityGroupsProps:
    """What SwarmSecurityGroups needs to know."""

    cluster: str
    """Name of the cluster."""
    network: SparkNetwork
    """The network whose hosts these are; its interface endpoints are opened to them."""
    gateway_prefix_lists: tuple[str, ...] = ()
    """Prefix lists of S3 and DynamoDB in the region (``pl-…``); default: none, and egress on 443 names any address.

    Prefix lists are not known at synthesis without asking AWS. A subnet without a NAT gateway has routes to its own
    VPC and to the gateway endpoints alone, so there the broader rule reaches no further."""


class SwarmSecurityGroups(Construct):
    """Two security groups, managers and workers, that talk to each other on Docker Swarm's ports only.

    Rules go from group to group, never to an address range but for the egress to S3 and DynamoDB that
    ``gateway_prefix_lists`` narrows. docs/ports.md shows them all.

    Example::

        groups = SwarmSecurityGroups(self, "Hosts", SwarmSecurityGroupsProps(cluster="analytics", network=network))
        template = ec2.LaunchTemplate(self, "Workers", security_group=groups.workers, ...)

    Attributes:
        managers: of the swarm's managers.
        workers: of the swarm's workers.
    """

    managers: ec2.SecurityGroup
    workers: ec2.SecurityGroup

    def __init__(self, scope: Construct, construct_id: str, props: SwarmSecurityGroupsProps) -> None:
        super().__init__(scope, construct_id)
        self.managers = self._group("Managers", props)
        self.workers = self._group("Workers", props)
        self._groups = {"managers": self.managers, "workers": self.workers}
        for rule in rules_of("swarm"):
            if rule.destination == ENDPOINTS:
                props.network.allow_endpoints_from(self._groups[rule.source], rule.source.capitalize())
            elif rule.destination == GATEWAYS:
                self._allow_gateways(rule, props.gateway_prefix_lists)
            else:
                self._allow_hosts(rule)

    def _group(self, name: str, props: SwarmSecurityGroupsProps) -> ec2.SecurityGroup:
        return ec2.SecurityGroup(
            self,
            name,
            vpc=props.network.vpc,
            description=f"Swarm {name.lower()} of {props.cluster}",
            allow_all_outbound=False,
        )

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
