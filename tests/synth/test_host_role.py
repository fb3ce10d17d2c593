"""What a host's role may do, asked of the policy as IAM would decide it."""

from functools import cache
from typing import Any

import pytest
from aws_cdk import aws_ecr as ecr
from aws_cdk import aws_iam as iam

from emulation.aws.iam_evaluation import PolicyDocument, Request, is_allowed
from spark_constructs.host_role import HostRole, HostRoleProps
from spark_constructs.host_user_data import host_bundle
from spark_constructs.permissions import Permission, UnreasonedWildcardError
from tests.support.service_authorization import exists, resource_types
from tests.support.swarm_surroundings import (
    ACCOUNT,
    BUCKET,
    CLUSTER,
    KEY_ARN,
    REGION,
    inline_policies,
    only,
    surroundings,
)
from tests.support.synth_app import Synthesised, synthesise_alone
from tests.support.synth_policies import as_list

PARAMETER = f"arn:aws:ssm:{REGION}:{ACCOUNT}:parameter/sparkvault/{CLUSTER}"
GROUP = f"arn:aws:autoscaling:{REGION}:{ACCOUNT}:autoScalingGroup:0a1b:autoScalingGroupName"
STACK = f"arn:aws:cloudformation:{REGION}:{ACCOUNT}:stack"
LOGS = f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group"
REPOSITORY = f"arn:aws:ecr:{REGION}:{ACCOUNT}:repository"
INSTANCE = f"arn:aws:ec2:{REGION}:{ACCOUNT}:instance/i-1"
MANAGER_TOKEN = f"{PARAMETER}/swarm/manager/token"
WORKER_TOKEN = f"{PARAMETER}/swarm/worker/token"
VIA_SSM = {"kms:ViaService": f"ssm.{REGION}.amazonaws.com"}
VIA_S3 = {"kms:ViaService": f"s3.{REGION}.amazonaws.com"}


def build(kind: Any) -> Synthesised:
    def role(stack: Any) -> None:
        around = surroundings(stack)
        HostRole(
            stack,
            "Role",
            HostRoleProps(
                cluster=CLUSTER,
                kind=kind,
                group_name=f"{CLUSTER}-{kind}s",
                key=around.key,
                log_group=around.log_group,
                job_bucket=around.job_bucket,
                bundle=host_bundle(stack, "Bundle"),
                image_repositories=(ecr.Repository.from_repository_name(stack, "Images", "assets"),),
            ),
        )

    return synthesise_alone(role)


@cache
def synthesised(kind: str) -> Synthesised:
    return build(kind)


@cache
def policies(kind: str) -> list[PolicyDocument]:
    return inline_policies(only(synthesised(kind).template("Alone"), "AWS::IAM::Role"))


def bundle_object(kind: str) -> str:
    statements = [each for policy in policies(kind) for each in policy["Statement"] if each["Sid"] == "HostBundle"]
    return str(statements[0]["Resource"])


BOTH, MANAGERS, NOBODY = {"manager", "worker"}, {"manager"}, set[str]()


@pytest.mark.parametrize(
    ("action", "resource", "context", "who"),
    [
        # Systems Manager's agent
        ("ssm:UpdateInstanceInformation", INSTANCE, {"ec2:SourceInstanceARN": INSTANCE}, BOTH),
        ("ssm:UpdateInstanceInformation", INSTANCE, {}, NOBODY),
        ("ssmmessages:OpenDataChannel", "*", {}, BOTH),
        ("ssm:GetParameter", f"arn:aws:ssm:{REGION}:{ACCOUNT}:parameter/other", {}, NOBODY),
        ("ssm:SendCommand", INSTANCE, {}, NOBODY),
        # Join data
        ("ssm:GetParameter", WORKER_TOKEN, {}, BOTH),
        ("ssm:GetParameters", WORKER_TOKEN, {}, BOTH),
        ("ssm:GetParameter", MANAGER_TOKEN, {}, MANAGERS),
        ("ssm:GetParameters", MANAGER_TOKEN, {}, MANAGERS),
        ("ssm:GetParameterHistory", MANAGER_TOKEN, {}, NOBODY),
        ("ssm:GetParametersByPath", f"{PARAMETER}/swarm", {}, NOBODY),
        ("ssm:GetParameter", f"{PARAMETER}/swarm/workers-of-another/token", {}, MANAGERS),
        ("ssm:PutParameter", WORKER_TOKEN, {}, MANAGERS),
        ("ssm:DeleteParameter", MANAGER_TOKEN, {}, MANAGERS),
        ("ssm:GetParameters", f"{PARAMETER}/swarm/desired", {}, MANAGERS),
        ("ssm:PutParameter", f"{PARAMETER}/swarm/desired", {}, NOBODY),
        ("ssm:GetParameter", PARAMETER.replace(CLUSTER, "other") + "/swarm/worker/token", {}, NOBODY),
        ("kms:Decrypt", KEY_ARN, VIA_SSM | {"kms:EncryptionContext:PARAMETER_ARN": WORKER_TOKEN}, BOTH),
        ("kms:Decrypt", KEY_ARN, VIA_SSM | {"kms:EncryptionContext:PARAMETER_ARN": MANAGER_TOKEN}, MANAGERS),
        ("kms:Encrypt", KEY_ARN, VIA_SSM | {"kms:EncryptionContext:PARAMETER_ARN": WORKER_TOKEN}, MANAGERS),
        ("kms:Decrypt", KEY_ARN, {"kms:EncryptionContext:PARAMETER_ARN": WORKER_TOKEN}, NOBODY),
        ("kms:Decrypt", KEY_ARN, VIA_SSM, NOBODY),
        ("kms:Decrypt", KEY_ARN, {}, NOBODY),
        # Images
        ("ssm:GetParameter", f"{PARAMETER}/images/worker", {}, BOTH),
        ("ssm:PutParameter", f"{PARAMETER}/images/worker", {}, NOBODY),
        ("ecr:GetAuthorizationToken", "*", {}, BOTH),
        ("ecr:BatchGetImage", f"{REPOSITORY}/assets", {}, BOTH),
        ("ecr:BatchGetImage", f"{REPOSITORY}/other", {}, NOBODY),
        ("ecr:PutImage", f"{REPOSITORY}/assets", {}, NOBODY),
        # Logs
        ("logs:PutLogEvents", f"{LOGS}:/sparkvault/{CLUSTER}/swarm:log-stream:boot/i-1", {}, BOTH),
        ("logs:CreateLogStream", f"{LOGS}:/sparkvault/{CLUSTER}/swarm:log-stream:boot/i-1", {}, BOTH),
        ("logs:PutLogEvents", f"{LOGS}:/sparkvault/other/swarm:log-stream:boot/i-1", {}, NOBODY),
        ("logs:GetLogEvents", f"{LOGS}:/sparkvault/{CLUSTER}/swarm:log-stream:boot/i-1", {}, NOBODY),
        # The group
        ("autoscaling:SetDesiredCapacity", f"{GROUP}/{CLUSTER}-workers", {}, NOBODY),
        ("cloudformation:SignalResource", f"{STACK}/Alone/0a1b", {}, BOTH),
        ("cloudformation:SignalResource", f"{STACK}/Alone2/0a1b", {}, NOBODY),
        ("cloudformation:DescribeStacks", f"{STACK}/Alone/0a1b", {}, NOBODY),
        ("ec2:DescribeInstances", "*", {}, MANAGERS),
        ("autoscaling:DescribeAutoScalingInstances", "*", {}, MANAGERS),
        ("ec2:CreateTags", INSTANCE, {}, NOBODY),
        # Jobs
        ("s3:GetObject", f"arn:aws:s3:::{BUCKET}/jobs/1/spec.json", {}, MANAGERS),
        ("s3:PutObject", f"arn:aws:s3:::{BUCKET}/jobs/1/exit.json", {}, MANAGERS),
        ("s3:PutObject", f"arn:aws:s3:::{BUCKET}/other", {}, NOBODY),
        ("s3:DeleteObject", f"arn:aws:s3:::{BUCKET}/jobs/1/spec.json", {}, NOBODY),
        ("s3:ListBucket", f"arn:aws:s3:::{BUCKET}", {"s3:prefix": "jobs/"}, MANAGERS),
        ("s3:ListBucket", f"arn:aws:s3:::{BUCKET}", {}, NOBODY),
        ("kms:GenerateDataKey", KEY_ARN, VIA_S3, MANAGERS),
        ("kms:Decrypt", KEY_ARN, VIA_S3, MANAGERS),
        ("iam:PassRole", f"arn:aws:iam::{ACCOUNT}:role/x", {}, NOBODY),
        ("sts:AssumeRole", f"arn:aws:iam::{ACCOUNT}:role/x", {}, NOBODY),
    ],
)
def test_a_host_may_do_what_it_must_and_nothing_else(
    action: str, resource: str, context: dict[str, str], who: set[str]
) -> None:
    allowed = {kind for kind in BOTH if is_allowed(policies(kind), Request(action, resource, context))}
    assert allowed == who


@pytest.mark.parametrize(("kind", "other"), [("manager", "worker"), ("worker", "manager")])
@pytest.mark.parametrize(
    "action",
    [
        "autoscaling:CompleteLifecycleAction",
        "autoscaling:RecordLifecycleActionHeartbeat",
        "autoscaling:SetInstanceHealth",
    ],
)
def test_a_host_speaks_for_its_own_group_only(kind: str, other: str, action: str) -> None:
    assert is_allowed(policies(kind), Request(action, f"{GROUP}/{CLUSTER}-{kind}s"))
    # But for a worker that has died: a manager completes its hook.
    lets_go = (kind, action) == ("manager", "autoscaling:CompleteLifecycleAction")
    assert is_allowed(policies(kind), Request(action, f"{GROUP}/{CLUSTER}-{other}s")) == lets_go


@pytest.mark.parametrize("kind", sorted(BOTH))
def test_a_host_reads_its_bundle_and_no_other_asset(kind: str) -> None:
    own = bundle_object(kind)
    assert is_allowed(policies(kind), Request("s3:GetObject", own))
    assert not is_allowed(policies(kind), Request("s3:GetObject", own.replace(".zip", "0.zip")))
    assert not is_allowed(policies(kind), Request("s3:ListBucket", own.rpartition("/")[0]))


@pytest.mark.parametrize("kind", sorted(BOTH))
def test_cdk_nag_finds_nothing(kind: str) -> None:
    assert synthesised(kind).violations == []


@pytest.mark.parametrize("kind", sorted(BOTH))
def test_every_action_is_one_of_aws_and_is_narrowed_where_aws_allows_it(kind: str) -> None:
    for policy in policies(kind):
        for statement in policy["Statement"]:
            for action in as_list(statement["Action"]):
                assert exists(action), action
                assert (statement["Resource"] == "*") == (resource_types(action) == []), action


@pytest.mark.parametrize("kind", sorted(BOTH))
def test_only_ec2_becomes_the_role(kind: str) -> None:
    role = only(synthesised(kind).template("Alone"), "AWS::IAM::Role")["Properties"]
    (statement,) = role["AssumeRolePolicyDocument"]["Statement"]
    assert statement["Principal"] == {"Service": "ec2.amazonaws.com"}
    assert "ManagedPolicyArns" not in role


def test_a_wildcard_without_a_reason_is_refused() -> None:
    def add(*permissions: Permission) -> None:
        def role(stack: Any) -> None:
            around = surroundings(stack)
            HostRole(
                stack,
                "Role",
                HostRoleProps(
                    cluster=CLUSTER,
                    kind="worker",
                    group_name="x",
                    key=around.key,
                    log_group=around.log_group,
                    job_bucket=around.job_bucket,
                    bundle=host_bundle(stack, "Bundle"),
                ),
            ).add(*permissions)

        assert synthesise_alone(role).violations == []

    reason = "Tables of this cluster by their prefix; they are made later, by another stack."
    add(Permission("Tables", ("dynamodb:GetItem",), ("arn:aws:dynamodb:*:*:table/x-*",), wildcard=reason))
    with pytest.raises(UnreasonedWildcardError, match="say why"):
        add(Permission("Tables", ("dynamodb:GetItem",), ("arn:aws:dynamodb:*:*:table/x-*",)))
    with pytest.raises(UnreasonedWildcardError, match="write the actions out"):
        add(Permission("Tables", ("dynamodb:*",), ("arn:aws:dynamodb:eu-central-1:1:table/x",)))


def test_without_repositories_nothing_can_be_pulled() -> None:
    def role(stack: Any) -> None:
        around = surroundings(stack)
        HostRole(
            stack,
            "Role",
            HostRoleProps(
                cluster=CLUSTER,
                kind="worker",
                group_name="x",
                key=around.key,
                log_group=around.log_group,
                job_bucket=around.job_bucket,
                bundle=host_bundle(stack, "Bundle"),
                permissions_boundary=iam.ManagedPolicy.from_managed_policy_name(stack, "Boundary", "Boundary"),
            ),
        )

    documents = inline_policies(only(synthesise_alone(role).template("Alone"), "AWS::IAM::Role"))
    assert not is_allowed(documents, Request("ecr:GetAuthorizationToken", "*"))
