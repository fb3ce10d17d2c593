"""Everything of the kinds we make that is still in the emulated account: what a complete `destroy` leaves empty."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from emulation.aws.embedded import EmbeddedAws

_GONE = {"deleted", "terminated", "DELETE_COMPLETE", "INACTIVE", "PendingDeletion"}
_Client = Callable[[str], Any]


def leftovers(aws: EmbeddedAws, *, region: str | None = None, pending_keys: bool = False) -> dict[str, list[str]]:
    """Kind → sorted names or ids; kinds with nothing left are not in it.

    Left out are the CDK's bootstrap stack with its resources and what an account has from the beginning (default VPC,
    AWS-managed keys, public parameters). KMS keys scheduled for deletion count only with `pending_keys`: KMS itself
    knows no quicker end.
    """

    def client(service: str) -> Any:
        return aws.client(service, region)

    toolkit = _toolkit(client)
    found: dict[str, list[str]] = {}
    for kind, listing in _LISTINGS.items():
        names = sorted(name for name in listing(client) if name not in toolkit)
        if names:
            found[kind] = names
    if pending_keys:
        keys = sorted(_keys(client, {"PendingDeletion"}))
        found |= {"kms keys pending deletion": keys} if keys else {}
    return found


def _toolkit(client: _Client) -> set[str]:
    cloudformation = client("cloudformation")
    stacks = [stack["StackName"] for stack in cloudformation.describe_stacks()["Stacks"]]
    if "CDKToolkit" not in stacks:
        return set()
    resources = cloudformation.describe_stack_resources(StackName="CDKToolkit")["StackResources"]
    outputs = next(s for s in cloudformation.describe_stacks(StackName="CDKToolkit")["Stacks"]).get("Outputs", [])
    exports = {output["ExportName"] for output in outputs if "ExportName" in output}
    return {"CDKToolkit", *exports, *(one["PhysicalResourceId"] for one in resources)}


def _pages(client: Any, operation: str, *path: str, **parameters: Any) -> Iterator[Any]:
    if client.can_paginate(operation):
        answers: Iterable[Any] = client.get_paginator(operation).paginate(**parameters)
    else:
        answers = [getattr(client, operation)(**parameters)]
    for answer in answers:
        yield from answer.get(path[0]) or []


def _names(
    service: str, operation: str, member: str, key: str | None, **parameters: Any
) -> Callable[[_Client], list[str]]:
    """A listing whose items are named by `key` (or are names themselves), those that are gone left out."""

    def listing(client: _Client) -> list[str]:
        items = _pages(client(service), operation, member, **parameters)
        return [str(item if key is None else item[key]) for item in items if not _is_gone(item)]

    return listing


def _is_gone(item: Any) -> bool:
    return isinstance(item, dict) and any(item.get(name) in _GONE for name in ("State", "StackStatus", "status"))


def _default_vpcs(client: _Client) -> set[str]:
    return {vpc["VpcId"] for vpc in client("ec2").describe_vpcs()["Vpcs"] if vpc["IsDefault"]}


def _in_vpcs(operation: str, member: str, key: str, keep: Callable[[Any], bool]) -> Callable[[_Client], list[str]]:
    def listing(client: _Client) -> list[str]:
        defaults = _default_vpcs(client)
        items = _pages(client("ec2"), operation, member)
        return [item[key] for item in items if item.get("VpcId") not in defaults and keep(item) and not _is_gone(item)]

    return listing


def _instances(client: _Client) -> list[str]:
    reservations = _pages(client("ec2"), "describe_instances", "Reservations")
    instances = [instance for reservation in reservations for instance in reservation["Instances"]]
    return [one["InstanceId"] for one in instances if one["State"]["Name"] != "terminated"]


def _internet_gateways(client: _Client) -> list[str]:
    defaults = _default_vpcs(client)
    gateways = _pages(client("ec2"), "describe_internet_gateways", "InternetGateways")
    return [
        gateway["InternetGatewayId"]
        for gateway in gateways
        if not {attachment["VpcId"] for attachment in gateway["Attachments"]} & defaults
    ]


def _keys(client: _Client, states: set[str]) -> list[str]:
    kms = client("kms")
    managed = {
        a.get("TargetKeyId") for a in _pages(kms, "list_aliases", "Aliases") if a["AliasName"].startswith("alias/aws/")
    }
    described = (kms.describe_key(KeyId=k["KeyId"])["KeyMetadata"] for k in _pages(kms, "list_keys", "Keys"))
    return [key["KeyId"] for key in described if key["KeyId"] not in managed and key["KeyState"] in states]


def _live_keys(client: _Client) -> list[str]:
    return _keys(client, {"Enabled", "Disabled"})


def _aliases(client: _Client) -> list[str]:
    aliases = _pages(client("kms"), "list_aliases", "Aliases")
    return [alias["AliasName"] for alias in aliases if not alias["AliasName"].startswith("alias/aws/")]


def _parameters(client: _Client) -> list[str]:
    names = (one["Name"] for one in _pages(client("ssm"), "describe_parameters", "Parameters"))
    return [name for name in names if not name.startswith("/aws/")]


def _hooks(client: _Client) -> list[str]:
    # Hooks are listed by group, and a group that is gone cannot be asked; their groups' own listing covers them.
    autoscaling = client("autoscaling")
    groups = [
        g["AutoScalingGroupName"] for g in _pages(autoscaling, "describe_auto_scaling_groups", "AutoScalingGroups")
    ]
    found = []
    for group in groups:
        hooks = autoscaling.describe_lifecycle_hooks(AutoScalingGroupName=group)["LifecycleHooks"]
        found += [f"{group}/{hook['LifecycleHookName']}" for hook in hooks]
    return found


def _budgets(client: _Client) -> list[str]:
    account = client("sts").get_caller_identity()["Account"]
    return [one["BudgetName"] for one in _pages(client("budgets"), "describe_budgets", "Budgets", AccountId=account)]


def _roles(client: _Client) -> list[str]:
    roles = _pages(client("iam"), "list_roles", "Roles")
    return [role["RoleName"] for role in roles if not role["Path"].startswith("/aws-service-role/")]


def _clusters(client: _Client) -> list[str]:
    arns = client("ecs").list_clusters()["clusterArns"]  # moto lists deleted ones too
    described = client("ecs").describe_clusters(clusters=arns)["clusters"] if arns else []
    return [one["clusterName"] for one in described if one["status"] == "ACTIVE"]


def _anything(_: Any) -> bool:
    return True


_LISTINGS: dict[str, Callable[[_Client], list[str]]] = {
    "stacks": _names("cloudformation", "describe_stacks", "Stacks", "StackName"),
    "exports": _names("cloudformation", "list_exports", "Exports", "Name"),
    "vpcs": _in_vpcs("describe_vpcs", "Vpcs", "VpcId", lambda vpc: not vpc["IsDefault"]),
    "subnets": _in_vpcs("describe_subnets", "Subnets", "SubnetId", _anything),
    "route tables": _in_vpcs("describe_route_tables", "RouteTables", "RouteTableId", _anything),
    "internet gateways": _internet_gateways,
    "nat gateways": _in_vpcs("describe_nat_gateways", "NatGateways", "NatGatewayId", _anything),
    "elastic ips": _names("ec2", "describe_addresses", "Addresses", "PublicIp"),
    "security groups": _in_vpcs("describe_security_groups", "SecurityGroups", "GroupId", _anything),
    "vpc endpoints": _in_vpcs("describe_vpc_endpoints", "VpcEndpoints", "VpcEndpointId", _anything),
    "network interfaces": _in_vpcs("describe_network_interfaces", "NetworkInterfaces", "NetworkInterfaceId", _anything),
    "flow logs": _names("ec2", "describe_flow_logs", "FlowLogs", "FlowLogId"),
    "launch templates": _names("ec2", "describe_launch_templates", "LaunchTemplates", "LaunchTemplateId"),
    "instances": _instances,
    "volumes": _names("ec2", "describe_volumes", "Volumes", "VolumeId"),
    "auto scaling groups": _names(
        "autoscaling", "describe_auto_scaling_groups", "AutoScalingGroups", "AutoScalingGroupName"
    ),
    "lifecycle hooks": _hooks,
    "roles": _roles,
    "managed policies": _names("iam", "list_policies", "Policies", "Arn", Scope="Local"),
    "instance profiles": _names("iam", "list_instance_profiles", "InstanceProfiles", "InstanceProfileName"),
    "buckets": _names("s3", "list_buckets", "Buckets", "Name"),
    "log groups": _names("logs", "describe_log_groups", "logGroups", "logGroupName"),
    "kms keys": _live_keys,
    "kms aliases": _aliases,
    "ssm parameters": _parameters,
    "ssm documents": _names(
        "ssm", "list_documents", "DocumentIdentifiers", "Name", Filters=[{"Key": "Owner", "Values": ["Self"]}]
    ),
    "secrets": _names("secretsmanager", "list_secrets", "SecretList", "Name"),
    "dynamodb tables": _names("dynamodb", "list_tables", "TableNames", None),
    "functions": _names("lambda", "list_functions", "Functions", "FunctionName"),
    "event rules": _names("events", "list_rules", "Rules", "Name"),
    "topics": _names("sns", "list_topics", "Topics", "TopicArn"),
    "queues": _names("sqs", "list_queues", "QueueUrls", None),
    "alarms": _names("cloudwatch", "describe_alarms", "MetricAlarms", "AlarmName"),
    "dashboards": _names("cloudwatch", "list_dashboards", "DashboardEntries", "DashboardName"),
    "ecr repositories": _names("ecr", "describe_repositories", "repositories", "repositoryName"),
    "ecs clusters": _clusters,
    "task definitions": _names("ecs", "list_task_definitions", "taskDefinitionArns", None, status="ACTIVE"),
    "budgets": _budgets,
}
