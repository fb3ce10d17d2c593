"""Finds a target by its name; each is loaded only when it is used."""

from collections.abc import Callable
from importlib import import_module

from spark_constructs.config import Deployment
from sparkvault.errors import NotAvailable, UsageError
from sparkvault.targets.protocol import Target

#: Every target that the configuration knows. A module has a function `create(deployment)` that returns it.
MODULES: dict[str, str | None] = {
    "local": "sparkvault.targets.local",
    "swarm": "sparkvault.targets.swarm",
    "fargate": "sparkvault.targets.fargate",
    "yarn": None,
}


def find_target(name: str, deployment: Deployment) -> Target:
    """The target of that name.

    Raises UsageError for a name that no target has, NotAvailable for one that this version cannot run jobs on.
    """
    if name not in MODULES:
        raise UsageError(f"there is no target {name!r}", f"targets are {', '.join(MODULES)}")
    module = MODULES[name]
    if module is None:
        raise NotAvailable(
            f"this version of sparkvault does not run Spark on target {name} yet",
            "use --target local, swarm or fargate",
        )
    make: Callable[[Deployment], Target] = import_module(module).create
    return make(deployment)
