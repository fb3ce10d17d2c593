"""Resource type → provider. What is not here fails its stack: nothing is skipped silently."""

from __future__ import annotations

import inspect
from types import ModuleType

from emulation.aws.cloudformation.errors import ResourceFailed
from emulation.aws.resources import (
    autoscaling,
    custom,
    dynamodb,
    ec2_compute,
    ec2_endpoints,
    ec2_network,
    ec2_security,
    ecr,
    ecs,
    iam,
    kms,
    lambda_functions,
    logs,
    messaging,
    monitoring,
    placeholders,
    s3,
    secretsmanager,
    ssm,
)
from emulation.aws.resources.provider import Provider

_MODULES: tuple[ModuleType, ...] = (
    autoscaling,
    custom,
    dynamodb,
    ec2_compute,
    ec2_endpoints,
    ec2_network,
    ec2_security,
    ecr,
    ecs,
    iam,
    kms,
    lambda_functions,
    logs,
    messaging,
    monitoring,
    placeholders,
    s3,
    secretsmanager,
    ssm,
)


def _collect() -> dict[str, Provider]:
    found: dict[str, Provider] = {}
    for module in _MODULES:
        for _, kind in inspect.getmembers(module, inspect.isclass):
            if kind.__module__ == module.__name__ and issubclass(kind, Provider) and not inspect.isabstract(kind):
                found[kind.type_name] = kind()
    return found


_PROVIDERS = _collect()


def provider_for(type_name: str) -> Provider:
    """The provider of a type; raises `ResourceFailed` for one that the embedded AWS does not have."""
    if type_name not in _PROVIDERS:
        raise ResourceFailed(
            f"Unrecognized resource types: [{type_name}]. The embedded AWS does not have it: "
            "add a provider under emulation/aws/resources"
        )
    return _PROVIDERS[type_name]


def supported_types() -> list[str]:
    """Every type that templates may use."""
    return sorted(_PROVIDERS)
