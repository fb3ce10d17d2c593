"""Finds a target by its name; each is loaded only when it is used."""

from collections.abc import Callable
from importlib import import_module

from spark_constructs.config import Deployment
from sparkvault.errors import UsageError
from sparkvault.targets.protocol import Target

#: Every target that the configuration knows. A module has a function `create(deployment)` that returns it.
MODULES: dict[str, str] = {
    "local": "sparkvault.targets.local",
    "swarm": "sparkvault.targets.swarm",
    "fargate": "sparkvault.targets.fargate",
    "yarn": "sparkvault.targets.yarn",
}


def find_target(name: str, deployment: Deployment) -> Target:
    """The target of that name. Raises UsageError for a name that no target has."""
    if name not in MODULES:
        raise UsageError(f"there is no target {name!r}", f"targets are {', '.join(MODULES)}")
    make: Callable[[Deployment], Target] = import_module(MODULES[name]).create
    return make(deployment)
