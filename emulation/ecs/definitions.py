"""Checks what Fargate asks of a task definition and of a RunTask call."""

import json
from collections.abc import Mapping
from typing import Any

from emulation.ecs.account import Account
from emulation.ecs.errors import EcsError, client_error, invalid
from spark_constructs.fargate_sizes import EPHEMERAL_STORAGE_GIB, MAX_STOP_TIMEOUT_SECONDS, is_offered

#: API reference, TaskOverride and RunTask.
OVERRIDES_MAX_CHARACTERS = 8192
RUN_TASK_MAX = 10

_NETWORKS = {"awsvpc"}


def check_definition(account: Account, wanted: Mapping[str, Any]) -> None:
    """Raises EcsError where Fargate would not have such a task definition."""
    if not wanted.get("family"):
        raise client_error("Family contains invalid characters or is empty.")
    if wanted.get("networkMode") not in _NETWORKS:
        raise client_error("Fargate only supports network mode 'awsvpc'.")
    if wanted.get("requiresCompatibilities") != ["FARGATE"]:
        raise client_error("requiresCompatibilities must be FARGATE here.")
    check_size(wanted.get("cpu"), wanted.get("memory"))
    role = wanted.get("executionRoleArn")
    if not role:
        raise client_error("Fargate requires task definition to have execution role ARN to support log driver awslogs.")
    for key in ("executionRoleArn", "taskRoleArn"):
        if wanted.get(key) and wanted[key] not in account.roles:
            raise client_error("Role is not valid")
    containers = wanted.get("containerDefinitions") or []
    if not containers:
        raise client_error("Container list cannot be empty.")
    for container in containers:
        if not container.get("image"):
            raise client_error("Container.image should not be null or empty.")
        if container.get("stopTimeout", 30) > MAX_STOP_TIMEOUT_SECONDS:
            raise client_error(f"stopTimeout must be at most {MAX_STOP_TIMEOUT_SECONDS} seconds on Fargate.")


def check_size(cpu: object, memory: object) -> None:
    """Raises EcsError where Fargate has no such size (cpu units and MiB, as text)."""
    if not (isinstance(cpu, str) and isinstance(memory, str) and cpu.isdigit() and memory.isdigit()):
        raise client_error("Fargate requires that 'cpu' and 'memory' be defined at the task level.")
    if not is_offered(int(cpu) / 1024, int(memory)):
        raise client_error(f"No Fargate configuration exists for given values: {cpu} CPU, {memory} memory.")


def check_run(account: Account, wanted: Mapping[str, Any]) -> None:
    """Raises EcsError for what RunTask refuses before it looks for capacity."""
    cluster = cluster_name(wanted)
    if cluster not in account.clusters:
        raise EcsError("ClusterNotFoundException", "Cluster not found.")
    if not 1 <= int(wanted.get("count", 1)) <= RUN_TASK_MAX:
        raise invalid(f"count should be between 1 and {RUN_TASK_MAX}.")
    overrides = wanted.get("overrides", {})
    if len(json.dumps(overrides, separators=(",", ":"))) > OVERRIDES_MAX_CHARACTERS:
        raise invalid(f"Overrides length must be at most {OVERRIDES_MAX_CHARACTERS}.")
    storage = overrides.get("ephemeralStorage", {}).get("sizeInGiB")
    if storage is not None and not EPHEMERAL_STORAGE_GIB[0] <= storage <= EPHEMERAL_STORAGE_GIB[1]:
        raise invalid("Ephemeral storage must be between 21 and 200 GiB.")
    if len(wanted.get("clientToken", "")) > 64 or len(wanted.get("startedBy", "")) > 128:
        raise invalid("clientToken is at most 64 characters, startedBy 128.")
    _check_capacity(account, cluster, wanted)
    _check_network(account, wanted)
    for key in ("taskRoleArn", "executionRoleArn"):
        role = overrides.get(key)
        if role and role not in account.roles:
            raise client_error(f"ECS was unable to assume the role '{role}' that was provided for this task.")


def cluster_name(wanted: Mapping[str, Any]) -> str:
    """The cluster's name, given by name or ARN."""
    return str(wanted.get("cluster", "default")).rpartition("/")[2]


def _check_capacity(account: Account, cluster: str, wanted: Mapping[str, Any]) -> None:
    strategy = wanted.get("capacityProviderStrategy") or []
    if strategy and wanted.get("launchType"):
        raise invalid("Specifying both a launch type and capacity provider strategy is not supported.")
    for item in strategy:
        if item["capacityProvider"] not in account.clusters[cluster]:
            raise invalid("The specified capacity provider was not found.")
    if not strategy and wanted.get("launchType") != "FARGATE":
        raise invalid("No Container Instances were found in your cluster.")


def _check_network(account: Account, wanted: Mapping[str, Any]) -> None:
    network = wanted.get("networkConfiguration", {}).get("awsvpcConfiguration")
    if not network or not network.get("subnets"):
        raise invalid("Network Configuration must be provided when networkMode 'awsvpc' is specified.")
    for subnet in network["subnets"]:
        if subnet not in account.subnets:
            raise invalid(
                f"Error retrieving subnet information for [{subnet}]: The subnet ID '{subnet}' does not exist"
            )
    for group in network.get("securityGroups", []):
        if group not in account.security_groups:
            raise invalid(f"Error retrieving security group information for [{group}]: '{group}' does not exist")
    if network.get("assignPublicIp") == "ENABLED":
        raise invalid("The subnets are private: a public address cannot be assigned.")
