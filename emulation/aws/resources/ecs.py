"""ECS clusters, task definitions, capacity providers and services."""

from __future__ import annotations

from typing import Any

from emulation.aws.resources.provider import (
    Context,
    Made,
    NeedsReplacement,
    Properties,
    Provider,
    changed_only,
    tag_list,
    without,
)


def _tags(properties: Properties) -> dict[str, Any]:
    return (
        {"tags": [{"key": t["Key"], "value": t["Value"]} for t in tag_list(properties)]} if "Tags" in properties else {}
    )


class Cluster(Provider):
    """An ECS cluster."""

    type_name = "AWS::ECS::Cluster"

    def create(self, context: Context, properties: Properties) -> Made:
        """CreateCluster."""
        wanted = without(properties, "Tags", "ClusterSettings", "ClusterName") | _tags(properties)
        wanted["clusterName"] = properties.get("ClusterName") or context.name(255)
        if "ClusterSettings" in properties:
            wanted["settings"] = properties["ClusterSettings"]
        cluster = context.call("ecs", "create_cluster", wanted)["cluster"]
        return Made(cluster["clusterName"], {"Arn": cluster["clusterArn"]})

    def update(self, context: Context, made: Made, old: Properties, new: Properties) -> Made:
        """Settings and configuration change in place."""
        if old.get("ClusterName") != new.get("ClusterName"):
            raise NeedsReplacement
        change: dict[str, Any] = {"cluster": made.physical_id}
        if "ClusterSettings" in new:
            change["settings"] = new["ClusterSettings"]
        if "Configuration" in new:
            change["configuration"] = new["Configuration"]
        context.call("ecs", "update_cluster", change)
        return made

    def delete(self, context: Context, made: Made, properties: Properties) -> None:
        """DeleteCluster."""
        context.try_delete("ecs", "delete_cluster", {"cluster": made.physical_id})


class CapacityProvider(Provider):
    """A capacity provider over an Auto Scaling group."""

    type_name = "AWS::ECS::CapacityProvider"

    def create(self, context: Context, properties: Properties) -> Made:
        """CreateCapacityProvider."""
        name = properties.get("Name") or context.name(255)
        wanted = without(properties, "Tags", "Name") | _tags(properties) | {"name": name}
        context.call("ecs", "create_capacity_provider", wanted)
        return Made(name)

    def delete(self, context: Context, made: Made, properties: Properties) -> None:
        """DeleteCapacityProvider."""
        context.try_delete("ecs", "delete_capacity_provider", {"capacityProvider": made.physical_id})


class CapacityProviderAssociations(Provider):
    """Which capacity providers a cluster has."""

    type_name = "AWS::ECS::ClusterCapacityProviderAssociations"

    def create(self, context: Context, properties: Properties) -> Made:
        """PutClusterCapacityProviders."""
        context.call("ecs", "put_cluster_capacity_providers", dict(properties))
        return Made(str(properties["Cluster"]))

    def update(self, context: Context, made: Made, old: Properties, new: Properties) -> Made:
        """Put them again."""
        if old["Cluster"] != new["Cluster"]:
            raise NeedsReplacement
        return self.create(context, new)

    def delete(self, context: Context, made: Made, properties: Properties) -> None:
        """Take them all away."""
        nothing = {"cluster": properties["Cluster"], "capacityProviders": [], "defaultCapacityProviderStrategy": []}
        context.try_delete("ecs", "put_cluster_capacity_providers", nothing)


class TaskDefinition(Provider):
    """A revision of a task definition; every change is a new one."""

    type_name = "AWS::ECS::TaskDefinition"

    def create(self, context: Context, properties: Properties) -> Made:
        """RegisterTaskDefinition."""
        wanted = without(properties, "Tags") | _tags(properties)
        wanted.setdefault("Family", context.name(255))
        arn = context.call("ecs", "register_task_definition", wanted)["taskDefinition"]["taskDefinitionArn"]
        return Made(arn, {"TaskDefinitionArn": arn})

    def delete(self, context: Context, made: Made, properties: Properties) -> None:
        """DeregisterTaskDefinition."""
        context.try_delete("ecs", "deregister_task_definition", {"taskDefinition": made.physical_id})


class Service(Provider):
    """An ECS service."""

    type_name = "AWS::ECS::Service"

    def create(self, context: Context, properties: Properties) -> Made:
        """CreateService."""
        name = properties.get("ServiceName") or context.name(255)
        wanted = without(properties, "Tags", "ServiceName") | _tags(properties) | {"serviceName": name}
        service = context.call("ecs", "create_service", wanted)["service"]
        return Made(service["serviceArn"], {"Name": name, "ServiceArn": service["serviceArn"]})

    def update(self, context: Context, made: Made, old: Properties, new: Properties) -> Made:
        """Count and task definition change in place."""
        change = changed_only(old, new)
        if change.keys() - {"DesiredCount", "TaskDefinition"}:
            raise NeedsReplacement
        place = {"cluster": new.get("Cluster", "default"), "service": made.attributes["Name"]}
        context.call("ecs", "update_service", place | change)
        return made

    def delete(self, context: Context, made: Made, properties: Properties) -> None:
        """DeleteService."""
        place = {"cluster": properties.get("Cluster", "default"), "service": made.attributes["Name"], "force": True}
        context.try_delete("ecs", "delete_service", place)
