"""Names: what AWS would refuse is refused here, tokens counted with the length of what will stand there."""

import pytest
from aws_cdk import Aws

from spark_constructs import naming

LONGEST_CLUSTER = "a" * 24


def test_the_longest_cluster_name_fits_everywhere() -> None:
    region = "r" * naming.MAX_REGION_LENGTH
    naming.stack_name(LONGEST_CLUSTER, "enclave-key")
    naming.role_name(LONGEST_CLUSTER, "manager", region)
    naming.bucket_name(LONGEST_CLUSTER, "jobs", "1" * 12, region)
    naming.bucket_name(LONGEST_CLUSTER, "s3-logs", "1" * 12, region)
    naming.key_alias(LONGEST_CLUSTER)


def test_tokens_count_with_the_length_of_what_will_stand_there() -> None:
    naming.bucket_name(LONGEST_CLUSTER, "s3-logs", Aws.ACCOUNT_ID, Aws.REGION)
    with pytest.raises(naming.InvalidNameError, match="66 characters where AWS allows 3 to 63"):
        naming.bucket_name(LONGEST_CLUSTER, "access-logs", Aws.ACCOUNT_ID, Aws.REGION)


@pytest.mark.parametrize(
    ("limit", "name"),
    [
        (naming.ROLE, "r" * 65),
        (naming.ROLE, "not/a/name"),
        (naming.BUCKET, "Upper-Case"),
        (naming.BUCKET, "-starts-with-a-hyphen"),
        (naming.KEY_ALIAS, "alias/aws/ours"),
        (naming.PARAMETER, "/a" * 16),
        (naming.PARAMETER, "no-leading-slash"),
        (naming.LOG_GROUP, "/with space"),
        (naming.DOCUMENT, "aws-ours"),
        (naming.SECURITY_GROUP, "sg-ours"),
        (naming.STACK, "9-starts-with-a-digit"),
    ],
)
def test_a_name_that_aws_would_refuse_is_refused(limit: naming.NameLimit, name: str) -> None:
    with pytest.raises(naming.InvalidNameError, match=limit.kind):
        naming.checked(limit, name)


def test_two_regions_do_not_share_a_role() -> None:
    one, other = (naming.role_name("analytics", "manager", region) for region in ("eu-central-1", "us-west-2"))
    assert one != other
