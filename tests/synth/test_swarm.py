"""The swarm's hosts, alone and as the stack of a deployment."""

import json
from functools import cache
from typing import Any

import pytest

from emulation.aws.iam_evaluation import Request, is_allowed
from spark_constructs.config_source import load_mapping
from spark_constructs.host_group_guards import EnclaveReservation
from spark_constructs.host_user_data import MAX_USER_DATA_BYTES
from spark_constructs.swarm import Swarm, SwarmManagers, SwarmProps, SwarmWorkers
from stacks.swarm import workers
from tests.support.swarm_surroundings import (
    ACCOUNT,
    CLUSTER,
    REFERENCES,
    REGION,
    inline_policies,
    only,
    resources,
    surroundings,
)
from tests.support.synth_app import Synthesised, Template, synthesise_alone, synthesised
from tests.support.synth_readable import text
from tests.support.synth_variants import ENCLAVE_KEY_ARN


@cache
def alone() -> Synthesised:
    def build(stack: Any) -> None:
        around = surroundings(stack)
        Swarm(
            stack,
            "Swarm",
            SwarmProps(
                cluster=CLUSTER,
                managers_security_group=around.security_group,
                workers_security_group=around.security_group,
                managers=SwarmManagers(count=3),
                workers=SwarmWorkers(enclaves=EnclaveReservation(1, 2, 4096)),
                **around.of_hosts(),
            ),
        )

    return synthesise_alone(build)


def user_data(template: Template) -> dict[str, str]:
    """User data by the name of the launch template."""
    return {
        body["Properties"]["LaunchTemplateName"]: text(body["Properties"]["LaunchTemplateData"]["UserData"])
        for body in resources(template, "AWS::EC2::LaunchTemplate").values()
    }


def test_it_works_alone_and_cdk_nag_finds_nothing() -> None:
    assert alone().violations == []
    groups = resources(alone().template("Alone"), "AWS::AutoScaling::AutoScalingGroup")
    assert {group["Properties"]["AutoScalingGroupName"] for group in groups.values()} == {
        "analytics-managers",
        "analytics-workers",
    }


def test_both_groups_share_one_bundle_and_one_topic() -> None:
    template = alone().template("Alone")
    (topic,) = resources(template, "AWS::SNS::Topic")
    for group in resources(template, "AWS::AutoScaling::AutoScalingGroup").values():
        (notification,) = group["Properties"]["NotificationConfigurations"]
        assert notification["TopicARN"] == {"Ref": topic}
    urls = {line for each in user_data(template).values() for line in each.splitlines() if "aws s3 cp" in line}
    assert len(urls) == 1


def test_hosts_of_both_kinds_start_together_once_there_is_what_they_ask_for() -> None:
    template = alone().template("Alone")
    groups = resources(template, "AWS::AutoScaling::AutoScalingGroup")
    asked_for = {
        *resources(template, "AWS::DynamoDB::Table"),
        *(name for name in resources(template, "AWS::SSM::Parameter") if not name.startswith("Documents")),
    }
    for group in groups.values():
        assert asked_for <= set(group["DependsOn"])
        assert not set(groups) & set(group["DependsOn"])


def test_each_host_signals_the_group_it_is_in() -> None:
    template = alone().template("Alone")
    scripts = user_data(template)
    for logical_id, group in resources(template, "AWS::AutoScaling::AutoScalingGroup").items():
        script = scripts[group["Properties"]["AutoScalingGroupName"]]
        assert f"--logical-resource-id {logical_id} " in script
        assert f'"group": "{group["Properties"]["AutoScalingGroupName"]}"' in script


def test_only_workers_set_memory_aside() -> None:
    scripts = user_data(alone().template("Alone"))
    assert "memory_mib: 4096" in scripts["analytics-workers"]
    assert "allocator.yaml" not in scripts["analytics-managers"]


def test_a_worker_cannot_read_the_managers_token_and_a_manager_can() -> None:
    token = f"arn:aws:ssm:{REGION}:{ACCOUNT}:parameter/sparkvault/{CLUSTER}/swarm/manager/token"
    roles = resources(alone().template("Alone"), "AWS::IAM::Role")
    may = {
        "Managers" in name: is_allowed(inline_policies(role), Request("ssm:GetParameter", token))
        for name, role in roles.items()
    }
    assert may == {True: True, False: False}


# The stack of a deployment, under each configuration.


def test_the_stack_gives_what_people_and_commands_need_by_name(application_with_hosts: Synthesised) -> None:
    outputs = application_with_hosts.template("Swarm")["Outputs"]
    named = {
        "ManagersGroupName",
        "WorkersGroupName",
        "ManagersRoleArn",
        "WorkersRoleArn",
        "OperatorPolicyArn",
        "AuditorPolicyArn",
        "HostNotificationsTopicArn",
        "LogGroupName",
    }
    named |= {name for name in outputs if name.endswith("SubmitterPolicyArn")}
    assert named <= set(outputs)
    assert any(name.endswith("SubmitterPolicyArn") for name in named)
    for name in named:
        assert outputs[name]["Description"]


def test_user_data_stays_small(application_with_hosts: Synthesised) -> None:
    scripts = user_data(application_with_hosts.template("Swarm"))
    assert len(scripts) == 2
    for script in scripts.values():
        assert len(script.encode()) < MAX_USER_DATA_BYTES


def test_the_bucket_and_log_group_that_hosts_know_by_name_are_those_of_the_storage_stack(
    application_with_hosts: Synthesised,
) -> None:
    storage = application_with_hosts.template("Storage")
    buckets = {text(body["Properties"]["BucketName"]) for body in resources(storage, "AWS::S3::Bucket").values()}
    log_groups = {body["Properties"]["LogGroupName"] for body in resources(storage, "AWS::Logs::LogGroup").values()}
    for script in user_data(application_with_hosts.template("Swarm")).values():
        who = json.loads(script.split("host.json <<'END'\n", 1)[1].split("\nEND", 1)[0])
        assert who["job_bucket"] in buckets
        assert who["log_group"] in log_groups


def test_every_role_is_bounded_where_a_boundary_is_configured() -> None:
    for role in resources(synthesised("existing").template("Swarm"), "AWS::IAM::Role").values():
        assert role["Properties"]["PermissionsBoundary"].endswith(":policy/platform/Boundary")


def test_hosts_pull_only_from_the_repository_that_images_are_pushed_to() -> None:
    repository = (
        "arn:aws:ecr:eu-central-1:111122223333:repository/cdk-hnb659fds-container-assets-111122223333-eu-central-1"
    )
    hosts = [
        role
        for role in resources(synthesised("frankfurt").template("Swarm"), "AWS::IAM::Role").values()
        if "ec2.amazonaws.com" in str(role["Properties"]["AssumeRolePolicyDocument"])
    ]
    assert len(hosts) == 2, "managers and workers; tenants pull nothing"
    for role in hosts:
        pulls = [
            statement
            for policy in role["Properties"]["Policies"]
            for statement in policy["PolicyDocument"]["Statement"]
            if statement["Sid"] == "PullImages"
        ]
        assert [text(statement["Resource"]).replace("${AWS::Partition}", "aws") for statement in pulls] == [repository]


def test_without_images_nothing_can_be_pulled() -> None:
    for role in resources(synthesised("existing").template("Swarm"), "AWS::IAM::Role").values():
        assert "ecr:" not in str(role)


def test_hosts_start_after_the_images_are_there() -> None:
    dependencies = synthesised("default").manifest["artifacts"]["Swarm"]["dependencies"]
    assert {"Storage", "Network", "Images"} <= set(dependencies)


def test_the_configuration_reaches_the_hosts() -> None:
    template = synthesised("frankfurt").template("Swarm")
    groups = {
        group["Properties"]["AutoScalingGroupName"]: group["Properties"]
        for group in resources(template, "AWS::AutoScaling::AutoScalingGroup").values()
    }
    assert groups["analytics-managers"]["DesiredCapacity"] == "3"
    assert len(groups["analytics-managers"]["VPCZoneIdentifier"]) == 3
    assert groups["analytics-workers"]["MaxSize"] == "20"
    assert groups["analytics-workers"]["MixedInstancesPolicy"]["InstancesDistribution"]["OnDemandBaseCapacity"] == 1
    assert "memory_mib: 4096" in user_data(template)["analytics-workers"]


def test_only_workers_ask_for_tables_of_the_data_owners_key_and_only_where_one_is_configured() -> None:
    def asking(variant: str) -> dict[str, list[Any]]:
        policies = resources(synthesised(variant).template("Swarm"), "AWS::IAM::Policy").values()
        return {
            statement["Resource"]: [role["Ref"] for role in policy["Properties"]["Roles"]]
            for policy in policies
            for statement in policy["Properties"]["PolicyDocument"]["Statement"]
            if statement.get("Sid") == "TablesInEnclaves"
        }

    ((key, (role,)),) = asking("frankfurt").items()
    assert key == ENCLAVE_KEY_ARN
    assert "Workers" in role
    assert asking("default") == {}


@pytest.mark.parametrize("enabled", [True, False])
def test_spot_and_enclaves_are_off_unless_they_are_asked_for(enabled: bool) -> None:
    deployment = load_mapping(
        {"hosts": {"workers": {"spot": {"enabled": enabled}}}, "enclaves": {"enabled": enabled}}, "a test"
    )
    made = workers(deployment)
    assert (made.spot is not None, made.enclaves is not None) == (enabled, enabled)


def test_a_policy_of_each_kind_is_named_after_the_cluster_its_tenant_and_region() -> None:
    policies = resources(synthesised("frankfurt").template("Swarm"), "AWS::IAM::ManagedPolicy")
    assert {policy["Properties"]["ManagedPolicyName"] for policy in policies.values()} == {
        f"analytics-{name}-eu-central-1" for name in ("operator", "finance-submitter", "research-submitter", "auditor")
    }


def test_references_of_the_bare_stack_are_all_known() -> None:
    # So that the tests above never compare a placeholder with itself.
    role = next(iter(resources(alone().template("Alone"), "AWS::IAM::Role").values()))
    assert "${AWS" not in str(inline_policies(role, REFERENCES))
    assert only(alone().template("Alone"), "AWS::SNS::Topic")
