"""Stacks of the embedded CloudFormation keep CloudFormation's promises: order, events, rollback, exports, signals."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from botocore.exceptions import ClientError

from emulation.aws import EmbeddedAws, leftovers
from tests.support.embedded_aws_stacks import Stacks, hosts, parameter, wait_for


@pytest.fixture(scope="module")
def aws() -> Iterator[EmbeddedAws]:
    with EmbeddedAws(hosts="external") as running:
        yield running
        assert leftovers(running) == {}


@pytest.fixture
def stacks(aws: EmbeddedAws) -> Iterator[Stacks]:
    """CloudFormation; afterwards every stack is deleted, and at the end of the module nothing may be left."""
    api = Stacks(aws)
    yield api
    for name in sorted((stack["StackName"] for stack in api.api.describe_stacks()["Stacks"]), reverse=True):
        api.delete(name)


def parameters_of(aws: EmbeddedAws) -> list[str]:
    """Names in Parameter Store without the public ones, which moto lists too."""
    pages = aws.client("ssm").get_paginator("describe_parameters").paginate()
    names = [one["Name"] for page in pages for one in page["Parameters"]]
    return sorted(name for name in names if not name.startswith("/aws/"))


def instances_of(aws: EmbeddedAws, group: str) -> list[str]:
    found = aws.client("autoscaling").describe_auto_scaling_groups(AutoScalingGroupNames=[group])["AutoScalingGroups"]
    return [instance["InstanceId"] for instance in found[0]["Instances"]] if found else []


def hosts_of(aws: EmbeddedAws, stacks: Stacks, name: str) -> list[str]:
    """Instance ids of the resource `Hosts`, as soon as it is there."""

    def started() -> list[str]:
        resources = stacks.api.describe_stack_resources(StackName=name)["StackResources"]
        groups = [r["PhysicalResourceId"] for r in resources if r["LogicalResourceId"] == "Hosts"]
        return instances_of(aws, groups[0]) if groups and groups[0] else []

    return wait_for(f"instances of {name}", started)


def send(stacks: Stacks, name: str, instance: str, status: str = "SUCCESS", resource: str = "Hosts") -> None:
    stacks.api.signal_resource(StackName=name, LogicalResourceId=resource, UniqueId=instance, Status=status)


# ------------------------------------------------------------------------------------------------------- templates
def test_what_was_submitted_is_given_back_exactly(stacks: Stacks) -> None:
    text = (
        "# a comment\nResources:\n  One:\n    Type: AWS::SSM::Parameter\n"
        "    Properties: {Name: /a, Type: String, Value: 1}\n"
    )
    stacks.api.create_stack(StackName="s", TemplateBody=text)
    assert stacks.settled("s") == "CREATE_COMPLETE"
    assert stacks.api.get_template(StackName="s")["TemplateBody"] == text


def test_functions_conditions_and_parameters_are_evaluated(aws: EmbeddedAws, stacks: Stacks) -> None:
    value = {
        "Fn::Join": [
            ";",
            [
                {"Fn::Sub": ["${Where}/${AWS::Region}/${!kept}", {"Where": {"Fn::FindInMap": ["M", "a", "b"]}}]},
                {"Fn::Select": [1, {"Fn::Split": [",", "x,y"]}]},
                {"Fn::If": ["Large", "large", "small"]},
                {"Fn::GetAtt": ["First", "Value"]},
                {"Fn::Select": [0, {"Fn::GetAZs": ""}]},
                {"Ref": "Image"},
            ],
        ]
    }
    stacks.create(
        "s",
        {
            "Second": parameter("/second", value),
            "First": parameter("/first"),
            "Never": parameter("/never", Condition="Large"),
        },
        Declared={
            "Size": {"Type": "String", "AllowedValues": ["s", "l"]},
            "Image": {
                "Type": "AWS::SSM::Parameter::Value<AWS::EC2::Image::Id>",
                "Default": "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-6.1-x86_64",
            },
        },
        Conditions={"Large": {"Fn::Equals": [{"Ref": "Size"}, "l"]}},
        Mappings={"M": {"a": {"b": "here"}}},
        Parameters=[{"ParameterKey": "Size", "ParameterValue": "s"}],
    )
    assert stacks.settled("s") == "CREATE_COMPLETE"
    evaluated = aws.client("ssm").get_parameter(Name="/second")["Parameter"]["Value"]
    assert evaluated.startswith("here/eu-central-1/${kept};y;small;value;eu-central-1a;ami-")
    assert parameters_of(aws) == ["/first", "/second"]


@pytest.mark.parametrize(
    ("resources", "complaint"),
    [
        ({"A": parameter("/a", {"Ref": "Missing"})}, r"Unresolved resource dependencies \[Missing\]"),
        ({"A": parameter("/a", DependsOn="B"), "B": parameter("/b", DependsOn="A")}, "Circular dependency"),
        ({"A": {"Properties": {}}}, "must contain a Type"),
    ],
)
def test_a_bad_template_is_refused_before_anything_is_made(
    stacks: Stacks, resources: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(ClientError, match=complaint):
        stacks.create("s", resources)
    assert stacks.status("s") == "DELETE_COMPLETE"


def test_an_update_without_changes_is_refused(stacks: Stacks) -> None:
    stacks.create("s", {"A": parameter("/a")})
    stacks.settled("s")
    with pytest.raises(ClientError, match=r"No updates are to be performed"):
        stacks.update("s", {"A": parameter("/a")})


# ---------------------------------------------------------------------------------------------------------- failures
def test_a_type_that_is_not_there_fails_the_stack_loudly(aws: EmbeddedAws, stacks: Stacks) -> None:
    stacks.create("s", {"A": parameter("/a"), "Odd": {"Type": "AWS::EFS::FileSystem", "DependsOn": "A"}})
    assert stacks.settled("s") == "ROLLBACK_COMPLETE"
    assert "AWS::EFS::FileSystem" in stacks.reasons("s", "Odd")[0]
    assert stacks.history("s", "A") == [
        "CREATE_IN_PROGRESS",
        "CREATE_COMPLETE",
        "DELETE_IN_PROGRESS",
        "DELETE_COMPLETE",
    ]
    assert parameters_of(aws) == []
    with pytest.raises(ClientError, match="ROLLBACK_COMPLETE state and can not be updated"):
        stacks.update("s", {"A": parameter("/a")})


def test_a_property_that_is_not_there_fails_too(stacks: Stacks) -> None:
    queue = {"Type": "AWS::DynamoDB::Table", "Properties": {"KeySchema": [], "Colour": "red"}}
    stacks.create("s", {"Q": queue})
    assert stacks.settled("s") == "ROLLBACK_COMPLETE"
    assert "unsupported property Colour" in stacks.reasons("s", "Q")[0]


def test_an_error_of_a_service_becomes_the_reason(stacks: Stacks) -> None:
    stacks.create("s", {"A": parameter("/taken"), "B": parameter("/taken", DependsOn="A")})
    assert stacks.settled("s") == "ROLLBACK_COMPLETE"
    assert "already exists" in stacks.reasons("s", "B")[0]
    assert stacks.reasons("s", "s")[1] == (
        "The following resource(s) failed to create: [B]. Rollback requested by user."
    )


def test_what_a_policy_retains_survives_the_rollback(aws: EmbeddedAws, stacks: Stacks) -> None:
    odd = {"Type": "AWS::EFS::FileSystem", "DependsOn": ["Kept", "Made"]}
    stacks.create(
        "s",
        {
            "Kept": parameter("/kept", DeletionPolicy="Retain"),
            "Made": parameter("/made", DeletionPolicy="RetainExceptOnCreate"),
            "Odd": odd,
        },
    )
    assert stacks.settled("s") == "ROLLBACK_COMPLETE"
    assert parameters_of(aws) == ["/kept"]
    aws.client("ssm").delete_parameter(Name="/kept")


def test_a_failed_update_brings_the_old_properties_back(aws: EmbeddedAws, stacks: Stacks) -> None:
    stacks.create("s", {"A": parameter("/a", "old"), "B": parameter("/b")})
    stacks.settled("s")
    stacks.update(
        "s",
        {
            "A": parameter("/a", "new"),
            "New": parameter("/new"),
            "Odd": {"Type": "AWS::EFS::FileSystem", "DependsOn": ["A", "New"]},
        },
    )
    assert stacks.settled("s") == "UPDATE_ROLLBACK_COMPLETE"
    ssm = aws.client("ssm")
    assert ssm.get_parameter(Name="/a")["Parameter"]["Value"] == "old"
    assert parameters_of(aws) == ["/a", "/b"]
    template = stacks.api.get_template(StackName="s")["TemplateBody"]  # boto3 has parsed the JSON
    assert template["Resources"]["A"]["Properties"]["Value"] == "old"
    stacks.update("s", {"A": parameter("/a", "newer")})
    assert stacks.settled("s") == "UPDATE_COMPLETE"
    assert parameters_of(aws) == ["/a"]


def test_a_replaced_resource_is_made_first_and_deleted_afterwards(aws: EmbeddedAws, stacks: Stacks) -> None:
    stacks.create("s", {"A": parameter("/one")})
    stacks.settled("s")
    stacks.update("s", {"A": parameter("/two")})
    assert stacks.settled("s") == "UPDATE_COMPLETE"
    assert parameters_of(aws) == ["/two"]
    assert stacks.history("s", "A")[-4:] == [
        "UPDATE_IN_PROGRESS",
        "UPDATE_COMPLETE",
        "DELETE_IN_PROGRESS",
        "DELETE_COMPLETE",
    ]


# ----------------------------------------------------------------------------------------------------------- exports
def test_exports_reach_other_stacks_and_are_protected_while_in_use(aws: EmbeddedAws, stacks: Stacks) -> None:
    output = {"Out": {"Value": {"Ref": "A"}, "Export": {"Name": "shared"}}}
    stacks.create("owner", {"A": parameter("/a")}, Outputs=output)
    assert stacks.settled("owner") == "CREATE_COMPLETE"
    stacks.create("user", {"B": parameter("/b", {"Fn::ImportValue": "shared"})})
    assert stacks.settled("user") == "CREATE_COMPLETE"
    assert aws.client("ssm").get_parameter(Name="/b")["Parameter"]["Value"] == "/a"
    assert stacks.api.list_imports(ExportName="shared")["Imports"] == ["user"]

    stacks.update("owner", {"A": parameter("/a", "other")})
    assert stacks.settled("owner") == "UPDATE_ROLLBACK_COMPLETE"
    assert "Cannot delete export shared as it is in use by user" in str(stacks.reasons("owner", "owner"))
    assert stacks.delete("owner") == "DELETE_FAILED"
    assert stacks.reasons("owner", "owner")[-1] == "Export shared cannot be deleted as it is in use by user"
    assert stacks.delete("user") == "DELETE_COMPLETE"
    assert stacks.delete("owner") == "DELETE_COMPLETE"
    with pytest.raises(ClientError, match="does not exist"):
        stacks.api.describe_stacks(StackName="owner")


def test_a_protected_stack_is_not_deleted(stacks: Stacks) -> None:
    stacks.create("s", {"A": parameter("/a")}, EnableTerminationProtection=True)
    stacks.settled("s")
    with pytest.raises(ClientError, match="TerminationProtection is enabled"):
        stacks.api.delete_stack(StackName="s")
    stacks.api.update_termination_protection(StackName="s", EnableTerminationProtection=False)


def test_a_change_set_shows_what_it_would_do_and_then_does_it(aws: EmbeddedAws, stacks: Stacks) -> None:
    stacks.create("s", {"A": parameter("/a"), "B": parameter("/b")}, Outputs={"O": {"Value": "1"}})
    stacks.settled("s")
    body = json.dumps(
        {"Resources": {"A": parameter("/a", "new"), "C": parameter("/c")}, "Outputs": {"O": {"Value": "2"}}}
    )
    stacks.api.create_change_set(StackName="s", ChangeSetName="c", TemplateBody=body)
    described = stacks.api.describe_change_set(StackName="s", ChangeSetName="c")
    changes = [change["ResourceChange"] for change in described["Changes"]]
    assert [(one["Action"], one["LogicalResourceId"]) for one in changes] == [
        ("Modify", "A"),
        ("Add", "C"),
        ("Remove", "B"),
    ]
    stacks.api.execute_change_set(StackName="s", ChangeSetName="c")
    assert stacks.settled("s") == "UPDATE_COMPLETE"
    assert stacks.api.describe_stacks(StackName="s")["Stacks"][0]["Outputs"][0]["OutputValue"] == "2"
    stacks.api.create_change_set(StackName="s", ChangeSetName="same", TemplateBody=body)
    same = stacks.api.describe_change_set(StackName="s", ChangeSetName="same")
    assert (same["Status"], same["ExecutionStatus"]) == ("FAILED", "UNAVAILABLE")
    assert "didn't contain changes" in same["StatusReason"]


# ----------------------------------------------------------------------------------------------------------- signals
def test_a_group_is_complete_when_all_its_hosts_have_signalled(aws: EmbeddedAws, stacks: Stacks) -> None:
    stacks.create("s", {**hosts(2), "After": parameter("/after", {"Ref": "Hosts"})})
    first, second = hosts_of(aws, stacks, "s")
    assert stacks.status("s") == "CREATE_IN_PROGRESS"
    send(stacks, "s", first)
    send(stacks, "s", first)  # a repeated signal counts once
    assert stacks.status("s") == "CREATE_IN_PROGRESS"
    assert "After" not in str(stacks.api.describe_stack_resources(StackName="s")["StackResources"])
    send(stacks, "s", second)
    assert stacks.settled("s") == "CREATE_COMPLETE"
    assert f"Received SUCCESS signal with UniqueId {first}" in stacks.reasons("s", "Hosts")
    running = aws.client("ec2").describe_instances(InstanceIds=[first, second])["Reservations"]
    placed = {reservation["Instances"][0]["Placement"]["AvailabilityZone"] for reservation in running}
    assert placed == {"eu-central-1a", "eu-central-1b"}


def test_a_host_that_reports_failure_rolls_the_stack_back(aws: EmbeddedAws, stacks: Stacks) -> None:
    stacks.create("s", hosts(2))
    first, _ = hosts_of(aws, stacks, "s")
    send(stacks, "s", first, "FAILURE")
    assert stacks.settled("s") == "ROLLBACK_COMPLETE"
    assert stacks.reasons("s", "Hosts")[-1] == (
        "Received 1 FAILURE signal(s) out of 2. Unable to satisfy 100% MinSuccessfulInstancesPercent requirement"
    )
    states = [r["Instances"][0]["State"]["Name"] for r in aws.client("ec2").describe_instances()["Reservations"]]
    assert "running" not in states


def test_hosts_that_stay_silent_time_out(stacks: Stacks) -> None:
    stacks.create("s", hosts(2, timeout="PT1S"))
    assert stacks.settled("s") == "ROLLBACK_COMPLETE"
    assert stacks.reasons("s", "Hosts")[-1] == ("Failed to receive 2 resource signal(s) within the specified duration")


@pytest.mark.parametrize(
    ("name", "resource", "complaint"),
    [
        ("nowhere", "Hosts", "Stack with id nowhere does not exist"),
        ("s", "Nothing", "Resource Nothing does not exist for stack s"),
        ("s", "A", "AWS::SSM::Parameter cannot be signaled"),
        ("s", "Hosts", "CREATE_COMPLETE state and cannot be signaled"),
    ],
)
def test_a_signal_that_nobody_awaits_is_refused(
    aws: EmbeddedAws, stacks: Stacks, name: str, resource: str, complaint: str
) -> None:
    stacks.create("s", {**hosts(1), "A": parameter("/a")})
    instance = hosts_of(aws, stacks, "s")[0]
    send(stacks, "s", instance)
    assert stacks.settled("s") == "CREATE_COMPLETE"
    with pytest.raises(ClientError, match=complaint):
        send(stacks, name, instance, resource=resource)


ROLLING = {"MaxBatchSize": 1, "WaitOnResourceSignals": True, "PauseTime": "PT20S"}


def started(aws: EmbeddedAws, stacks: Stacks) -> tuple[str, list[str]]:
    """A stack `s` with two hosts that roll; its group and instances."""
    stacks.create("s", hosts(2, policy=ROLLING))
    instances = hosts_of(aws, stacks, "s")
    for instance in instances:
        send(stacks, "s", instance)
    assert stacks.settled("s") == "CREATE_COMPLETE"
    return stacks.physical_id("s", "Hosts"), instances


def test_a_rolling_update_replaces_hosts_one_by_one_as_they_signal(aws: EmbeddedAws, stacks: Stacks) -> None:
    group, old = started(aws, stacks)
    stacks.update("s", hosts(2, boot="second", policy=ROLLING))
    signalled: set[str] = set()
    while len(signalled) < len(old):
        [fresh] = wait_for(
            "a new instance", lambda: [i for i in instances_of(aws, group) if i not in {*old, *signalled}]
        )
        assert stacks.status("s") == "UPDATE_IN_PROGRESS"
        wait_for("the wait to be open", partial(_accepted, stacks, fresh))
        signalled.add(fresh)
    assert stacks.settled("s") == "UPDATE_COMPLETE"
    assert set(instances_of(aws, group)) == signalled
    version = aws.client("ec2").describe_instances(InstanceIds=[*signalled])["Reservations"][0]["Instances"][0]
    assert {"Key": "aws:ec2launchtemplate:version", "Value": "2"} in version["Tags"]


def _accepted(stacks: Stacks, instance: str) -> bool:
    try:
        send(stacks, "s", instance)
    except ClientError as refused:
        assert "cannot be signaled" in str(refused)  # noqa: PT017
        return False
    return True


def test_a_changed_size_rolls_nothing_and_needs_no_signal(aws: EmbeddedAws, stacks: Stacks) -> None:
    group, old = started(aws, stacks)
    stacks.update("s", hosts(3, policy=ROLLING, needed=2))
    assert stacks.settled("s") == "UPDATE_COMPLETE"
    assert set(old) < set(instances_of(aws, group))
    assert len(instances_of(aws, group)) == 3


def test_a_failed_rolling_update_rolls_back(aws: EmbeddedAws, stacks: Stacks) -> None:
    group, old = started(aws, stacks)
    stacks.update("s", hosts(2, boot="second", policy=ROLLING | {"WaitOnResourceSignals": True}))
    [fresh] = wait_for("a new instance", lambda: [i for i in instances_of(aws, group) if i not in old])
    send(stacks, "s", fresh, "FAILURE")

    def restored() -> bool:
        for instance in instances_of(aws, group):
            if instance not in old and instance != fresh:
                _quietly(stacks, instance)
        return not stacks.status("s").endswith("_IN_PROGRESS")

    wait_for("the old launch template to be rolled out again", restored)
    assert stacks.status("s") == "UPDATE_ROLLBACK_COMPLETE"
    assert any("Received 1 FAILURE signal(s) out of 1" in reason for reason in stacks.reasons("s", "Hosts"))
    assert len(instances_of(aws, group)) == 2


def _quietly(stacks: Stacks, instance: str) -> None:
    try:
        send(stacks, "s", instance)
    except ClientError as refused:
        assert "cannot be signaled" in str(refused)  # noqa: PT017
