"""Where everything of YARN lies on a host: one list for who writes and who reads."""

from __future__ import annotations

from pathlib import Path

#: Hadoop's distribution. The native container-executor finds its settings by its own place: ../etc/hadoop.
HADOOP = Path("/opt/hadoop")
SETTINGS = HADOOP / "etc" / "hadoop"
#: Spark as it is in the containers' image, for the client on the master.
SPARK = Path("/opt/sparkvault/spark")
SPARK_SETTINGS = Path("/etc/sparkvault/spark")
KATA = Path("/opt/kata")
RUNSC = Path("/usr/local/bin/runsc")
#: On the encrypted data volume, which is mounted for Docker; var-lib-sparkvault-yarn.mount binds it to a place that
#: tenants' users can go through.
VOLUME = Path("/var/lib/docker/sparkvault-yarn")
STATE = Path("/var/lib/sparkvault/yarn")
KEYTABS = Path("/etc/sparkvault/keytabs")
TENANT_KEYTABS = Path("/etc/sparkvault/tenant-keytabs")
CONTAINER_USERS = Path("/etc/sparkvault/container-users")
GUARD = Path("/etc/sparkvault/bin/docker")
GUARD_POLICY = Path("/etc/sparkvault/guard.json")
NODE_FILE = Path("/etc/sparkvault/yarn-node.json")
MASTER_FILE = Path("/etc/sparkvault/yarn-master.json")
ENVIRONMENT = Path("/etc/sparkvault/hadoop.env")
#: Hosts that are about to end, for ResourceManager.
LEAVING = Path("/etc/sparkvault/leaving-nodes")
DAEMON = Path("/etc/docker/daemon.json")
KATA_SETTINGS = Path("/etc/kata-containers/configuration.toml")
JOBS = Path("/var/lib/sparkvault-jobs")
NETWORK = "yarn-containers"
