"""Who may take a tenant's role, and what a session of it may do, asked as IAM would decide it."""

from functools import cache
from typing import Any

import pytest
from aws_cdk import aws_iam as iam

from emulation.aws.iam_evaluation import PolicyDocument, Request, is_allowed
from spark_constructs.tenant_permissions import TenantCatalog, TenantData
from spark_constructs.tenant_roles import HISTORY, TenantAccess, TenantRoles, TenantRolesProps
from tests.support.swarm_surroundings import (
    ACCOUNT,
    BUCKET,
    CLUSTER,
    KEY_ARN,
    REGION,
    inline_policies,
    resources,
    surroundings,
)
from tests.support.synth_app import Synthesised, synthesise_alone

WORKERS = f"arn:aws:iam::{ACCOUNT}:role/workers"
TENANT_KEY = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/0a1b2c3d-0000-4000-8000-000000000002"
JOB = "20261121-120000-0a1b2c3d"
OBJECTS = f"arn:aws:s3:::{BUCKET}"
OF_JOB = {"aws:PrincipalTag/sparkvault-job": "mine"}
VIA_S3 = {"kms:ViaService": f"s3.{REGION}.amazonaws.com"}


@cache
def synthesised() -> Synthesised:
    def build(stack: Any) -> None:
        around = surroundings(stack)
        TenantRoles(
            stack,
            "Tenants",
            TenantRolesProps(
                cluster=CLUSTER,
                tenants=(
                    TenantAccess("sales", data=(TenantData("sales-data", "2026/", True),), key_arn=TENANT_KEY),
                    TenantAccess("audit"),
                ),
                workers_role=iam.Role.from_role_arn(stack, "Workers", WORKERS),
                job_bucket=around.job_bucket,
                key=around.key,
                catalog=TenantCatalog(("sales",)),
            ),
        )

    return synthesise_alone(build)


def role(tenant: str) -> dict[str, Any]:
    part = "history" if tenant == HISTORY else f"tenant-{tenant}"
    name = f"{CLUSTER}-{part}-{REGION}"
    found = resources(synthesised().template("Alone"), "AWS::IAM::Role").values()
    return next(
        each
        for each in found
        if each["Properties"]["RoleName"] in (name, name.replace(REGION, ""))
        or part in str(each["Properties"]["RoleName"])
    )


@cache
def policies(tenant: str) -> list[PolicyDocument]:
    return inline_policies(role(tenant))


@pytest.mark.parametrize("tenant", ["sales", "audit", HISTORY])
def test_only_workers_take_the_role_and_only_in_the_tenants_name(tenant: str) -> None:
    statements = role(tenant)["Properties"]["AssumeRolePolicyDocument"]["Statement"]
    for statement in statements:
        assert statement["Principal"] == {"AWS": WORKERS}
        assert statement["Condition"]["StringEquals"] == {"aws:RequestTag/sparkvault-tenant": tenant}
        assert statement["Condition"]["ForAllValues:StringEquals"] == {
            "aws:TagKeys": ["sparkvault-tenant", "sparkvault-job"]
        }
    actions = {
        action
        for each in statements
        for action in ([each["Action"]] if isinstance(each["Action"], str) else each["Action"])
    }
    assert actions == {"sts:AssumeRole", "sts:TagSession"}


@pytest.mark.parametrize(
    ("action", "resource", "context", "who"),
    [
        ("s3:PutObject", f"{OBJECTS}/eventlog/app-1", {}, set()),
        ("s3:GetObject", f"{OBJECTS}/eventlog/app-1", {}, {HISTORY}),
        ("s3:GetObject", f"{OBJECTS}/jobs/mine/files/app.py", OF_JOB, {"sales", "audit"}),
        ("s3:PutObject", f"{OBJECTS}/jobs/mine/files/app.py", OF_JOB, set()),
        ("s3:PutObject", f"{OBJECTS}/jobs/mine/record.json", OF_JOB, set()),
        ("s3:PutObject", f"{OBJECTS}/jobs/mine/eventlog/events_1", OF_JOB, {"sales", "audit"}),
        ("s3:GetObject", f"{OBJECTS}/jobs/mine/eventlog/events_1", OF_JOB, set()),
        ("s3:GetObject", f"{OBJECTS}/jobs/another/eventlog/events_1", OF_JOB, set()),
        ("s3:GetObject", f"{OBJECTS}/jobs/another/files/app.py", OF_JOB, set()),
        ("s3:PutObject", f"{OBJECTS}/tenants/sales/x", {}, {"sales"}),
        ("s3:GetObject", f"{OBJECTS}/swarm", {}, set()),
        ("s3:GetObject", "arn:aws:s3:::sales-data/2026/part-0", {}, {"sales"}),
        ("s3:PutObject", "arn:aws:s3:::sales-data/2026/part-0", {}, {"sales"}),
        ("s3:GetObject", "arn:aws:s3:::sales-data/2025/part-0", {}, set()),
        ("kms:Decrypt", KEY_ARN, VIA_S3, {"sales", "audit", HISTORY}),
        ("kms:Decrypt", KEY_ARN, {}, set()),
        ("kms:Decrypt", TENANT_KEY, {"kms:EncryptionContext:tenant": "sales"}, {"sales"}),
        ("kms:Decrypt", TENANT_KEY, {"kms:EncryptionContext:tenant": "audit"}, set()),
        ("glue:GetTable", f"arn:aws:glue:{REGION}:{ACCOUNT}:table/sales/orders", {}, {"sales", "audit"}),
        ("glue:GetTable", f"arn:aws:glue:{REGION}:{ACCOUNT}:table/hr/people", {}, set()),
        ("ssm:GetParameter", f"arn:aws:ssm:{REGION}:{ACCOUNT}:parameter/sparkvault/x", {}, set()),
        ("sts:AssumeRole", f"arn:aws:iam::{ACCOUNT}:role/x", {}, set()),
    ],
)
def test_a_session_does_its_tenants_work_and_nothing_else(
    action: str, resource: str, context: dict[str, str], who: set[str]
) -> None:
    allowed = {
        tenant
        for tenant in ("sales", "audit", HISTORY)
        if is_allowed(policies(tenant), Request(action, resource, context))
    }
    assert allowed == who
