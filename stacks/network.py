"""The stack of the VPC, its endpoints and the hosts' security groups."""

from aws_cdk import aws_kms as kms
from constructs import Construct

from spark_constructs.config import Deployment
from spark_constructs.endpoints import (
    FARGATE_ENDPOINTS,
    SWARM_ENDPOINTS,
    YARN_ENDPOINTS,
    DataBucketAccess,
    InterfaceEndpoint,
)
from spark_constructs.network import ExistingVpc, SparkNetwork, SparkNetworkProps
from spark_constructs.security_groups import SecurityGroupsProps, SwarmSecurityGroups
from stacks.base import SparkvaultStack
from stacks.storage import StorageStack


class MissingKeyError(ValueError):
    """A network stack was to be made without a key for its logs."""


class NetworkStack(SparkvaultStack):
    """``<cluster>-network``: where everything runs, and who may talk to whom."""

    network: SparkNetwork
    security_groups: SwarmSecurityGroups
    """Of the swarm's hosts; only where the swarm is a target."""

    def __init__(
        self, scope: Construct, construct_id: str, *, deployment: Deployment, storage: StorageStack | None = None
    ) -> None:
        """Without a storage stack the logs' key must be a given one, ``kms_key_arn``; else MissingKeyError."""
        super().__init__(
            scope,
            construct_id,
            deployment=deployment,
            part="network",
            description="sparkvault: VPC, endpoints and security groups",
        )
        self.network = SparkNetwork(
            self,
            "Network",
            SparkNetworkProps(
                cluster=deployment.cluster,
                encryption_key=storage.storage.key if storage is not None else self._given_key(),
                cidr=deployment.network.cidr,
                zones=len(deployment.network.availability_zones) or deployment.network.zones,
                availability_zones=tuple(deployment.network.availability_zones),
                nat_gateways=deployment.network.nat_gateways,
                flow_logs=deployment.network.flow_logs,
                log_retention_days=deployment.logging.retention_days,
                removal_policy=self.removal_policy,
                interface_endpoints=interface_endpoints(deployment),
                data_buckets=tuple(
                    DataBucketAccess(data.bucket, data.prefix, data.mode == "read-write") for data in deployment.data
                ),
                existing=existing_vpc(deployment),
            ),
        )
        self.output("VpcId", self.network.vpc.vpc_id, "VPC in which everything runs")
        self.output("PrivateSubnetIds", ",".join(self.network.private_subnet_ids), "Private subnets, one per zone")
        if "swarm" in deployment.targets:
            self._swarm()
        if self.network.endpoint_security_group is not None:
            self.output(
                "EndpointSecurityGroupId",
                self.network.endpoint_security_group.security_group_id,
                "Security group of the interface endpoints",
            )

    def _swarm(self) -> None:
        self.security_groups = SwarmSecurityGroups(
            self,
            "Swarm",
            SecurityGroupsProps(
                cluster=self.deployment.cluster,
                network=self.network,
                gateway_prefix_lists=tuple(self.deployment.network.gateway_prefix_lists),
            ),
        )
        self.output(
            "ManagersSecurityGroupId",
            self.security_groups.managers.security_group_id,
            "Security group of the swarm's managers",
        )
        self.output(
            "WorkersSecurityGroupId",
            self.security_groups.workers.security_group_id,
            "Security group of the swarm's workers",
        )

    def _given_key(self) -> kms.IKey:
        arn = self.deployment.kms_key_arn
        if arn is None:
            raise MissingKeyError("the network's logs need a key: give a storage stack, or kms_key_arn")
        return kms.Key.from_key_arn(self, "Key", arn)


def interface_endpoints(deployment: Deployment) -> tuple[InterfaceEndpoint, ...]:
    """The interface endpoints that the deployment's targets need; none where the given VPC has them."""
    if not deployment.network.interface_endpoints:
        return ()
    more = (
        *(FARGATE_ENDPOINTS if "fargate" in deployment.targets else ()),
        *(YARN_ENDPOINTS if "yarn" in deployment.targets else ()),
    )
    # Two targets may need the same one.
    return SWARM_ENDPOINTS + tuple({endpoint.name: endpoint for endpoint in reversed(more)}.values())[::-1]


def existing_vpc(deployment: Deployment) -> ExistingVpc | None:
    """The VPC that is there already, if the configuration names one."""
    network = deployment.network
    if network.vpc_id is None or network.vpc_cidr is None:
        return None
    return ExistingVpc(
        vpc_id=network.vpc_id,
        cidr=network.vpc_cidr,
        availability_zones=tuple(network.availability_zones),
        private_subnet_ids=tuple(network.private_subnet_ids),
        private_route_table_ids=tuple(network.private_route_table_ids),
    )
