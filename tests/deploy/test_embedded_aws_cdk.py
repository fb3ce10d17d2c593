"""The real CDK CLI against the embedded AWS: bootstrap, deploy, diff, update, failure and repair, destroy.

One story, told by one test: what each step finds, the one before has left.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from emulation.aws import EmbeddedAws, bootstrap, leftovers
from tests.support.embedded_aws_cdk import CDK, SampleApp, synthesise


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SampleApp]:
    """The sample app synthesised, the account bootstrapped."""
    with EmbeddedAws() as aws:
        with ThreadPoolExecutor() as both:
            synthesised = both.submit(synthesise, aws, tmp_path_factory.mktemp("assemblies"))
            bootstrap(aws, [CDK])
        yield synthesised.result()


def resource(app: SampleApp, stack: str, kind: str) -> str:
    """Physical id of the only resource of a kind in a stack."""
    api = app.aws.client("cloudformation")
    resources = api.describe_stack_resources(StackName=stack)["StackResources"]
    [found] = [one["PhysicalResourceId"] for one in resources if one["ResourceType"] == kind]
    return str(found)


def group(app: SampleApp) -> dict[str, Any]:
    """The sample's Auto Scaling group."""
    name = resource(app, "Fleet", "AWS::AutoScaling::AutoScalingGroup")
    api = app.aws.client("autoscaling")
    found: dict[str, Any] = api.describe_auto_scaling_groups(AutoScalingGroupNames=[name])["AutoScalingGroups"][0]
    return found


def bootstrapping_leaves_nothing_but_the_toolkit(app: SampleApp) -> None:
    assert app.aws.client("cloudformation").describe_stacks()["Stacks"][0]["StackName"] == "CDKToolkit"
    assert leftovers(app.aws) == {}


def deploying_creates_both_stacks_and_says_who_signalled(app: SampleApp) -> None:
    deployed = app.deploy("first", "Ground", "Fleet", "--method=direct")
    assert deployed.returncode == 0, deployed.stdout
    assert "Fleet.Group = Fleet-Workers" in deployed.stdout
    assert "sent by the stand-in for absent hosts: nothing was booted" in deployed.stdout
    assert "absent hosts: signalling SUCCESS for i-" in app.aws.log()


def what_protects_the_data_can_be_read_back(app: SampleApp) -> None:
    bucket = resource(app, "Ground", "AWS::S3::Bucket")
    key = resource(app, "Ground", "AWS::KMS::Key")
    s3, kms = app.aws.client("s3"), app.aws.client("kms")
    [rule] = s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"]
    assert rule["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] == "aws:kms"
    assert rule["ApplyServerSideEncryptionByDefault"]["KMSMasterKeyID"].endswith(key)
    assert rule["BucketKeyEnabled"]
    statements = json.loads(s3.get_bucket_policy(Bucket=bucket)["Policy"])["Statement"]
    assert {"Bool": {"aws:SecureTransport": "false"}} in [one.get("Condition") for one in statements]
    assert s3.get_bucket_versioning(Bucket=bucket)["Status"] == "Enabled"
    assert all(s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"].values())
    assert s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"][0]["ID"] == "old"
    ownership = s3.get_bucket_ownership_controls(Bucket=bucket)["OwnershipControls"]["Rules"]
    assert ownership == [{"ObjectOwnership": "BucketOwnerEnforced"}]
    assert {"Key": "project", "Value": "sample"} in s3.get_bucket_tagging(Bucket=bucket)["TagSet"]
    assert kms.get_key_rotation_status(KeyId=key)["KeyRotationEnabled"]
    policy = json.loads(kms.get_key_policy(KeyId=key, PolicyName="default")["Policy"])
    assert "secretsmanager.eu-central-1.amazonaws.com" in json.dumps(policy)
    table = app.aws.client("dynamodb").describe_table(TableName=resource(app, "Ground", "AWS::DynamoDB::Table"))
    assert table["Table"]["SSEDescription"]["KMSMasterKeyArn"].endswith(key)
    [logs] = app.aws.client("logs").describe_log_groups()["logGroups"]
    assert (logs["retentionInDays"], logs["kmsKeyId"].rsplit("/", 1)[-1]) == (30, key)


def the_network_can_be_read_back(app: SampleApp) -> None:
    ec2 = app.aws.client("ec2")
    vpc = resource(app, "Ground", "AWS::EC2::VPC")
    inside = [{"Name": "vpc-id", "Values": [vpc]}]
    endpoints = {one["VpcEndpointType"] for one in ec2.describe_vpc_endpoints(Filters=inside)["VpcEndpoints"]}
    assert endpoints == {"Gateway", "Interface"}
    assert ec2.describe_flow_logs()["FlowLogs"][0]["ResourceId"] == vpc
    by_default = [*inside, {"Name": "group-name", "Values": ["default"]}]
    [default] = ec2.describe_security_groups(Filters=by_default)["SecurityGroups"]
    assert (default["IpPermissions"], default["IpPermissionsEgress"]) == ([], [])


def hosts_have_what_their_launch_template_says(app: SampleApp) -> None:
    ec2 = app.aws.client("ec2")
    template = resource(app, "Fleet", "AWS::EC2::LaunchTemplate")
    version = ec2.describe_launch_template_versions(LaunchTemplateId=template)["LaunchTemplateVersions"][0]
    data = version["LaunchTemplateData"]
    assert (data["MetadataOptions"]["HttpTokens"], data["MetadataOptions"]["HttpPutResponseHopLimit"]) == (
        "required",
        1,
    )
    assert data["EnclaveOptions"]["Enabled"]
    assert data["BlockDeviceMappings"][0]["Ebs"]["Encrypted"]
    found = group(app)
    assert found["CapacityRebalance"]
    assert found["MaxInstanceLifetime"] == 30 * 24 * 3600
    assert found["MixedInstancesPolicy"]["InstancesDistribution"]["SpotAllocationStrategy"] == "capacity-optimized"
    types = [one["InstanceType"] for one in found["MixedInstancesPolicy"]["LaunchTemplate"]["Overrides"]]
    assert types == ["m5.xlarge", "c5.xlarge"]
    ids = [instance["InstanceId"] for instance in found["Instances"]]
    reservations = ec2.describe_instances(InstanceIds=ids)["Reservations"]
    instances = [instance for reservation in reservations for instance in reservation["Instances"]]
    assert {one["MetadataOptions"]["HttpTokens"] for one in instances} == {"required"}
    assert len({one["SubnetId"] for one in instances}) == 2
    assert sorted(one.get("InstanceLifecycle", "on-demand") for one in instances) == ["on-demand", "spot"]
    assert all("Fleet" in one["IamInstanceProfile"]["Arn"] for one in instances)
    api = app.aws.client("autoscaling")
    [hook] = api.describe_lifecycle_hooks(AutoScalingGroupName=found["AutoScalingGroupName"])["LifecycleHooks"]
    assert (hook["LifecycleTransition"], hook["HeartbeatTimeout"], hook["DefaultResult"]) == (
        "autoscaling:EC2_INSTANCE_TERMINATING",
        300,
        "CONTINUE",
    )
    assert "NotificationTargetARN" not in hook


def without_a_change_the_diff_is_empty(app: SampleApp) -> None:
    diff = app.cdk("first", "diff", "Ground", "Fleet", "--fail")
    assert diff.returncode == 0, diff.stdout
    assert diff.stdout.count("There were no differences") == 2
    changed = app.cdk("second", "diff", "Fleet", "--fail")
    assert changed.returncode == 1
    assert "DesiredCapacity" in changed.stdout


def an_update_by_change_set_rolls_the_hosts(app: SampleApp) -> None:
    before = {instance["InstanceId"] for instance in group(app)["Instances"]}
    updated = app.deploy("second", "Ground", "Fleet")
    assert updated.returncode == 0, updated.stdout
    assert "Ground (no changes)" in updated.stdout
    assert "Rolling update initiated" in updated.stdout
    after = {instance["InstanceId"] for instance in group(app)["Instances"]}
    assert len(after) == 3
    assert not before & after


def a_failed_deployment_shows_its_reason_and_can_be_repeated(app: SampleApp) -> None:
    failed = app.deploy("first", "Broken", "--method=direct")
    assert failed.returncode == 1
    assert "[AWS::EFS::FileSystem]" in failed.stdout
    assert "ROLLBACK_COMPLETE" in failed.stdout
    assert "ssm parameters" in leftovers(app.aws)  # that of Ground
    assert "/sample/note" not in leftovers(app.aws)["ssm parameters"]
    mended = app.deploy("second", "Broken")
    assert mended.returncode == 0, mended.stdout
    assert "/sample/note" in leftovers(app.aws)["ssm parameters"]


def a_stack_in_use_is_not_destroyed(app: SampleApp) -> None:
    api = app.aws.client("cloudformation")
    api.delete_stack(StackName="Ground")
    [ground] = api.describe_stacks(StackName="Ground")["Stacks"]
    assert ground["StackStatus"] == "DELETE_FAILED"
    assert "in use by Fleet" in ground["StackStatusReason"]


def destroying_all_stacks_leaves_nothing(app: SampleApp) -> None:
    bucket = resource(app, "Ground", "AWS::S3::Bucket")
    app.aws.client("s3").put_object(Bucket=bucket, Key="jobs/left-over", Body=b"data")
    destroyed = app.cdk("second", "destroy", "--all", "--force")
    assert destroyed.returncode == 0, destroyed.stdout
    assert leftovers(app.aws) == {}
    assert len(leftovers(app.aws, pending_keys=True)["kms keys pending deletion"]) == 1


def the_cdk_cli_kept_its_files_with_the_server(app: SampleApp) -> None:
    assert (app.aws.private_folder / "cdk-home").is_dir()


STORY = (
    bootstrapping_leaves_nothing_but_the_toolkit,
    deploying_creates_both_stacks_and_says_who_signalled,
    what_protects_the_data_can_be_read_back,
    the_network_can_be_read_back,
    hosts_have_what_their_launch_template_says,
    without_a_change_the_diff_is_empty,
    an_update_by_change_set_rolls_the_hosts,
    a_failed_deployment_shows_its_reason_and_can_be_repeated,
    a_stack_in_use_is_not_destroyed,
    destroying_all_stacks_leaves_nothing,
    the_cdk_cli_kept_its_files_with_the_server,
)


def test_the_life_of_two_stacks_under_the_real_cdk_command_line(app: SampleApp) -> None:
    for step in STORY:
        step(app)
