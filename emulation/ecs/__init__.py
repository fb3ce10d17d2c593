"""A stand-in for Amazon ECS with Fargate: its API and its rules, with real processes as tasks."""

from emulation.ecs.account import Account, Permissions
from emulation.ecs.faults import Faults
from emulation.ecs.limits import Pace
from emulation.ecs.server import EmulatedEcs
from emulation.ecs.task import Task

__all__ = ["Account", "EmulatedEcs", "Faults", "Pace", "Permissions", "Task"]
