"""What the swarm's constructs are given in someone else's application: resources that are there already."""

from dataclasses import dataclass
from typing import Any

from aws_cdk import Stack
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_kms as kms
from aws_cdk import aws_logs as logs
from aws_cdk import aws_s3 as s3

from emulation.aws.iam_evaluation import PolicyDocument
from tests.support.concrete_policies import concrete
from tests.support.synth_app import Template

ACCOUNT = "111122223333"
REGION = "eu-central-1"
CLUSTER = "analytics"
BUCKET = "analytics-jobs"
LOG_GROUP = "/sparkvault/analytics/swarm"
KEY_ARN = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/0a1b2c3d-0000-4000-8000-000000000001"

#: Values of the references that a bare stack leaves open.
REFERENCES = {
    "AWS::Partition": "aws",
    "AWS::AccountId": ACCOUNT,
    "AWS::Region": REGION,
    "AWS::StackName": "Alone",
}


@dataclass(frozen=True)
class Surroundings:
    """A VPC, a security group, a key, a log group and a bucket that another stack or another team has made."""

    vpc: ec2.IVpc
    security_group: ec2.ISecurityGroup
    key: kms.IKey
    log_group: logs.ILogGroup
    job_bucket: s3.IBucket

    def of_hosts(self) -> dict[str, Any]:
        """What HostGroupProps and SwarmProps take of them by the same names."""
        return {
            "vpc": self.vpc,
            "key": self.key,
            "log_group": self.log_group,
            "job_bucket": self.job_bucket,
        }


def surroundings(stack: Stack, zones: int = 3) -> Surroundings:
    """Imported into the stack, so that all a template holds is what is under test."""
    names = [f"{REGION}{letter}" for letter in "abcdef"[:zones]]
    return Surroundings(
        vpc=ec2.Vpc.from_vpc_attributes(
            stack,
            "Vpc",
            vpc_id="vpc-0a1b2c3d4e5f60718",
            availability_zones=names,
            private_subnet_ids=[f"subnet-0a1b2c3d4e5f6071{index}" for index in range(zones)],
            private_subnet_route_table_ids=[f"rtb-0a1b2c3d4e5f6071{index}" for index in range(zones)],
        ),
        security_group=ec2.SecurityGroup.from_security_group_id(stack, "Group", "sg-0a1b2c3d4e5f60718"),
        key=kms.Key.from_key_arn(stack, "Key", KEY_ARN),
        log_group=logs.LogGroup.from_log_group_name(stack, "Logs", LOG_GROUP),
        job_bucket=s3.Bucket.from_bucket_name(stack, "Jobs", BUCKET),
    )


def resources(template: Template, kind: str) -> dict[str, dict[str, Any]]:
    """The resources of one type by logical id."""
    return {name: body for name, body in template["Resources"].items() if body["Type"] == kind}


def only(template: Template, kind: str) -> dict[str, Any]:
    """The one resource of a type."""
    found = resources(template, kind)
    assert len(found) == 1, f"{len(found)} of {kind}: {', '.join(found)}"
    return next(iter(found.values()))


def inline_policies(role: dict[str, Any], references: dict[str, str] | None = None) -> list[PolicyDocument]:
    """What a role may do, with its references filled in."""
    values = REFERENCES | (references or {})
    return [concrete(policy["PolicyDocument"], values) for policy in role["Properties"]["Policies"]]
