"""Target `swarm`: Spark on the deployed EC2 hosts, reached by Systems Manager and the job bucket alone."""

from spark_constructs.config import Deployment
from sparkvault.targets.swarm.target import SwarmTarget


def create(deployment: Deployment) -> SwarmTarget:
    """The swarm of that deployment."""
    return SwarmTarget(deployment)
