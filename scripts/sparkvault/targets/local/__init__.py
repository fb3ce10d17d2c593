"""Target `local`: a real Spark standalone cluster on this machine, for learning and tests.

`cluster.LocalCluster` brings it up and down; `target.LocalTarget` runs jobs on it.
"""

from spark_constructs.config import Deployment
from sparkvault.console import say
from sparkvault.targets.local.target import LocalTarget


def create(deployment: Deployment) -> LocalTarget:
    """The local cluster; there is one for each work folder, whatever is deployed."""
    return LocalTarget(progress=say)
