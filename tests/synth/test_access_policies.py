"""Who may do what: operator, submitter and auditor, asked of their policies as IAM would decide it."""

import json
from functools import cache
from typing import Any

import pytest

from emulation.aws.iam_evaluation import PolicyDocument, Request, is_allowed
from spark_constructs.access_policies import MAX_POLICY_CHARACTERS, AccessPolicies, AccessPoliciesProps
from tests.support.concrete_policies import concrete
from tests.support.service_authorization import exists, resource_types
from tests.support.swarm_surroundings import (
    ACCOUNT,
    BUCKET,
    CLUSTER,
    KEY_ARN,
    LOG_GROUP,
    REFERENCES,
    REGION,
    resources,
    surroundings,
)
from tests.support.synth_app import Synthesised, synthesise_alone
from tests.support.synth_policies import as_list

PEOPLE = {"operator", "sales-submitter", "sales-eu-submitter", "auditor"}
OPERATOR, AUDITOR, NOBODY = {"operator"}, {"auditor"}, set[str]()
#: One tenant's name begins with the other's.
TENANTS = ("sales", "sales-eu")
SALES, SUBMITTER = {"sales-submitter"}, {"sales-submitter", "sales-eu-submitter"}

INSTANCE = f"arn:aws:ec2:{REGION}:{ACCOUNT}:instance/i-0a1b"
DOCUMENT = f"arn:aws:ssm:{REGION}:{ACCOUNT}:document"
OF_AWS = f"arn:aws:ssm:{REGION}::document"
PARAMETER = f"arn:aws:ssm:{REGION}:{ACCOUNT}:parameter/sparkvault/{CLUSTER}"
GROUP = f"arn:aws:autoscaling:{REGION}:{ACCOUNT}:autoScalingGroup:0a1b:autoScalingGroupName"
LOGS = f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{LOG_GROUP}:log-stream:x"
STACK = f"arn:aws:cloudformation:{REGION}:{ACCOUNT}:stack"
OBJECT = f"arn:aws:s3:::{BUCKET}/jobs/1/result.parquet"
VIA_S3 = {"kms:ViaService": f"s3.{REGION}.amazonaws.com"}

#: What SSM says about the request: the tags of the instance, and that it checks the default document as well.
OURS = {"ssm:resourceTag/sparkvault:cluster": CLUSTER, "ssm:SessionDocumentAccessCheck": "true"}
THEIRS = {"ssm:resourceTag/sparkvault:cluster": "payroll", "ssm:SessionDocumentAccessCheck": "true"}


@cache
def synthesised() -> Synthesised:
    def build(stack: Any) -> None:
        around = surroundings(stack)
        AccessPolicies(
            stack,
            "Access",
            AccessPoliciesProps(
                cluster=CLUSTER,
                job_bucket=around.job_bucket,
                key=around.key,
                log_group=around.log_group,
                workers_group_name=f"{CLUSTER}-workers",
                managers_group_name=f"{CLUSTER}-managers",
                tenants=TENANTS,
                host_role_names=("hosts",),
            ),
        )

    return synthesise_alone(build)


@cache
def policy_of(person: str) -> PolicyDocument:
    for policy in resources(synthesised().template("Alone"), "AWS::IAM::ManagedPolicy").values():
        if f"{CLUSTER}-{person}-" in json.dumps(policy["Properties"]["ManagedPolicyName"]):
            document: PolicyDocument = concrete(policy["Properties"]["PolicyDocument"], REFERENCES)
            return document
    raise AssertionError(f"there is no policy for the {person}")


def who_may(*requests: Request) -> set[str]:
    return {person for person in PEOPLE if is_allowed([policy_of(person)], *requests)}


def sends(document: str, tags: dict[str, str]) -> tuple[Request, Request]:
    """SendCommand is checked against the document and against each instance."""
    return Request("ssm:SendCommand", document), Request("ssm:SendCommand", INSTANCE, tags)


def starts(document: str, tags: dict[str, str]) -> tuple[Request, Request]:
    """StartSession likewise; where no document is named, SSM checks SSM-SessionManagerRunShell."""
    check = {"ssm:SessionDocumentAccessCheck": "true"}
    return Request("ssm:StartSession", document, check), Request("ssm:StartSession", INSTANCE, tags)


def test_cdk_nag_finds_nothing() -> None:
    assert synthesised().violations == []


@pytest.mark.parametrize("person", sorted(PEOPLE))
def test_a_policy_fits_into_what_iam_takes(person: str) -> None:
    longest = json.dumps(policy_of(person), separators=(",", ":"))
    # Regions and accounts are as long as they get, but for the cluster's name.
    assert len(longest) + 100 < MAX_POLICY_CHARACTERS


@pytest.mark.parametrize("person", sorted(PEOPLE))
def test_every_action_is_one_of_aws_and_is_narrowed_where_aws_allows_it(person: str) -> None:
    for statement in policy_of(person)["Statement"]:
        for action in as_list(statement["Action"]):
            assert exists(action), action
            # The reference lists no resource for this one; the user guide's own policy for sessions narrows it so.
            if statement["Effect"] == "Allow" and action != "ssmmessages:OpenDataChannel":
                assert (statement["Resource"] == "*") == (resource_types(action) == []), action


@pytest.mark.parametrize(
    ("document", "who"),
    [
        (f"{DOCUMENT}/{CLUSTER}-job.sales.submit", SALES),
        (f"{DOCUMENT}/{CLUSTER}-job.sales.cancel", SALES),
        (f"{DOCUMENT}/{CLUSTER}-job.sales-eu.cancel", SUBMITTER - SALES),
        (f"{DOCUMENT}/{CLUSTER}-job.sales-us.cancel", NOBODY),
        (f"{DOCUMENT}/{CLUSTER}-view.status", SUBMITTER),
        (f"{DOCUMENT}/{CLUSTER}-host.rotate", OPERATOR),
        (f"{DOCUMENT}/{CLUSTER}-other", NOBODY),
        (f"{DOCUMENT}/payroll-job.sales.submit", NOBODY),
        # A cluster whose name begins with ours, or with ours and the family's word.
        (f"{DOCUMENT}/{CLUSTER}-eu-job.sales.submit", NOBODY),
        (f"{DOCUMENT}/{CLUSTER}-job-job.sales.submit", NOBODY),
        (f"{OF_AWS}/AWS-RunShellScript", NOBODY),
        (f"{DOCUMENT}/AWS-RunShellScript", NOBODY),
        (f"{OF_AWS}/AWS-RunRemoteScript", NOBODY),
        (f"{OF_AWS}/AWS-RunDocument", NOBODY),
        (f"{OF_AWS}/AWS-ConfigureAWSPackage", NOBODY),
        (f"{DOCUMENT}/somebodys-own", NOBODY),
    ],
)
def test_commands_are_only_those_of_ones_own_family_on_ones_own_cluster(document: str, who: set[str]) -> None:
    assert who_may(*sends(document, OURS)) == who
    assert who_may(*sends(document, THEIRS)) == NOBODY
    assert who_may(*sends(document, {})) == NOBODY


@pytest.mark.parametrize(
    ("document", "who"),
    [
        (f"{DOCUMENT}/{CLUSTER}-job.sales.shell", SALES),
        (f"{DOCUMENT}/{CLUSTER}-view.port", SUBMITTER),
        (f"{DOCUMENT}/{CLUSTER}-host.rotate", NOBODY),
        (f"{DOCUMENT}/SSM-SessionManagerRunShell", NOBODY),
        (f"{OF_AWS}/AWS-StartInteractiveCommand", NOBODY),
        (f"{OF_AWS}/AWS-StartNonInteractiveCommand", NOBODY),
        (f"{OF_AWS}/AWS-StartPortForwardingSession", NOBODY),
        (f"{OF_AWS}/AWS-StartPortForwardingSessionToRemoteHost", NOBODY),
        (f"{OF_AWS}/AWS-StartPortForwardingSessionToSocket", NOBODY),
        (f"{OF_AWS}/AWS-StartSSHSession", NOBODY),
    ],
)
def test_sessions_are_only_those_of_our_documents(document: str, who: set[str]) -> None:
    assert who_may(*starts(document, OURS)) == who
    assert who_may(*starts(document, THEIRS)) == NOBODY


@pytest.mark.parametrize("person", sorted(PEOPLE))
@pytest.mark.parametrize(
    "document", ["AWS-RunShellScript", "AWS-StartInteractiveCommand", "AWS-StartPortForwardingSessionToRemoteHost"]
)
def test_no_other_policy_of_the_same_role_can_give_a_shell(person: str, document: str) -> None:
    everything = {"Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}}
    for call in (sends, starts):
        assert not is_allowed([policy_of(person), everything], *call(f"{OF_AWS}/{document}", OURS))


def test_every_statement_that_allows_a_session_has_the_default_document_checked() -> None:
    allowing = [
        statement
        for statement in policy_of("sales-submitter")["Statement"]
        if statement["Effect"] == "Allow" and "ssm:StartSession" in statement["Action"]
    ]
    assert len(allowing) == 2
    for statement in allowing:
        assert statement["Condition"]["BoolIfExists"] == {"ssm:SessionDocumentAccessCheck": "true"}


def test_sessions_are_ended_by_those_who_started_them() -> None:
    session = f"arn:aws:ssm:{REGION}:{ACCOUNT}:session/AROAX:ann-0a1b"
    for action in ("ssm:TerminateSession", "ssm:ResumeSession", "ssmmessages:OpenDataChannel"):
        assert who_may(Request(action, session, {"aws:userid": "AROAX:ann"})) == SUBMITTER
        assert who_may(Request(action, session, {"aws:userid": "AROAX:bob"})) == NOBODY


@pytest.mark.parametrize(
    ("action", "resource", "context", "who"),
    [
        # Data
        ("s3:GetObject", OBJECT, {"s3:ExistingObjectTag/sparkvault:tenant": "sales"}, SALES),
        ("s3:GetObject", OBJECT, {}, NOBODY),
        ("s3:PutObject", OBJECT, {"s3:RequestObjectTag/sparkvault:tenant": "sales"}, SALES),
        ("s3:PutObject", OBJECT, {"s3:RequestObjectTag/sparkvault:tenant": "payroll"}, NOBODY),
        ("s3:PutObject", OBJECT, {}, NOBODY),
        ("s3:DeleteObject", OBJECT, {}, NOBODY),
        ("s3:GetObject", f"arn:aws:s3:::{BUCKET}/other", {}, NOBODY),
        ("s3:GetObject", "arn:aws:s3:::other/jobs/1", {}, NOBODY),
        ("s3:ListBucket", f"arn:aws:s3:::{BUCKET}", {"s3:prefix": "jobs/1/"}, OPERATOR | SUBMITTER),
        ("s3:ListBucket", f"arn:aws:s3:::{BUCKET}", {"s3:prefix": ""}, NOBODY),
        ("s3:PutBucketPolicy", f"arn:aws:s3:::{BUCKET}", {}, NOBODY),
        ("kms:Decrypt", KEY_ARN, VIA_S3, SUBMITTER),
        ("kms:Decrypt", KEY_ARN, {}, NOBODY),
        ("kms:PutKeyPolicy", KEY_ARN, {}, NOBODY),
        ("kms:CreateGrant", KEY_ARN, {}, NOBODY),
        # Secrets of the swarm
        ("ssm:GetParameter", f"{PARAMETER}/swarm/worker/token", {}, NOBODY),
        ("ssm:GetParameter", f"{PARAMETER}/swarm/manager/token", {}, NOBODY),
        ("ssm:PutParameter", f"{PARAMETER}/swarm/worker/token", {}, NOBODY),
        ("ssm:GetParameter", f"{PARAMETER}/images/worker", {}, OPERATOR),
        ("ssm:PutParameter", f"{PARAMETER}/images/worker", {}, NOBODY),
        # Size and health
        ("autoscaling:SetDesiredCapacity", f"{GROUP}/{CLUSTER}-workers", {}, OPERATOR),
        ("autoscaling:SetDesiredCapacity", f"{GROUP}/{CLUSTER}-managers", {}, NOBODY),
        ("autoscaling:SetDesiredCapacity", f"{GROUP}/payroll-workers", {}, NOBODY),
        ("autoscaling:TerminateInstanceInAutoScalingGroup", f"{GROUP}/{CLUSTER}-managers", {}, OPERATOR),
        ("autoscaling:TerminateInstanceInAutoScalingGroup", f"{GROUP}/payroll-managers", {}, NOBODY),
        # Another launch template would be another program with the hosts' role.
        ("autoscaling:UpdateAutoScalingGroup", f"{GROUP}/{CLUSTER}-workers", {}, NOBODY),
        ("autoscaling:StartInstanceRefresh", f"{GROUP}/{CLUSTER}-workers", {}, NOBODY),
        ("autoscaling:DescribeAutoScalingGroups", "*", {}, PEOPLE),
        ("ec2:DescribeInstances", "*", {}, PEOPLE),
        ("ec2:GetConsoleOutput", INSTANCE, {"aws:ResourceTag/sparkvault:cluster": CLUSTER}, OPERATOR),
        ("ec2:GetConsoleOutput", INSTANCE, {"aws:ResourceTag/sparkvault:cluster": "payroll"}, NOBODY),
        ("ec2:CreateTags", INSTANCE, {}, NOBODY),
        ("ec2:RunInstances", INSTANCE, {}, NOBODY),
        # Logs and configuration
        ("logs:GetLogEvents", LOGS, {}, PEOPLE),
        ("logs:FilterLogEvents", LOGS, {}, PEOPLE),
        ("logs:GetLogEvents", LOGS.replace(CLUSTER, "payroll"), {}, NOBODY),
        ("logs:PutLogEvents", LOGS, {}, NOBODY),
        ("logs:DeleteLogStream", LOGS, {}, NOBODY),
        ("cloudformation:DescribeStacks", f"{STACK}/{CLUSTER}-swarm/0a1b", {}, PEOPLE),
        ("cloudformation:DescribeStackEvents", f"{STACK}/{CLUSTER}-swarm/0a1b", {}, PEOPLE),
        ("cloudformation:GetTemplate", f"{STACK}/{CLUSTER}-swarm/0a1b", {}, AUDITOR),
        ("cloudformation:DescribeStacks", f"{STACK}/{CLUSTER}-eu-swarm/0a1b", {}, NOBODY),
        ("cloudformation:UpdateStack", f"{STACK}/{CLUSTER}-swarm/0a1b", {}, NOBODY),
        ("kms:GetKeyPolicy", KEY_ARN, {}, AUDITOR),
        ("s3:GetBucketPolicy", f"arn:aws:s3:::{BUCKET}", {}, AUDITOR),
        ("iam:GetRolePolicy", f"arn:aws:iam::{ACCOUNT}:role/hosts", {}, AUDITOR),
        ("iam:GetRolePolicy", f"arn:aws:iam::{ACCOUNT}:role/others", {}, NOBODY),
        ("iam:GetPolicyVersion", f"arn:aws:iam::{ACCOUNT}:policy/{CLUSTER}-sales-submitter-{REGION}", {}, AUDITOR),
        ("ssm:GetDocument", f"{DOCUMENT}/{CLUSTER}-job.sales.submit", {}, AUDITOR),
        ("ec2:DescribeSecurityGroups", "*", {}, AUDITOR),
        ("iam:PassRole", f"arn:aws:iam::{ACCOUNT}:role/hosts", {}, NOBODY),
        ("sts:AssumeRole", f"arn:aws:iam::{ACCOUNT}:role/hosts", {}, NOBODY),
    ],
)
def test_who_may_do_what(action: str, resource: str, context: dict[str, str], who: set[str]) -> None:
    assert who_may(Request(action, resource, context)) == who


@pytest.mark.parametrize("person", ["operator", "auditor"])
@pytest.mark.parametrize(
    ("action", "resource"),
    [
        ("s3:GetObject", OBJECT),
        ("s3:GetObjectVersion", OBJECT),
        ("kms:Decrypt", KEY_ARN),
        ("ssm:GetParameter", f"{PARAMETER}/swarm/manager/token"),
        ("ssm:GetParametersByPath", f"{PARAMETER}/swarm"),
    ],
)
def test_no_other_policy_of_the_same_role_can_give_data(person: str, action: str, resource: str) -> None:
    everything = {"Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}}
    assert is_allowed([everything], Request(action, resource))
    assert not is_allowed([policy_of(person), everything], Request(action, resource))
