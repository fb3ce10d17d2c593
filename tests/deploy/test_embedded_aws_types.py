"""Every type that templates may use is created, read back, changed and deleted; none is a silent nothing.

One stack with one of each, told by one test: what each step finds, the one before has left.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest

from emulation.aws import EmbeddedAws, leftovers
from emulation.aws.resources.registry import supported_types
from tests.support.embedded_aws_stacks import Stacks, hosts

READ = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}


def statement(principal: str, action: str) -> dict[str, Any]:
    return {"Effect": "Allow", "Principal": {"Service": principal}, "Action": action, "Resource": "*"}


def trust(service: str) -> dict[str, Any]:
    assume = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
    return {"Version": "2012-10-17", "Statement": [assume]}


def document(*statements: dict[str, Any]) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": list(statements) or [READ]}


def ref(name: str, attribute: str | None = None) -> dict[str, Any]:
    return {"Ref": name} if attribute is None else {"Fn::GetAtt": [name, attribute]}


def network() -> dict[str, Any]:
    rule = {"IpProtocol": "50", "GroupId": ref("Group", "GroupId")}
    return {
        "Vpc": ("EC2::VPC", {"CidrBlock": "10.0.0.0/16", "EnableDnsHostnames": True}),
        "Subnet": ("EC2::Subnet", {"VpcId": ref("Vpc"), "CidrBlock": "10.0.0.0/24", "MapPublicIpOnLaunch": True}),
        "Gateway": ("EC2::InternetGateway", {}),
        "Attachment": ("EC2::VPCGatewayAttachment", {"VpcId": ref("Vpc"), "InternetGatewayId": ref("Gateway")}),
        "Table": ("EC2::RouteTable", {"VpcId": ref("Vpc")}),
        "Route": (
            "EC2::Route",
            {"RouteTableId": ref("Table"), "DestinationCidrBlock": "0.0.0.0/0", "GatewayId": ref("Gateway")},
        ),
        "OfSubnet": ("EC2::SubnetRouteTableAssociation", {"SubnetId": ref("Subnet"), "RouteTableId": ref("Table")}),
        "Address": ("EC2::EIP", {"Domain": "vpc"}),
        "Nat": ("EC2::NatGateway", {"SubnetId": ref("Subnet"), "AllocationId": ref("Address", "AllocationId")}),
        "Group": ("EC2::SecurityGroup", {"VpcId": ref("Vpc"), "GroupDescription": "hosts"}),
        "Esp": ("EC2::SecurityGroupIngress", {**rule, "SourceSecurityGroupId": ref("Group", "GroupId")}),
        "Out": ("EC2::SecurityGroupEgress", {**rule, "DestinationSecurityGroupId": ref("Group", "GroupId")}),
        "Endpoint": (
            "EC2::VPCEndpoint",
            {
                "VpcId": ref("Vpc"),
                "VpcEndpointType": "Interface",
                "ServiceName": "com.amazonaws.eu-central-1.ssm",
                "SubnetIds": [ref("Subnet")],
                "SecurityGroupIds": [ref("Group", "GroupId")],
                "PrivateDnsEnabled": True,
            },
        ),
        "Flow": (
            "EC2::FlowLog",
            {
                "ResourceId": ref("Vpc"),
                "ResourceType": "VPC",
                "TrafficType": "ALL",
                "LogGroupName": ref("Logs"),
                "DeliverLogsPermissionArn": ref("Role", "Arn"),
            },
        ),
        "Placement": ("EC2::PlacementGroup", {"Strategy": "spread"}),
        "Restricted": (
            "Custom::VpcRestrictDefaultSG",
            {
                "ServiceToken": "arn:unused",
                "DefaultSecurityGroupId": ref("Vpc", "DefaultSecurityGroup"),
                "Account": ref("AWS::AccountId"),
            },
        ),
    }


def identity() -> dict[str, Any]:
    return {
        "Boundary": ("IAM::ManagedPolicy", {"PolicyDocument": document()}),
        "Role": (
            "IAM::Role",
            {
                "AssumeRolePolicyDocument": trust("ec2.amazonaws.com"),
                "PermissionsBoundary": ref("Boundary"),
                "Policies": [{"PolicyName": "own", "PolicyDocument": document()}],
            },
        ),
        "Inline": ("IAM::Policy", {"PolicyName": "inline", "PolicyDocument": document(), "Roles": [ref("Role")]}),
        "Profile": ("IAM::InstanceProfile", {"Roles": [ref("Role")]}),
        "Key": ("KMS::Key", {"KeyPolicy": document(), "EnableKeyRotation": True, "Description": "first"}),
        "Alias": ("KMS::Alias", {"AliasName": "alias/types", "TargetKeyId": ref("Key", "Arn")}),
        "Secret": (
            "SecretsManager::Secret",
            {
                "KmsKeyId": ref("Key", "Arn"),
                "GenerateSecretString": {
                    "PasswordLength": 40,
                    "GenerateStringKey": "token",
                    "SecretStringTemplate": "{}",
                },
            },
        ),
    }


def storage() -> dict[str, Any]:
    return {
        "Bucket": ("S3::Bucket", {"VersioningConfiguration": {"Status": "Enabled"}}),
        "BucketPolicy": ("S3::BucketPolicy", {"Bucket": ref("Bucket"), "PolicyDocument": document()}),
        "Emptied": ("Custom::S3AutoDeleteObjects", {"ServiceToken": "arn:unused", "BucketName": ref("Bucket")}),
        "Items": (
            "DynamoDB::Table",
            {
                "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
                "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
                "BillingMode": "PAY_PER_REQUEST",
                "SSESpecification": {"SSEEnabled": True, "SSEType": "KMS", "KMSMasterKeyId": ref("Key", "Arn")},
            },
        ),
        "Images": (
            "ECR::Repository",
            {
                "ImageTagMutability": "IMMUTABLE",
                "ImageScanningConfiguration": {"ScanOnPush": "true"},
                "EncryptionConfiguration": {"EncryptionType": "KMS", "KmsKey": ref("Key", "Arn")},
                "EmptyOnDelete": True,
            },
        ),
        "Setting": ("SSM::Parameter", {"Name": "/types/setting", "Type": "String", "Value": "first"}),
        "Document": (
            "SSM::Document",
            {
                "Name": "types-document",
                "DocumentType": "Session",
                "UpdateMethod": "NewVersion",
                "Content": {
                    "schemaVersion": "1.0",
                    "sessionType": "Standard_Stream",
                    "inputs": {"idleSessionTimeout": "20"},
                },
            },
        ),
    }


def observation() -> dict[str, Any]:
    metric = {"MetricName": "errors", "MetricNamespace": "types", "MetricValue": "1"}
    return {
        "Logs": ("Logs::LogGroup", {"RetentionInDays": 7, "KmsKeyId": ref("Key", "Arn")}),
        "Errors": (
            "Logs::MetricFilter",
            {"LogGroupName": ref("Logs"), "FilterPattern": "ERROR", "MetricTransformations": [metric]},
        ),
        "MayLog": (
            "Logs::ResourcePolicy",
            {
                "PolicyName": "types",
                "PolicyDocument": json.dumps(document(statement("events.amazonaws.com", "logs:PutLogEvents"))),
            },
        ),
        "Topic": ("SNS::Topic", {"KmsMasterKeyId": ref("Key"), "DisplayName": "first"}),
        "TopicPolicy": ("SNS::TopicPolicy", {"Topics": [ref("Topic")], "PolicyDocument": document()}),
        "Queue": ("SQS::Queue", {"KmsMasterKeyId": ref("Key"), "VisibilityTimeout": 60}),
        "QueuePolicy": ("SQS::QueuePolicy", {"Queues": [ref("Queue")], "PolicyDocument": document()}),
        "Subscribed": (
            "SNS::Subscription",
            {"TopicArn": ref("Topic"), "Protocol": "sqs", "Endpoint": ref("Queue", "Arn")},
        ),
        "Rule": (
            "Events::Rule",
            {
                "EventPattern": {"source": ["aws.ec2"]},
                "State": "ENABLED",
                "Targets": [{"Id": "queue", "Arn": ref("Queue", "Arn")}],
            },
        ),
        "Alarm": (
            "CloudWatch::Alarm",
            {
                "MetricName": "errors",
                "Namespace": "types",
                "Statistic": "Sum",
                "Period": 60,
                "EvaluationPeriods": 1,
                "Threshold": 1,
                "ComparisonOperator": "GreaterThanOrEqualToThreshold",
                "AlarmActions": [ref("Topic")],
            },
        ),
        "Board": ("CloudWatch::Dashboard", {"DashboardName": "types", "DashboardBody": json.dumps({"widgets": []})}),
        "Budget": (
            "Budgets::Budget",
            {
                "Budget": {
                    "BudgetType": "COST",
                    "TimeUnit": "MONTHLY",
                    "BudgetLimit": {"Amount": 100, "Unit": "USD"},
                },
                "NotificationsWithSubscribers": [],
            },
        ),
    }


def compute() -> dict[str, Any]:
    container = {"Name": "executor", "Image": "spark", "Essential": True, "ReadonlyRootFilesystem": True}
    return {
        "Drain": (
            "AutoScaling::LifecycleHook",
            {
                "AutoScalingGroupName": ref("Hosts"),
                "LifecycleTransition": "autoscaling:EC2_INSTANCE_TERMINATING",
                "NotificationTargetARN": ref("Queue", "Arn"),
                "RoleARN": ref("Role", "Arn"),
            },
        ),
        "Scaling": (
            "AutoScaling::ScalingPolicy",
            {"AutoScalingGroupName": ref("Hosts"), "AdjustmentType": "ChangeInCapacity", "ScalingAdjustment": "1"},
        ),
        "Nightly": (
            "AutoScaling::ScheduledAction",
            {"AutoScalingGroupName": ref("Hosts"), "Recurrence": "0 0 * * *", "MinSize": 1},
        ),
        "Function": (
            "Lambda::Function",
            {
                "Runtime": "python3.12",
                "Handler": "index.handler",
                "Role": ref("Role", "Arn"),
                "Code": {"ZipFile": "def handler(event, context): pass"},
            },
        ),
        "MayInvoke": (
            "Lambda::Permission",
            {
                "FunctionName": ref("Function", "Arn"),
                "Action": "lambda:InvokeFunction",
                "Principal": "events.amazonaws.com",
                "SourceArn": ref("Rule", "Arn"),
            },
        ),
        "Cluster": ("ECS::Cluster", {"ClusterSettings": [{"Name": "containerInsights", "Value": "enabled"}]}),
        "Provider": (
            "ECS::CapacityProvider",
            {"AutoScalingGroupProvider": {"AutoScalingGroupArn": ref("Hosts", "AutoScalingGroupARN")}},
        ),
        "Providers": (
            "ECS::ClusterCapacityProviderAssociations",
            {
                "Cluster": ref("Cluster"),
                "CapacityProviders": ["FARGATE", "FARGATE_SPOT"],
                "DefaultCapacityProviderStrategy": [{"CapacityProvider": "FARGATE", "Weight": 1}],
            },
        ),
        "Task": (
            "ECS::TaskDefinition",
            {
                "Family": "executor",
                "Cpu": "1024",
                "Memory": "4096",
                "NetworkMode": "awsvpc",
                "RequiresCompatibilities": ["FARGATE"],
                "EphemeralStorage": {"SizeInGiB": 30},
                "ExecutionRoleArn": ref("Role", "Arn"),
                "ContainerDefinitions": [container],
            },
        ),
        "Service": (
            "ECS::Service",
            {"Cluster": ref("Cluster"), "TaskDefinition": ref("Task"), "DesiredCount": 1, "LaunchType": "FARGATE"},
        ),
        "Handle": ("CloudFormation::WaitConditionHandle", {}),
        "Waited": ("CloudFormation::WaitCondition", {}),
        "Metadata": ("CDK::Metadata", {"Analytics": "none"}),
    }


def everything() -> dict[str, Any]:
    """One template with every type."""
    parts = {**network(), **identity(), **storage(), **observation(), **compute()}
    resources: dict[str, Any] = {
        name: {"Type": kind if kind.startswith("Custom::") else f"AWS::{kind}", "Properties": properties}
        for name, (kind, properties) in parts.items()
    }
    group = hosts(2)
    group["Hosts"]["Properties"] |= {
        "NotificationConfigurations": [
            {"TopicARN": ref("Topic"), "NotificationTypes": ["autoscaling:EC2_INSTANCE_LAUNCH_ERROR"]}
        ],
        "LifecycleHookSpecificationList": [
            {"LifecycleHookName": "boot", "LifecycleTransition": "autoscaling:EC2_INSTANCE_LAUNCHING"}
        ],
        "TerminationPolicies": ["OldestInstance"],
        "Tags": [{"Key": "role", "Value": "worker", "PropagateAtLaunch": True}],
    }
    return {**resources, **group}


@pytest.fixture(scope="module")
def aws() -> Iterator[EmbeddedAws]:
    with EmbeddedAws() as running:
        yield running


@pytest.fixture(scope="module")
def stack(aws: EmbeddedAws) -> Stacks:
    """A stack `types` with one of each."""
    stacks = Stacks(aws)
    stacks.create("types", everything())
    assert stacks.settled("types") == "CREATE_COMPLETE", failures(stacks)
    return stacks


def failures(stacks: Stacks) -> list[str]:
    events = stacks.api.describe_stack_events(StackName="types")["StackEvents"]
    return [
        f"{e['LogicalResourceId']}: {e.get('ResourceStatusReason')}" for e in events if "FAILED" in e["ResourceStatus"]
    ]


def test_the_template_has_every_supported_type() -> None:
    assert {resource["Type"] for resource in everything().values()} == set(supported_types())


def every_kind_is_really_there(aws: EmbeddedAws, stack: Stacks) -> None:
    there = leftovers(aws)
    assert len(there["lifecycle hooks"]) == 2
    missing = {
        "alarms",
        "auto scaling groups",
        "buckets",
        "budgets",
        "dashboards",
        "dynamodb tables",
        "ecr repositories",
        "ecs clusters",
        "elastic ips",
        "event rules",
        "flow logs",
        "functions",
        "instance profiles",
        "instances",
        "internet gateways",
        "kms aliases",
        "kms keys",
        "launch templates",
        "log groups",
        "managed policies",
        "nat gateways",
        "queues",
        "roles",
        "route tables",
        "secrets",
        "security groups",
        "ssm documents",
        "ssm parameters",
        "subnets",
        "task definitions",
        "topics",
        "vpc endpoints",
        "vpcs",
    } - there.keys()
    assert missing == set()


def what_moto_alone_forgets_is_remembered(aws: EmbeddedAws, stack: Stacks) -> None:
    group = stack.physical_id("types", "Hosts")
    autoscaling = aws.client("autoscaling")
    hooks = autoscaling.describe_lifecycle_hooks(AutoScalingGroupName=group)["LifecycleHooks"]
    targets = {hook["LifecycleHookName"]: hook.get("NotificationTargetARN", "") for hook in hooks}
    assert targets.pop("boot") == ""
    [drain] = targets.values()
    assert drain.startswith("arn:aws:sqs:eu-central-1:123456789012:types-Queue")
    [notified] = autoscaling.describe_notification_configurations()["NotificationConfigurations"]
    assert notified["TopicARN"] == stack.physical_id("types", "Topic")
    inside = [{"Name": "group-id", "Values": [stack.physical_id("types", "Group")]}]
    [security] = aws.client("ec2").describe_security_groups(Filters=inside)["SecurityGroups"]
    assert [rule["IpProtocol"] for rule in security["IpPermissions"]] == ["50"]
    assert "50" in [rule["IpProtocol"] for rule in security["IpPermissionsEgress"]]
    role = aws.client("iam").get_role(RoleName=stack.physical_id("types", "Role"))["Role"]
    assert role["PermissionsBoundary"]["PermissionsBoundaryArn"] == stack.physical_id("types", "Boundary")
    secret = aws.client("secretsmanager").get_secret_value(SecretId=stack.physical_id("types", "Secret"))
    assert len(json.loads(secret["SecretString"])["token"]) == 40
    [task] = aws.client("ecs").describe_task_definition(taskDefinition="executor")["taskDefinition"][
        "containerDefinitions"
    ]
    assert task["readonlyRootFilesystem"]


CHANGES: dict[str, dict[str, Any]] = {
    "Key": {"EnableKeyRotation": False, "Description": "second"},
    "Logs": {"RetentionInDays": 30},
    "Setting": {"Value": "second"},
    "Document": {
        "Content": {"schemaVersion": "1.0", "sessionType": "Standard_Stream", "inputs": {"idleSessionTimeout": "30"}}
    },
    "Queue": {"VisibilityTimeout": 120},
    "Topic": {"DisplayName": "second"},
    "Bucket": {"OwnershipControls": {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}},
    "BucketPolicy": {"PolicyDocument": document(statement("logging.s3.amazonaws.com", "s3:PutObject"))},
    "Boundary": {"PolicyDocument": document({"Effect": "Allow", "Action": "s3:ListAllMyBuckets", "Resource": "*"})},
    "Role": {"MaxSessionDuration": 7200, "Policies": []},
    "Vpc": {"Tags": [{"Key": "tier", "Value": "second"}]},
    "Endpoint": {"PrivateDnsEnabled": False},
    "Function": {"Code": {"ZipFile": "def handler(event, context): return 2"}, "MemorySize": 256},
    "Rule": {"State": "DISABLED"},
    "Alarm": {"Threshold": 5},
    "Items": {"DeletionProtectionEnabled": True},
    "Images": {"ImageScanningConfiguration": {"ScanOnPush": False}},
    "Cluster": {"ClusterSettings": [{"Name": "containerInsights", "Value": "disabled"}]},
    "Service": {"DesiredCount": 2},
}  # fmt: skip


def changes_are_made_in_place_and_taken_back_by_a_rollback(aws: EmbeddedAws, stack: Stacks) -> None:
    before = {name: stack.physical_id("types", name) for name in CHANGES}
    changed = everything()
    for name, properties in CHANGES.items():
        changed[name]["Properties"] |= properties
    failing = copy.deepcopy(changed)
    failing["Odd"] = {"Type": "AWS::EFS::FileSystem", "DependsOn": list(CHANGES)}
    stack.update("types", failing)
    assert stack.settled("types") == "UPDATE_ROLLBACK_COMPLETE", failures(stack)
    assert _seen(aws, before) == {"bucket": False, "retention": 7, "rotation": True, "setting": "first", "table": False}

    stack.update("types", changed)
    assert stack.settled("types") == "UPDATE_COMPLETE", failures(stack)
    assert {name: stack.physical_id("types", name) for name in CHANGES} == before
    assert _seen(aws, before) == {
        "bucket": True,
        "retention": 30,
        "rotation": False,
        "setting": "second",
        "table": True,
    }


def _seen(aws: EmbeddedAws, ids: dict[str, str]) -> dict[str, Any]:
    """A few settings, as the services themselves describe them."""
    s3 = aws.client("s3")
    policy = s3.get_bucket_policy(Bucket=ids["Bucket"])["Policy"]
    [logs] = aws.client("logs").describe_log_groups(logGroupNamePrefix=ids["Logs"])["logGroups"]
    return {
        "bucket": "logging.s3.amazonaws.com" in policy,
        "retention": logs["retentionInDays"],
        "rotation": aws.client("kms").get_key_rotation_status(KeyId=ids["Key"])["KeyRotationEnabled"],
        "setting": aws.client("ssm").get_parameter(Name="/types/setting")["Parameter"]["Value"],
        "table": aws.client("dynamodb").describe_table(TableName=ids["Items"])["Table"]["DeletionProtectionEnabled"],
    }


def deletion_respects_protection_and_then_leaves_nothing(aws: EmbeddedAws, stack: Stacks) -> None:
    aws.client("s3").put_object(Bucket=stack.physical_id("types", "Bucket"), Key="object", Body=b"")
    assert stack.delete("types") == "DELETE_FAILED"
    table = leftovers(aws)["dynamodb tables"][0]
    aws.client("dynamodb").update_table(TableName=table, DeletionProtectionEnabled=False)
    assert stack.delete("types") == "DELETE_COMPLETE"
    assert leftovers(aws) == {}


STORY = (
    every_kind_is_really_there,
    what_moto_alone_forgets_is_remembered,
    changes_are_made_in_place_and_taken_back_by_a_rollback,
    deletion_respects_protection_and_then_leaves_nothing,
)


def test_one_of_each_through_its_life(aws: EmbeddedAws, stack: Stacks) -> None:
    for step in STORY:
        step(aws, stack)
