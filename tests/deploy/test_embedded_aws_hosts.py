"""What the embedded AWS promises to hosts: Auto Scaling's life cycle and what a role's session may do.

No host is booted here: the test plays the booter, so that each step is seen.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from emulation.aws import EmbeddedAws
from emulation.ec2.aws_control import AwsControl
from tests.support.embedded_aws_stacks import wait_for

GROUP = "hosts"
REGION = "eu-central-1"


@pytest.fixture(scope="module")
def aws() -> Iterator[EmbeddedAws]:
    with EmbeddedAws(hosts="external") as running:
        AwsControl(running.endpoint).attach(grace_seconds=0)
        yield running


@pytest.fixture
def booter(aws: EmbeddedAws) -> AwsControl:
    return AwsControl(aws.endpoint)


@pytest.fixture
def group(aws: EmbeddedAws) -> Iterator[Any]:
    """An empty group in a VPC of two subnets, and its API; afterwards its instances are gone."""
    ec2, api = aws.client("ec2"), aws.client("autoscaling")
    vpc = ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    subnets = [
        ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.9.{n}.0/24", AvailabilityZone=f"{REGION}{'ab'[n]}")["Subnet"][
            "SubnetId"
        ]
        for n in range(2)
    ]
    image = ec2.describe_images()["Images"][0]["ImageId"]
    template = ec2.create_launch_template(
        LaunchTemplateName=f"template-{vpc}", LaunchTemplateData={"ImageId": image, "InstanceType": "m5.large"}
    )["LaunchTemplate"]["LaunchTemplateId"]
    api.create_auto_scaling_group(
        AutoScalingGroupName=GROUP,
        MinSize=0,
        MaxSize=9,
        DesiredCapacity=0,
        LaunchTemplate={"LaunchTemplateId": template, "Version": "$Latest"},
        VPCZoneIdentifier=",".join(subnets),
    )
    yield api
    api.delete_auto_scaling_group(AutoScalingGroupName=GROUP, ForceDelete=True)
    for instance in fleet(aws):
        AwsControl(aws.endpoint).report(instance["id"], "terminated")
    assert api.describe_auto_scaling_groups(AutoScalingGroupNames=[GROUP])["AutoScalingGroups"] == []


def fleet(aws: EmbeddedAws) -> list[dict[str, Any]]:
    return list(AwsControl(aws.endpoint).fleet()["instances"])


def states(api: Any) -> dict[str, str]:
    [found] = api.describe_auto_scaling_groups(AutoScalingGroupNames=[GROUP])["AutoScalingGroups"]
    return {one["InstanceId"]: one["LifecycleState"] for one in found["Instances"]}


def scale(api: Any, count: int) -> None:
    api.set_desired_capacity(AutoScalingGroupName=GROUP, DesiredCapacity=count)


def hook(api: Any, transition: str, **options: Any) -> None:
    settings = {"HeartbeatTimeout": 600, "DefaultResult": "CONTINUE"} | options
    api.put_lifecycle_hook(
        AutoScalingGroupName=GROUP,
        LifecycleHookName="hook",
        LifecycleTransition=f"autoscaling:EC2_INSTANCE_{transition}",
        **settings,
    )


def complete(api: Any, instance: str, result: str = "CONTINUE") -> None:
    api.complete_lifecycle_action(
        AutoScalingGroupName=GROUP, LifecycleHookName="hook", InstanceId=instance, LifecycleActionResult=result
    )


def in_service(api: Any, booter: AwsControl, count: int) -> list[str]:
    scale(api, count)
    for instance in states(api):
        booter.report(instance, "running")
    assert set(states(api).values()) == {"InService"}
    return list(states(api))


def test_an_instance_is_pending_until_its_host_runs(aws: EmbeddedAws, group: Any, booter: AwsControl) -> None:
    scale(group, 2)
    assert set(states(group).values()) == {"Pending"}
    assert {one["state"] for one in fleet(aws)} == {"pending"}
    first, second = states(group)
    booter.report(first, "running")
    assert states(group) == {first: "InService", second: "Pending"}
    assert len({one["subnet"] for one in fleet(aws)}) == 2


def test_a_new_instance_waits_for_its_launch_hook_and_an_abandoned_one_is_replaced(
    group: Any, booter: AwsControl
) -> None:
    hook(group, "LAUNCHING")
    scale(group, 1)
    [first] = states(group)
    booter.report(first, "running")
    assert states(group) == {first: "Pending:Wait"}
    complete(group, first, "ABANDON")
    assert states(group)[first] == "Terminating:Proceed"
    booter.report(first, "terminated")
    [second] = states(group)
    booter.report(second, "running")
    complete(group, second)
    assert states(group) == {second: "InService"}


def test_scale_in_waits_until_the_host_has_drained(aws: EmbeddedAws, group: Any, booter: AwsControl) -> None:
    hook(group, "TERMINATING")
    in_service(group, booter, 2)
    scale(group, 1)
    [leaving] = [one for one, state in states(group).items() if state == "Terminating:Wait"]
    assert {one["id"]: one["state"] for one in fleet(aws)}[leaving] == "running"
    group.record_lifecycle_action_heartbeat(AutoScalingGroupName=GROUP, LifecycleHookName="hook", InstanceId=leaving)
    complete(group, leaving)
    assert {one["id"]: one["state"] for one in fleet(aws)}[leaving] == "shutting-down"
    booter.report(leaving, "terminated")
    assert len(states(group)) == 1
    with pytest.raises(ClientError, match="No active Lifecycle Action found with instance ID"):
        complete(group, leaving)


def test_a_host_that_does_not_answer_its_hook_goes_by_the_default_result(
    aws: EmbeddedAws, group: Any, booter: AwsControl
) -> None:
    hook(group, "TERMINATING", HeartbeatTimeout=1)
    in_service(group, booter, 1)
    scale(group, 0)
    wait_for("the hook to time out", lambda: [one for one in fleet(aws) if one["state"] == "shutting-down"])


def test_an_unhealthy_host_is_replaced_at_once(group: Any, booter: AwsControl) -> None:
    hook(group, "TERMINATING")
    [sick] = in_service(group, booter, 1)
    group.set_instance_health(InstanceId=sick, HealthStatus="Unhealthy")
    found = states(group)
    assert found.pop(sick) == "Terminating:Wait"
    assert list(found.values()) == ["Pending"]


def test_a_host_that_was_terminated_or_has_shut_itself_down_is_replaced(
    aws: EmbeddedAws, group: Any, booter: AwsControl
) -> None:
    first, second = in_service(group, booter, 2)
    aws.client("ec2").terminate_instances(InstanceIds=[first])
    booter.report(first, "terminated")
    booter.report(second, "stopped")
    booter.report(second, "terminated")
    assert list(states(group).values()) == ["Pending", "Pending"]
    assert not {first, second} & set(states(group))


def test_a_spot_host_hears_of_its_end_before_it_comes(aws: EmbeddedAws, group: Any, booter: AwsControl) -> None:
    [taken] = in_service(group, booter, 1)
    booter.spot_notice(taken, 0.5)
    [instance] = fleet(aws)
    assert instance["notice"]["action"] == "terminate"
    wait_for("the host to be taken", lambda: taken in {o["id"] for o in fleet(aws) if o["state"] == "shutting-down"})


# ------------------------------------------------------------------------------------------------------- authorization
TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}],
}


def policy(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def role(
    aws: EmbeddedAws, name: str, *statements: dict[str, Any], trust: dict[str, Any] = TRUST, **options: Any
) -> str:
    iam = aws.client("iam")
    made = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(trust), **options)["Role"]["Arn"]
    if statements:
        iam.put_role_policy(RoleName=name, PolicyName="p", PolicyDocument=policy(*statements))
    return str(made)


def session(aws: EmbeddedAws, arn: str, service: str) -> Any:
    """A client with a session of the role, as the test's own unrestricted credentials may begin one."""
    given = aws.client("sts").assume_role(RoleArn=arn, RoleSessionName="test")["Credentials"]
    return boto3.client(  # type: ignore[call-overload]
        service,
        endpoint_url=aws.endpoint,
        region_name=REGION,
        aws_access_key_id=given["AccessKeyId"],
        aws_secret_access_key=given["SecretAccessKey"],
        aws_session_token=given["SessionToken"],
        config=Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}, proxies={}),
    )


def denied(call: Any, **arguments: Any) -> str:
    with pytest.raises(ClientError) as refused:
        call(**arguments)
    assert refused.value.response["Error"]["Code"] in ("AccessDenied", "AccessDeniedException", "UnauthorizedOperation")
    return str(refused.value)


def allow(action: str, resource: str, **elements: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": action, "Resource": resource, **elements}


def test_a_session_reads_the_parameters_of_its_policy_and_no_others(aws: EmbeddedAws) -> None:
    key = aws.client("kms").create_key()["KeyMetadata"]["Arn"]
    for name in ("worker", "manager"):
        aws.client("ssm").put_parameter(Name=f"/c/{name}/token", Value="secret", Type="SecureString", KeyId=key)
    own = f"arn:aws:ssm:{REGION}:{aws.account_id}:parameter/c/worker/*"
    context = {"ArnLike": {"kms:EncryptionContext:PARAMETER_ARN": own}}
    allowed = role(aws, "reader", allow("ssm:GetParameter", own), allow("kms:Decrypt", key, Condition=context))
    ssm = session(aws, allowed, "ssm")
    assert ssm.get_parameter(Name="/c/worker/token", WithDecryption=True)["Parameter"]["Value"] == "secret"
    told = denied(ssm.get_parameter, Name="/c/manager/token", WithDecryption=True)
    assert f"assumed-role/reader/test is not authorized to perform: ssm:GetParameter on resource: {own[:-8]}" in told
    denied(ssm.put_parameter, Name="/c/worker/token", Value="x", Type="String", Overwrite=True)
    keyless = session(aws, role(aws, "keyless", allow("ssm:GetParameter", own)), "ssm")
    assert "kms:Decrypt" in denied(keyless.get_parameter, Name="/c/worker/token", WithDecryption=True)


def test_objects_tables_and_instances_are_told_apart(aws: EmbeddedAws) -> None:
    bucket, tables = "authorized", f"arn:aws:dynamodb:{REGION}:{aws.account_id}:table"
    aws.client("s3").create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
    aws.client("s3").put_object(Bucket=bucket, Key="jobs/1/spec", Body=b"{}")
    for name in ("own", "other"):
        aws.client("dynamodb").create_table(
            TableName=name,
            KeySchema=[{"AttributeName": "k", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "k", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
    arn = role(
        aws,
        "worker",
        allow("s3:GetObject", f"arn:aws:s3:::{bucket}/jobs/*"),
        allow("s3:ListBucket", f"arn:aws:s3:::{bucket}", Condition={"StringLike": {"s3:prefix": "jobs/*"}}),
        allow("dynamodb:PutItem", f"{tables}/own"),
    )
    s3, dynamodb = session(aws, arn, "s3"), session(aws, arn, "dynamodb")
    assert s3.get_object(Bucket=bucket, Key="jobs/1/spec")["Body"].read() == b"{}"
    assert s3.list_objects_v2(Bucket=bucket, Prefix="jobs/1/")["KeyCount"] == 1
    denied(s3.list_objects_v2, Bucket=bucket)
    denied(s3.put_object, Bucket=bucket, Key="jobs/1/spec", Body=b"")
    dynamodb.put_item(TableName="own", Item={"k": {"S": "1"}})
    denied(dynamodb.put_item, TableName="other", Item={"k": {"S": "1"}})
    assert "UnauthorizedOperation" in denied(session(aws, arn, "ec2").describe_instances)
    assert session(aws, arn, "sts").get_caller_identity()["Arn"].endswith("assumed-role/worker/test")


def test_a_boundary_bounds_and_a_trust_policy_decides_who_may_assume(aws: EmbeddedAws) -> None:
    own = f"arn:aws:ssm:{REGION}:{aws.account_id}:parameter/c/worker/*"
    boundary = aws.client("iam").create_policy(PolicyName="boundary", PolicyDocument=policy(allow("s3:*", "*")))[
        "Policy"
    ]["Arn"]
    bounded = role(aws, "bounded", allow("ssm:GetParameter", own), PermissionsBoundary=boundary)
    denied(session(aws, bounded, "ssm").get_parameter, Name="/c/worker/token")
    tenants = f"arn:aws:iam::{aws.account_id}:role/tenant-*"
    broker = role(aws, "broker", allow("sts:AssumeRole", tenants))
    trusting = json.loads(policy({"Effect": "Allow", "Principal": {"AWS": broker}, "Action": "sts:AssumeRole"}))
    trusts, distrusts = role(aws, "tenant-a", trust=trusting), role(aws, "tenant-b")
    sts = session(aws, broker, "sts")
    assert sts.assume_role(RoleArn=trusts, RoleSessionName="job")["Credentials"]["AccessKeyId"]
    denied(sts.assume_role, RoleArn=distrusts, RoleSessionName="job")


def test_a_forged_signature_is_refused(aws: EmbeddedAws) -> None:
    client = session(aws, role(aws, "forged", allow("ssm:GetParameter", "*")), "ssm")
    client._request_signer._credentials.secret_key = "x" * 40
    with pytest.raises(ClientError, match="InvalidSignatureException"):
        client.get_parameter(Name="/c/worker/token")
