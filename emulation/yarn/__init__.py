"""A YARN cluster of one master and one node on this machine: Hadoop's real daemons with our configuration.

HDFS, ResourceManager and NodeManager are Hadoop's own, each container is a Docker container of an engine of the node's
own, under `runc` or gVisor's `runsc`. The one stand-in is the native container-executor (container_executor.py).
"""

from emulation.yarn.cluster import SMALL_JOB, Outcome, YarnCluster
from emulation.yarn.errors import YarnEmulationError

__all__ = ["SMALL_JOB", "Outcome", "YarnCluster", "YarnEmulationError"]
