"""VPC endpoints, gateway and interface."""

from __future__ import annotations

from typing import Any

from emulation.aws.resources.ec2_tags import retag, tagged
from emulation.aws.resources.provider import Context, Made, Properties, Provider, as_json, updatable, without

_LISTS = ("RouteTableIds", "SubnetIds", "SecurityGroupIds")


class VpcEndpoint(Provider):
    """A gateway or interface endpoint."""

    type_name = "AWS::EC2::VPCEndpoint"

    def create(self, context: Context, properties: Properties) -> Made:
        """CreateVpcEndpoint."""
        wanted = without(properties, "Tags", "PolicyDocument")
        if "PolicyDocument" in properties:
            wanted["PolicyDocument"] = as_json(properties["PolicyDocument"])
        wanted["TagSpecifications"] = tagged(context, "vpc-endpoint", properties)
        made = context.call("ec2", "create_vpc_endpoint", wanted)["VpcEndpoint"]
        entries = made.get("DnsEntries") or []
        return Made(
            made["VpcEndpointId"],
            {
                "Id": made["VpcEndpointId"],
                "CreationTimestamp": str(made.get("CreationTimestamp", "")),
                "DnsEntries": [f"{entry.get('HostedZoneId', '')}:{entry.get('DnsName', '')}" for entry in entries],
                "NetworkInterfaceIds": made.get("NetworkInterfaceIds") or [],
            },
        )

    def update(self, context: Context, made: Made, old: Properties, new: Properties) -> Made:
        """ModifyVpcEndpoint: policy, private DNS, and what it is attached to."""
        updatable(old, new, "Tags", "PolicyDocument", "PrivateDnsEnabled", *_LISTS)
        change: dict[str, Any] = {}
        if old.get("PolicyDocument") != new.get("PolicyDocument"):
            change["PolicyDocument"] = as_json(new.get("PolicyDocument") or {})
        if old.get("PrivateDnsEnabled") != new.get("PrivateDnsEnabled"):
            change["PrivateDnsEnabled"] = new.get("PrivateDnsEnabled", False)
        for name in _LISTS:
            before, after = set(old.get(name) or []), set(new.get(name) or [])
            if before != after:
                change |= {f"Add{name}": sorted(after - before), f"Remove{name}": sorted(before - after)}
        if change:
            context.call("ec2", "modify_vpc_endpoint", change | {"VpcEndpointId": made.physical_id})
        retag(context, made.physical_id, old, new)
        return made

    def delete(self, context: Context, made: Made, properties: Properties) -> None:
        """DeleteVpcEndpoints."""
        context.try_delete("ec2", "delete_vpc_endpoints", {"VpcEndpointIds": [made.physical_id]})
