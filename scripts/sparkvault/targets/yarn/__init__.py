"""Target `yarn`: Spark on the deployed YARN cluster, reached by Systems Manager and the job bucket alone."""

from spark_constructs.config import Deployment
from sparkvault.targets.yarn.target import YarnTarget


def create(deployment: Deployment) -> YarnTarget:
    """The YARN cluster of that deployment."""
    return YarnTarget(deployment)
