"""VPCs, subnets, gateways, routes and flow logs."""

from __future__ import annotations

from emulation.aws.cloudformation.errors import ResourceFailed
from emulation.aws.resources.ec2_tags import retag, tagged
from emulation.aws.resources.provider import Context, Made, Properties, Provider, updatable, without


class Vpc(Provider):
    """A VPC with its DNS attributes."""

    type_name = "AWS::EC2::VPC"

    def create(self, context: Context, properties: Properties) -> Made:
        """CreateVpc."""
        wanted = without(properties, "Tags", "EnableDnsSupport", "EnableDnsHostnames")
        wanted["TagSpecifications"] = tagged(context, "vpc", properties)
        vpc = context.call("ec2", "create_vpc", wanted)["Vpc"]
        group = context.call("ec2", "describe_security_groups", {"Filters": _default_of(vpc["VpcId"], "group-name")})
        acl = context.call("ec2", "describe_network_acls", {"Filters": _default_of(vpc["VpcId"], "default")})
        return Made(
            vpc["VpcId"],
            {
                "VpcId": vpc["VpcId"],
                "CidrBlock": vpc["CidrBlock"],
                "CidrBlockAssociations": [one["AssociationId"] for one in vpc.get("CidrBlockAssociationSet", [])],
                "DefaultSecurityGroup": group["SecurityGroups"][0]["GroupId"],
                "DefaultNetworkAcl": acl["NetworkAcls"][0]["NetworkAclId"],
                "Ipv6CidrBlocks": [],
            },
        )

    def configure(self, context: Context, made: Made, old: Properties, new: Properties) -> Made:
        """ModifyVpcAttribute."""
        for name in ("EnableDnsSupport", "EnableDnsHostnames"):
            if name in new and new[name] != old.get(name):
                context.call("ec2", "modify_vpc_attribute", {"VpcId": made.physical_id, name: {"Value": new[name]}})
        return made

    def update(self, context: Context, made: Made, old: Properties, new: Properties) -> Made:
        """DNS attributes and tags change in place."""
        updatable(old, new, "Tags", "EnableDnsSupport", "EnableDnsHostnames")
        retag(context, made.physical_id, old, new)
        return self.configure(context, made, old, new)

    def delete(self, context: Context, made: Made, properties: Properties) -> None:
        """DeleteVpc."""
        context.try_delete("ec2", "delete_vpc", {"VpcId": made.physical_id})


def _default_of(vpc: str, name: str) -> list[dict[str, object]]:
    value = "true" if name == "default" else "default"
    return [{"Name": "vpc-id", "Values": [vpc]}, {"Name": name, "Values": [value]}]


class Subnet(Provider):
    """A subnet."""

    type_name = "AWS::EC2::Subnet"

    def create(self, context: Context, properties: Properties) -> Made:
        """CreateSubnet."""
        wanted = without(properties, "Tags", "MapPublicIpOnLaunch")
        wanted["TagSpecifications"] = tagged(context, "subnet", properties)
        subnet = context.call("ec2", "create_subnet", wanted)["Subnet"]
        attributes = {name: subnet[name] for name in ("SubnetId", "VpcId", "AvailabilityZone", "CidrBlock")}
        return Made(
            subnet["SubnetId"], attributes | {"Ipv6CidrBlocks": [], "NetworkAclAssociationId": "aclassoc-emulated"}
        )

    def configure(self, context: Context, made: Made, old: Properties, new: Properties) -> Made:
        """ModifySubnetAttribute."""
        if "MapPublicIpOnLaunch" in new:
            value = {"Value": new["MapPublicIpOnLaunch"]}
            context.call("ec2", "modify_subnet_attribute", {"SubnetId": made.physical_id, "MapPublicIpOnLaunch": value})
        return made

    def update(self, context: Context, made: Made, old: Properties, new: Properties) -> Made:
        """Public addresses and tags change in place."""
        updatable(old, new, "Tags", "MapPublicIpOnLaunch")
        retag(context, made.physical_id, old, new)
        return self.configure(context, made, old, new)

    def delete(self, context: Context, made: Made, properties: Properties) -> None:
        """DeleteSubnet."""
        context.try_delete("ec2", "delete_subnet", {"SubnetId": made.physical_id})


class InternetGateway(Provider):
    """An internet gateway."""

    type_name = "AWS::EC2::InternetGateway"

    def create(self, context: Context, properties: Properties) -> Made:
        """CreateInternetGateway."""
        wanted = {"TagSpecifications": tagged(context, "internet-gateway", properties)}
        made = context.call("ec2", "create_internet_gateway", wanted)["InternetGateway"]["InternetGatewayId"]
        return Made(made, {"InternetGatewayId": made})

    def update(self, context: Context, made: Made, old: Properties, new: Properties) -> Made:
        """Tags only."""
        retag(context, made.physical_id, old, new)
        return made

    def delete(self, context: Context, made: Made, properties: Properties) -> None:
        """DeleteInternetGateway."""
        context.try_delete("ec2", "delete_internet_gateway", {"InternetGatewayId": made.physical_id})


class GatewayAttachment(Provider):
    """An internet gateway in a VPC."""

    type_name = "AWS::EC2::VPCGatewayAttachment"

    def create(self, context: Context, properties: Properties) -> Made:
        """AttachInternetGateway."""
        context.call("ec2", "attach_internet_gateway", dict(properties))
        return Made(f"IGW|{properties['VpcId']}", {"AttachmentType": "IGW"})

    def delete(self, context: Context, made: Made, properties: Properties) -> None:
        """DetachInternetGateway."""
        context.try_delete("ec2", "detach_internet_gateway", properties)


class RouteTable(Provider):
    """A route table."""

    type_name = "AWS::EC2::RouteTable"

    def create(self, context: Context, properties: Properties) -> Made:
        """CreateRouteTable."""
        wanted = {"VpcId": properties["VpcId"], "TagSpecifications": tagged(context, "route-table", properties)}
        table = context.call("ec2", "create_route_table", wanted)["RouteTable"]["RouteTableId"]
        return Made(table, {"RouteTableId": table})

    def update(self, context: Context, made: Made, old: Properties, new: Properties) -> Made:
        """Tags only."""
        updatable(old, new, "Tags")
        retag(context, made.physical_id, old, new)
        return made

    def delete(self, context: Context, made: Made, properties: Properties) -> None:
        """DeleteRouteTable."""
        context.try_delete("ec2", "delete_route_table", {"RouteTableId": made.physical_id})


class Route(Provider):
    """One route of a table."""

    type_name = "AWS::EC2::Route"

    def create(self, context: Context, properties: Properties) -> Made:
        """CreateRoute."""
        context.call("ec2", "create_route", dict(properties))
        return Made(
            f"{properties['RouteTableId']}|{_destination(properties)[1]}", {"CidrBlock": _destination(properties)[1]}
        )

    def delete(self, context: Context, made: Made, properties: Properties) -> None:
        """DeleteRoute."""
        name, value = _destination(properties)
        context.try_delete("ec2", "delete_route", {"RouteTableId": properties["RouteTableId"], name: value})


def _destination(properties: Properties) -> tuple[str, str]:
    for name in ("DestinationCidrBlock", "DestinationIpv6CidrBlock", "DestinationPrefixListId"):
        if name in properties:
            return name, str(properties[name])
    raise ResourceFailed("Model validation failed (#: a route needs a destination)")


class RouteTableAssociation(Provider):
    """A subnet's route table."""

    type_name = "AWS::EC2::SubnetRouteTableAssociation"

    def create(self, context: Context, properties: Properties) -> Made:
        """AssociateRouteTable."""
        association = context.call("ec2", "associate_route_table", dict(properties))["AssociationId"]
        return Made(association, {"Id": association})

    def delete(self, context: Context, made: Made, properties: Properties) -> None:
        """DisassociateRouteTable."""
        context.try_delete("ec2", "disassociate_route_table", {"AssociationId": made.physical_id})


class ElasticIp(Provider):
    """An elastic IP address."""

    type_name = "AWS::EC2::EIP"

    def create(self, context: Context, properties: Properties) -> Made:
        """AllocateAddress."""
        wanted = without(properties, "Tags") | {"TagSpecifications": tagged(context, "elastic-ip", properties)}
        address = context.call("ec2", "allocate_address", wanted)
        return Made(address["PublicIp"], {"AllocationId": address["AllocationId"], "PublicIp": address["PublicIp"]})

    def update(self, context: Context, made: Made, old: Properties, new: Properties) -> Made:
        """Tags only."""
        updatable(old, new, "Tags")
        retag(context, made.attributes["AllocationId"], old, new)
        return made

    def delete(self, context: Context, made: Made, properties: Properties) -> None:
        """ReleaseAddress."""
        context.try_delete("ec2", "release_address", {"AllocationId": made.attributes["AllocationId"]})


class NatGateway(Provider):
    """A NAT gateway."""

    type_name = "AWS::EC2::NatGateway"

    def create(self, context: Context, properties: Properties) -> Made:
        """CreateNatGateway."""
        wanted = without(properties, "Tags") | {"TagSpecifications": tagged(context, "natgateway", properties)}
        gateway = context.call("ec2", "create_nat_gateway", wanted)["NatGateway"]["NatGatewayId"]
        return Made(gateway, {"NatGatewayId": gateway})

    def update(self, context: Context, made: Made, old: Properties, new: Properties) -> Made:
        """Tags only."""
        updatable(old, new, "Tags")
        retag(context, made.physical_id, old, new)
        return made

    def delete(self, context: Context, made: Made, properties: Properties) -> None:
        """DeleteNatGateway, and its network interface, which moto leaves behind."""
        gateway = {"NatGatewayId": made.physical_id}
        described = context.call("ec2", "describe_nat_gateways", {"NatGatewayIds": [made.physical_id]})["NatGateways"]
        context.try_delete("ec2", "delete_nat_gateway", gateway)
        for address in (one for found in described for one in found.get("NatGatewayAddresses", [])):
            if "NetworkInterfaceId" in address:
                interface = {"NetworkInterfaceId": address["NetworkInterfaceId"]}
                context.try_delete("ec2", "delete_network_interface", interface)


class FlowLog(Provider):
    """A flow log of a VPC, subnet or interface."""

    type_name = "AWS::EC2::FlowLog"

    def create(self, context: Context, properties: Properties) -> Made:
        """CreateFlowLogs."""
        wanted = without(properties, "ResourceId", "Tags") | {"ResourceIds": [properties["ResourceId"]]}
        wanted["TagSpecifications"] = tagged(context, "vpc-flow-log", properties)
        answer = context.call("ec2", "create_flow_logs", wanted)
        if answer.get("Unsuccessful"):
            raise ResourceFailed(str(answer["Unsuccessful"][0]["Error"]["Message"]))
        return Made(answer["FlowLogIds"][0], {"Id": answer["FlowLogIds"][0]})

    def update(self, context: Context, made: Made, old: Properties, new: Properties) -> Made:
        """Tags only."""
        updatable(old, new, "Tags")
        retag(context, made.physical_id, old, new)
        return made

    def delete(self, context: Context, made: Made, properties: Properties) -> None:
        """DeleteFlowLogs."""
        context.try_delete("ec2", "delete_flow_logs", {"FlowLogIds": [made.physical_id]})
