"""What tasks would have cost on Fargate, from AWS's list prices."""

from collections.abc import Iterable

from emulation.ecs.task import Task

#: USD an hour in us-east-1, Linux on x86: 4 vCPU and 16 GiB come to $0.233. Prices change and differ by region. Tasks
#: are billed by the second from the pull of their image, at least a minute; the first 20 GiB of disk are free.
VCPU_HOUR, GIB_HOUR = 0.04048, 0.004445
LEAST_SECONDS = 60.0


def cost_usd(tasks: Iterable[Task]) -> float:
    """The list price of these tasks in USD, without Spot's discount."""
    return sum(
        max(task.seconds_paid, LEAST_SECONDS)
        / 3600
        * (int(task.cpu) / 1024 * VCPU_HOUR + int(task.memory) / 1024 * GIB_HOUR)
        for task in tasks
    )
