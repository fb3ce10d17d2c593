"""Target `fargate`: a driver that is a Fargate task, and executors that it starts as further tasks."""

from spark_constructs.config import Deployment
from sparkvault.targets.fargate.target import FargateTarget


def create(deployment: Deployment) -> FargateTarget:
    """The Fargate cluster of that deployment."""
    return FargateTarget(deployment)
