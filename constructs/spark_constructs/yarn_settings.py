"""What stacks, hosts and command line agree on about YARN. No CDK import."""

import hashlib
from collections.abc import Sequence

from spark_constructs.naming import parameter_name

#: What stands before the names of the target's SSM documents and policies.
YARN_FAMILY = "yarn."

#: Where archives that others have made lie in the job bucket, each under its own SHA-512.
ARCHIVES_PREFIX = "archives/"

#: Where the master keeps the backup of its realm's database in the job bucket.
REALM_PREFIX = "yarn/realm/"

#: Linux users of tenants have numbers from here to below there (assets/yarn/sparkvault_yarn/tenants.py).
USER_NUMBERS = range(20000, 60000)

#: Tag of a node's secret: the one session that may read it, as IAM's `aws:userid` says it.
READER_TAG = "sparkvault:reader"

#: Names that Hadoop, Linux or YARN's own rules have taken: no tenant's user can have them.
TAKEN_USERS = frozenset(
    {
        *("default", "root", "nobody", "daemon", "bin", "adm", "mail", "games", "ftp", "sshd", "tss", "dbus", "chrony"),
        *("hdfs", "yarn", "mapred", "hadoop", "spark", "sparkvault", "docker", "kdc", "ec2-user", "ssm-user", "rpc"),
    }
)

#: Containers that a node has addresses for: a /28 without what Docker keeps for itself, and one in reserve.
CONTAINERS_PER_NODE = 12


def archive_key(sha512: str, name: str) -> str:
    """Key of an archive in the job bucket."""
    return f"{ARCHIVES_PREFIX}{sha512}/{name}"


def keytab_secrets(cluster: str) -> str:
    """What the names of the cluster's keytabs in Secrets Manager begin with: ``<cluster>/yarn/nodes/``."""
    return f"{cluster}/yarn/nodes/"


def settings_parameter(cluster: str) -> str:
    """Where the deployment says what runs on the YARN cluster."""
    return parameter_name(cluster, "yarn", "desired")


def master_parameter(cluster: str) -> str:
    """Where the master says who it is."""
    return parameter_name(cluster, "yarn", "master")


def user_number(tenant: str) -> int:
    """Number of a tenant's Linux user: always the same, so that nobody inherits the files of one who left."""
    return USER_NUMBERS[int.from_bytes(hashlib.sha256(tenant.encode()).digest()[:8], "big") % len(USER_NUMBERS)]


def shares(asked: Sequence[int]) -> list[float]:
    """Guaranteed shares in percent, that make 100: those asked for, and equal parts of the rest for who asks for 0.

    Where everybody asks and some is left, it is theirs in proportion.
    """
    left, silent = 100 - sum(asked), sum(share == 0 for share in asked)
    if silent:
        made = [round(share or left / silent, 3) for share in asked]
    else:
        made = [round(share * 100 / sum(asked), 3) for share in asked]
    made[-1] = round(100 - sum(made[:-1]), 3)
    return made
