"""Every resource name in one place, each checked against AWS's limit before anything is deployed.

No CDK import: the command line finds resources by the same names.
"""

import re
from dataclasses import dataclass

from spark_constructs.refusal import RefusedError

#: Longest region name that is reckoned with, where the region is known only at deployment (``us-isof-south-1`` has 15).
MAX_REGION_LENGTH = 16
ACCOUNT_LENGTH = 12

#: Prefix of the log streams, one a host, in which hosts say how booting ended.
BOOT_STREAM_PREFIX = "boot/"

# A CDK token inside a string: its text is known only at deployment.
_TOKEN = re.compile(r"\$\{Token\[[^\]]*\]\}")
_ACCOUNT_TOKEN = re.compile(r"\$\{Token\[AWS[.:]+AccountId[^\]]*\]\}")
_REGION_TOKEN = re.compile(r"\$\{Token\[AWS[.:]+Region[^\]]*\]\}")


class InvalidNameError(RefusedError):
    """A resource name that AWS would refuse."""

    def __init__(self, kind: str, name: str, rule: str) -> None:
        self.kind = kind
        self.name = name
        super().__init__(f"{kind} {name!r}: {rule}. Choose a shorter or simpler cluster, tenant or part name.")


@dataclass(frozen=True)
class NameLimit:
    """What AWS allows for the name of one kind of resource: lengths in characters, and a pattern."""

    kind: str
    least: int
    most: int
    pattern: str


#: Lengths and characters, from the CloudFormation and API references of each service.
STACK = NameLimit("stack name", 1, 128, r"[A-Za-z][A-Za-z0-9-]*")
ROLE = NameLimit("role name", 1, 64, r"[\w+=,.@-]+")
INSTANCE_PROFILE = NameLimit("instance profile name", 1, 128, r"[\w+=,.@-]+")
POLICY = NameLimit("managed policy name", 1, 128, r"[\w+=,.@-]+")
BUCKET = NameLimit("bucket name", 3, 63, r"[a-z0-9][a-z0-9-]*[a-z0-9]")
TABLE = NameLimit("DynamoDB table name", 3, 255, r"[A-Za-z0-9_.-]+")
# AWS counts the whole ARN of a parameter, up to 1011 characters, with at most 15 levels.
PARAMETER = NameLimit("parameter name", 1, 900, r"(/[A-Za-z0-9_.-]+){1,15}")
LOG_GROUP = NameLimit("log group name", 1, 512, r"[A-Za-z0-9_./#-]+")
KEY_ALIAS = NameLimit("key alias", 1, 256, r"alias/(?!aws/)[A-Za-z0-9/_-]+")
AUTO_SCALING_GROUP = NameLimit("Auto Scaling group name", 1, 255, r"[\x20-\x39\x3b-\x7e]+")
LAUNCH_TEMPLATE = NameLimit("launch template name", 3, 128, r"[A-Za-z0-9().\-/_]+")
SECURITY_GROUP = NameLimit("security group name", 1, 255, r"(?!sg-)[A-Za-z0-9 ._\-:/()#,@\[\]+=&;{}!$*]+")
DOCUMENT = NameLimit("SSM document name", 3, 128, r"(?!aws|amazon|amzn)[A-Za-z0-9_.-]+")
LIFECYCLE_HOOK = NameLimit("lifecycle hook name", 1, 255, r"[A-Za-z0-9\-_/]+")


def checked(limit: NameLimit, name: str) -> str:
    """The name itself; raises InvalidNameError where AWS would refuse it.

    CDK tokens for account and region count with the length of what will stand there; names with other tokens
    cannot be checked and are let through.
    """
    known = _REGION_TOKEN.sub("r" * MAX_REGION_LENGTH, _ACCOUNT_TOKEN.sub("0" * ACCOUNT_LENGTH, name))
    if _TOKEN.search(known):
        return name
    if not limit.least <= len(known) <= limit.most:
        raise InvalidNameError(
            limit.kind, name, f"{len(known)} characters where AWS allows {limit.least} to {limit.most}"
        )
    if not re.fullmatch(limit.pattern, known):
        raise InvalidNameError(limit.kind, name, f"AWS allows only {limit.pattern}")
    return name


def stack_name(cluster: str, part: str) -> str:
    """Name of one of the cluster's stacks: ``sparkvault-network``."""
    return checked(STACK, f"{cluster}-{part}")


def role_name(cluster: str, part: str, region: str) -> str:
    """Name of a role. IAM is global, so the region keeps two clusters of one name in two regions apart."""
    return checked(ROLE, f"{cluster}-{part}-{region}")


def instance_profile_name(cluster: str, part: str, region: str) -> str:
    """Name of an instance profile; global as roles are."""
    return checked(INSTANCE_PROFILE, f"{cluster}-{part}-{region}")


def policy_name(cluster: str, part: str, region: str) -> str:
    """Name of a managed policy; global as roles are."""
    return checked(POLICY, f"{cluster}-{part}-{region}")


def bucket_name(cluster: str, purpose: str, account: str, region: str) -> str:
    """Name of a bucket. Bucket names are global, so account and region are part of it."""
    return checked(BUCKET, f"{cluster}-{purpose}-{account}-{region}")


def table_name(cluster: str, part: str) -> str:
    """Name of a DynamoDB table; the hosts' DynamoDB endpoint admits only tables with this prefix."""
    return checked(TABLE, f"{cluster}-{part}")


def parameter_name(cluster: str, *parts: str) -> str:
    """Name of an SSM parameter: ``/sparkvault/<cluster>/<part>/…``."""
    return checked(PARAMETER, "/".join(("", "sparkvault", cluster, *parts)))


def log_group_name(cluster: str, part: str) -> str:
    """Name of a log group: ``/sparkvault/<cluster>/<part>``. The key's policy admits exactly this prefix."""
    return checked(LOG_GROUP, f"/sparkvault/{cluster}/{part}")


def host_role_name(cluster: str, kind: str, region: str) -> str:
    """Name of the role of the swarm's managers or workers: the policy of a data owner's key names it beforehand."""
    return role_name(cluster, f"{kind}s", region)


def key_alias(cluster: str) -> str:
    """Alias of the cluster's key."""
    return checked(KEY_ALIAS, f"alias/{cluster}")


def auto_scaling_group_name(cluster: str, part: str) -> str:
    """Name of an Auto Scaling group."""
    return checked(AUTO_SCALING_GROUP, f"{cluster}-{part}")


def launch_template_name(cluster: str, part: str) -> str:
    """Name of a launch template."""
    return checked(LAUNCH_TEMPLATE, f"{cluster}-{part}")


def document_name(cluster: str, part: str) -> str:
    """Name of an SSM document."""
    return checked(DOCUMENT, f"{cluster}-{part}")


def lifecycle_hook_name(cluster: str, part: str) -> str:
    """Name of a lifecycle hook."""
    return checked(LIFECYCLE_HOOK, f"{cluster}-{part}")


def image_asset_parameter(cluster: str, image: str) -> str:
    """Where the template says which tag an image was pushed under."""
    return parameter_name(cluster, "image-assets", image)


def image_parameter(cluster: str, image: str) -> str:
    """Where the deploy command says which digest an image has: all that consumers read."""
    return parameter_name(cluster, "images", image)


def ecs_cluster_name(cluster: str) -> str:
    """Name of the ECS cluster of target fargate; the key that wraps its jobs' secrets has it as alias, too."""
    return f"{cluster}-fargate"


def task_family(cluster: str, tenant: str, kind: str) -> str:
    """Family of a task definition: ``<cluster>-fargate-<tenant>-<kind>``; its container is ``spark-<kind>``."""
    return f"{cluster}-fargate-{tenant}-{kind}"
