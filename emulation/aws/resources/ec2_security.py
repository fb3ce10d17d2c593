"""Security groups and their rules."""

from __future__ import annotations

import json
from typing import Any

from emulation.aws.cloudformation.errors import ResourceFailed
from emulation.aws.resources.ec2_tags import retag, tagged
from emulation.aws.resources.provider import Context, Made, Properties, Provider, updatable, without

_ANYWHERE = {"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}


class SecurityGroup(Provider):
    """A security group; like CloudFormation it drops the default egress rule when egress is given."""

    type_name = "AWS::EC2::SecurityGroup"

    def create(self, context: Context, properties: Properties) -> Made:
        """CreateSecurityGroup."""
        wanted = {
            "GroupName": properties.get("GroupName") or context.name(255),
            "Description": properties["GroupDescription"],
            "TagSpecifications": tagged(context, "security-group", properties),
        }
        if "VpcId" in properties:
            wanted["VpcId"] = properties["VpcId"]
        unknown = without(
            properties, "GroupName", "GroupDescription", "Tags", "VpcId", "SecurityGroupIngress", "SecurityGroupEgress"
        )
        if unknown:
            raise ResourceFailed(f"Encountered unsupported property {', '.join(unknown)}")
        group = context.call("ec2", "create_security_group", wanted)["GroupId"]
        return Made(group, {"GroupId": group, "Id": group, "VpcId": properties.get("VpcId", "")})

    def configure(self, context: Context, made: Made, old: Properties, new: Properties) -> Made:
        """Authorize and revoke what differs."""
        for direction in ("ingress", "egress"):
            name = f"SecurityGroup{direction.title()}"
            before, after = ([_permission(rule) for rule in rules.get(name) or []] for rules in (old, new))
            if direction == "egress":
                before, after = ((rules or [_ANYWHERE]) for rules in (before, after))
                before = before if old else [_ANYWHERE]
            _revoke(context, made.physical_id, direction, [rule for rule in before if rule not in after])
            _authorize(context, made.physical_id, direction, [rule for rule in after if rule not in before])
        return made

    def update(self, context: Context, made: Made, old: Properties, new: Properties) -> Made:
        """Rules and tags change in place."""
        updatable(old, new, "Tags", "SecurityGroupIngress", "SecurityGroupEgress")
        retag(context, made.physical_id, old, new)
        return self.configure(context, made, old, new)

    def delete(self, context: Context, made: Made, properties: Properties) -> None:
        """DeleteSecurityGroup."""
        context.try_delete("ec2", "delete_security_group", {"GroupId": made.physical_id})


class Ingress(Provider):
    """One ingress rule as a resource of its own."""

    type_name = "AWS::EC2::SecurityGroupIngress"
    direction = "ingress"

    def create(self, context: Context, properties: Properties) -> Made:
        """Authorize the rule."""
        rule = _permission(without(properties, "GroupId", "GroupName"))
        made = _authorize(context, properties["GroupId"], self.direction, [rule])
        return Made(made, {"Id": made})

    def delete(self, context: Context, made: Made, properties: Properties) -> None:
        """Revoke the rule."""
        _revoke(
            context, properties["GroupId"], self.direction, [_permission(without(properties, "GroupId", "GroupName"))]
        )


class Egress(Ingress):
    """One egress rule as a resource of its own."""

    type_name = "AWS::EC2::SecurityGroupEgress"
    direction = "egress"


class RestrictDefaultSecurityGroup(Provider):
    """CDK's `Custom::VpcRestrictDefaultSG`, done here as its Lambda function would: the default group loses its rules.

    Nothing executes functions in the embedded AWS; the function itself is created and left alone.
    """

    type_name = "Custom::VpcRestrictDefaultSG"

    def create(self, context: Context, properties: Properties) -> Made:
        """Revoke "all from the group itself" and "all to anywhere"."""
        group = properties["DefaultSecurityGroupId"]
        own = {"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": group, "UserId": properties["Account"]}]}
        _revoke(context, group, "ingress", [own])
        _revoke(context, group, "egress", [_ANYWHERE])
        return Made(f"{context.stack_name}-{context.logical_id}")

    def update(self, context: Context, made: Made, old: Properties, new: Properties) -> Made:
        """Another group, another revocation."""
        if old.get("DefaultSecurityGroupId") != new.get("DefaultSecurityGroupId"):
            self.create(context, new)
        return made

    def delete(self, context: Context, made: Made, properties: Properties) -> None:
        """Put the default rules back, as the function does."""
        group = properties["DefaultSecurityGroupId"]
        own = {"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": group, "UserId": properties["Account"]}]}
        for direction, rule in (("ingress", own), ("egress", _ANYWHERE)):
            _authorize(context, group, direction, [rule])


def _permission(rule: Properties) -> dict[str, Any]:
    """CloudFormation's rule as an `IpPermission`."""
    permission: dict[str, Any] = {"IpProtocol": str(rule["IpProtocol"])}
    for name in ("FromPort", "ToPort"):
        if name in rule:
            permission[name] = int(rule[name])
    text = {"Description": rule["Description"]} if rule.get("Description") else {}
    group = rule.get("SourceSecurityGroupId") or rule.get("DestinationSecurityGroupId")
    prefix = rule.get("SourcePrefixListId") or rule.get("DestinationPrefixListId")
    if group:
        owner = {"UserId": rule["SourceSecurityGroupOwnerId"]} if "SourceSecurityGroupOwnerId" in rule else {}
        permission["UserIdGroupPairs"] = [{"GroupId": group} | owner | text]
    elif prefix:
        permission["PrefixListIds"] = [{"PrefixListId": prefix} | text]
    elif "CidrIpv6" in rule:
        permission["Ipv6Ranges"] = [{"CidrIpv6": rule["CidrIpv6"]} | text]
    elif "CidrIp" in rule:
        permission["IpRanges"] = [{"CidrIp": rule["CidrIp"]} | text]
    else:
        raise ResourceFailed(
            f"Model validation failed (#: a rule needs a source or destination: {json.dumps(dict(rule))})"
        )
    return permission


def _authorize(context: Context, group: str, direction: str, rules: list[dict[str, Any]]) -> str:
    made = ""
    for rule in rules:
        answer = context.call(
            "ec2", f"authorize_security_group_{direction}", {"GroupId": group, "IpPermissions": [rule]}
        )
        made = (answer.get("SecurityGroupRules") or [{}])[0].get("SecurityGroupRuleId") or f"sgr-{group}"
    return made


def _revoke(context: Context, group: str, direction: str, rules: list[dict[str, Any]]) -> None:
    for rule in rules:
        operation = f"revoke_security_group_{direction}"
        context.try_delete("ec2", operation, {"GroupId": group, "IpPermissions": [rule]})
