"""Spark on Fargate: what tasks, tenants and submitters may do, and tasks that Fargate would refuse."""

from typing import Any

import pytest
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_kms as kms
from aws_cdk import aws_logs as logs

from emulation.aws.iam_evaluation import PolicyDocument, Request, evaluate_resource_policy, is_allowed
from spark_constructs.fargate_cluster import (
    InvalidFargateClusterError,
    SparkFargateCluster,
    SparkFargateClusterProps,
    TaskSize,
)
from tests.support.concrete_policies import concrete
from tests.support.swarm_surroundings import ACCOUNT, KEY_ARN, REFERENCES, REGION
from tests.support.synth_app import Synthesised, synthesise_alone, synthesised
from tests.support.synth_policies import statements

ECS = f"arn:aws:ecs:{REGION}:{ACCOUNT}"
CLUSTER = f"{ECS}:cluster/serverless-fargate"
TASK = f"{ECS}:task/serverless-fargate/0a1b2c3d4e5f"


class _References(dict[str, str]):
    """Whatever a template refers to, by its own name, so that policies can be told apart."""

    def __missing__(self, key: str) -> str:
        return KEY_ARN if "Key" in key else f"arn:aws:iam::{ACCOUNT}:role/{key}"

    def __contains__(self, key: object) -> bool:
        return True


def template() -> dict[str, Any]:
    return synthesised("serverless").template("Fargate")


def policies_of(name: str) -> list[PolicyDocument]:
    """The policies of the role or managed policy whose logical id begins so."""
    references = _References({**REFERENCES, "AWS::StackName": "serverless-fargate"})
    found = [each for each in statements({"Fargate": template()}, "identity") if each.logical_id.startswith(name)]
    assert found
    return [{"Statement": concrete([each.body for each in found], references)}]


def key_policy() -> PolicyDocument:
    found = [each.body for each in statements({"Fargate": template()}, "key")]
    return {"Statement": concrete(found, _References(REFERENCES))}


class TestExecutors:
    @pytest.mark.parametrize("action", ["ecs:RunTask", "ecs:StopTask", "ecs:DescribeTasks", "ecs:ExecuteCommand"])
    def test_can_do_nothing_with_ecs(self, action: str) -> None:
        policies = policies_of("FargateTenantFinanceExecutor")
        assert not is_allowed(policies, Request(action, TASK, {"ecs:cluster": CLUSTER}))
        assert not any("ecs:" in str(each["Action"]) for each in policies[0]["Statement"])

    def test_cannot_be_entered_and_write_to_two_folders_only(self) -> None:
        definitions = [each for each in template()["Resources"].values() if each["Type"] == "AWS::ECS::TaskDefinition"]
        for each in definitions:
            (container,) = each["Properties"]["ContainerDefinitions"]
            kind = container["Name"].removeprefix("spark-")
            assert container["ReadonlyRootFilesystem"] is (kind != "shell")
            assert container["LinuxParameters"]["Capabilities"] == {"Drop": ["ALL"]}
            assert container["User"] == "185:185"
            assert "Environment" not in container
            assert "Secrets" not in container
        assert len(definitions) == 6


class TestDrivers:
    RUN = {
        "ecs:cluster": CLUSTER,
        "aws:RequestTag/sparkvault:tenant": "finance",
        "ecs:enable-execute-command": "false",
    }

    def run(self, definition: str, **context: str) -> bool:
        resource = f"{ECS}:task-definition/serverless-fargate-{definition}:7"
        return is_allowed(
            policies_of("FargateTenantFinanceDriver"), Request("ecs:RunTask", resource, {**self.RUN, **context})
        )

    def test_run_executors_of_their_tenant_on_their_cluster(self) -> None:
        assert self.run("finance-executor")
        assert not self.run("research-executor")
        assert not self.run("finance-shell")
        assert not self.run("finance-executor", **{"ecs:cluster": CLUSTER + "2"})
        assert not self.run("finance-executor", **{"aws:RequestTag/sparkvault:tenant": "research"})
        assert not self.run("finance-executor", **{"ecs:enable-execute-command": "true"})

    def test_stop_tasks_of_their_tenant_only(self) -> None:
        policies = policies_of("FargateTenantFinanceDriver")
        for tenant, allowed in (("finance", True), ("research", False)):
            context = {"ecs:cluster": CLUSTER, "aws:ResourceTag/sparkvault:tenant": tenant}
            assert is_allowed(policies, Request("ecs:StopTask", TASK, context)) is allowed

    def test_pass_two_roles_to_tasks_and_no_other(self) -> None:
        passed = [
            each
            for each in policies_of("FargateTenantFinanceDriver")[0]["Statement"]
            if "iam:PassRole" in str(each["Action"])
        ]
        (statement,) = passed
        assert len(statement["Resource"]) == 2
        assert all("Finance" in arn or "Execution" in arn for arn in statement["Resource"])


class TestTheKey:
    CONTEXT = {
        "kms:EncryptionContext:tenant": "finance",
        "kms:EncryptionContext:application": "app-1",
        "kms:EncryptionContextKeys": ["application", "tenant"],
    }

    def decrypt(self, role: str, **context: Any) -> bool:
        given = {key: value for key, value in {**self.CONTEXT, **context}.items() if value is not None}
        who = f"arn:aws:iam::{ACCOUNT}:role/serverless-{role}-{REGION}"
        return evaluate_resource_policy(key_policy(), who, Request("kms:Decrypt", KEY_ARN, given)).value == "allowed"

    def test_unwraps_a_tenants_secret_for_its_own_tasks(self) -> None:
        assert self.decrypt("finance-executor")
        assert self.decrypt("finance-driver")

    def test_unwraps_nothing_for_another_tenant_or_without_the_application(self) -> None:
        assert not self.decrypt("research-executor")
        assert not self.decrypt("finance-executor", **{"kms:EncryptionContext:tenant": "research"})
        without = {"kms:EncryptionContext:application": None, "kms:EncryptionContextKeys": ["tenant"]}
        assert not self.decrypt("finance-executor", **without)
        assert not self.decrypt("someone")


class TestSubmitters:
    ME = {"aws:userid": "AROAEXAMPLE:ana"}

    def allowed(self, action: str, resource: str, **context: str) -> bool:
        return is_allowed(policies_of("SubmitterFinance"), Request(action, resource, {**self.ME, **context}))

    def test_run_drivers_of_their_tenant_in_their_own_name(self) -> None:
        definition = f"{ECS}:task-definition/serverless-fargate-finance-driver:1"
        tags = {
            "ecs:cluster": CLUSTER,
            "aws:RequestTag/sparkvault:tenant": "finance",
            "aws:RequestTag/sparkvault:submitter": "AROAEXAMPLE:ana",
        }
        assert self.allowed("ecs:RunTask", definition, **tags)
        assert not self.allowed("ecs:RunTask", definition.replace("finance", "research"), **tags)
        other = {**tags, "aws:RequestTag/sparkvault:submitter": "AROAEXAMPLE:ben"}
        assert not self.allowed("ecs:RunTask", definition, **other)

    def test_enter_their_own_shells_only(self) -> None:
        def enter(by: str, container: str) -> bool:
            tags = {"aws:ResourceTag/sparkvault:submitter": by, "ecs:container-name": container}
            return self.allowed("ecs:ExecuteCommand", TASK, **tags)

        assert enter("AROAEXAMPLE:ana", "spark-shell")
        assert not enter("AROAEXAMPLE:ben", "spark-shell")
        assert not enter("AROAEXAMPLE:ana", "spark-executor")

    def test_reach_the_port_of_their_own_connect_servers_only(self) -> None:
        def start(by: str, document: str = "serverless-fargate.connect") -> bool:
            context = {"ssm:SessionDocumentAccessCheck": "true"}
            name = f"arn:aws:ssm:{REGION}:{ACCOUNT}:document/{document}"
            tags = {"aws:ResourceTag/sparkvault:submitter": by, **context}
            return self.allowed("ssm:StartSession", name, **context) and self.allowed("ssm:StartSession", TASK, **tags)

        assert start("AROAEXAMPLE:ana")
        assert not start("AROAEXAMPLE:ben")
        assert not start("AROAEXAMPLE:ana", "AWS-StartPortForwardingSession")
        assert not start("AROAEXAMPLE:ana", "SSM-SessionManagerRunShell")
        # Where no document is named, SSM does not check one, but for this condition.
        own = {"aws:ResourceTag/sparkvault:submitter": "AROAEXAMPLE:ana", "ssm:SessionDocumentAccessCheck": "false"}
        assert not self.allowed("ssm:StartSession", TASK, **own)

    def test_nothing_else_they_have_leads_into_another_persons_task(self) -> None:
        broad: PolicyDocument = {
            "Version": "2012-10-17",
            "Statement": [{"Effect": "Allow", "Action": "ssm:*", "Resource": "*"}],
        }
        context = {**self.ME, "aws:ResourceTag/sparkvault:submitter": "AROAEXAMPLE:ben"}
        assert is_allowed([broad], Request("ssm:StartSession", TASK, context))
        assert not is_allowed([broad, *policies_of("SubmitterFinance")], Request("ssm:StartSession", TASK, context))

    def test_read_and_write_files_of_their_tenants_jobs_only(self) -> None:
        file = f"arn:aws:s3:::serverless-jobs-{ACCOUNT}-{REGION}/jobs/20261121-120000-0a1b2c3d/files/app.py"
        for tenant, allowed in (("finance", True), ("research", False)):
            assert self.allowed("s3:PutObject", file, **{"s3:RequestObjectTag/sparkvault:tenant": tenant}) is allowed
            assert self.allowed("s3:GetObject", file, **{"s3:ExistingObjectTag/sparkvault:tenant": tenant}) is allowed


class TestTheJobBucket:
    def test_shuffle_files_that_nobody_removed_expire_for_every_tenant(self) -> None:
        storage = synthesised("serverless").template("Storage")
        rules = [
            rule
            for resource in storage["Resources"].values()
            if resource["Type"] == "AWS::S3::Bucket"
            for rule in resource["Properties"]["LifecycleConfiguration"]["Rules"]
        ]
        found = {rule["Prefix"]: rule for rule in rules if rule.get("Prefix", "").endswith("/shuffle/")}
        families = {resource["Properties"]["Family"] for resource in _task_definitions()}
        tenants = {family.removeprefix("serverless-fargate-").rpartition("-")[0] for family in families}
        assert found.keys() == {f"tenants/{tenant}/shuffle/" for tenant in tenants}
        for rule in found.values():
            assert rule["ExpirationInDays"] == 1
            assert rule["NoncurrentVersionExpiration"]["NoncurrentDays"] == 1


def _task_definitions() -> list[dict[str, Any]]:
    return [one for one in template()["Resources"].values() if one["Type"] == "AWS::ECS::TaskDefinition"]


class TestTheConstruct:
    def alone(self, **changes: Any) -> Synthesised:
        def build(stack: Any) -> None:
            given = {
                "cluster": "alone",
                "image": "example/spark@sha256:" + "ab" * 32,
                "log_group": logs.LogGroup.from_log_group_name(stack, "Logs", "/sparkvault/alone/fargate"),
                "log_key": kms.Key.from_key_arn(stack, "LogKey", KEY_ARN),
                "tenants": {"default": ()},
                **changes,
            }
            vpc = ec2.Vpc.from_vpc_attributes(
                stack,
                "Vpc",
                vpc_id="vpc-0a1b2c3d4e5f60718",
                availability_zones=["eu-central-1a"],
                private_subnet_ids=["subnet-0a1b2c3d4e5f60711"],
            )
            SparkFargateCluster(stack, "Fargate", SparkFargateClusterProps(**given), vpc=vpc)

        return synthesise_alone(build)

    def test_alone_it_passes_cdk_nag(self) -> None:
        assert self.alone().violations == []

    @pytest.mark.parametrize(
        ("changes", "reason"),
        [
            ({"tenants": {}}, "no tenant"),
            ({"driver": TaskSize(3, 8192)}, "no driver with 3 vCPU"),
            ({"executor": TaskSize(1, 16384)}, "no executor with 1 vCPU and 16384 MiB"),
            ({"executor": TaskSize(1, 4096, 500)}, "500 GiB is not within 21 to 200"),
            ({"stop_timeout_seconds": 300}, "not within 2 to 120"),
            ({"monthly_budget_usd": 5}, "both or neither"),
        ],
    )
    def test_tasks_that_fargate_would_refuse_are_refused_before(self, changes: dict[str, Any], reason: str) -> None:
        with pytest.raises(InvalidFargateClusterError, match=reason):
            self.alone(**changes)
