"""Keeps the VPC's default security group empty, with a function that can do and write no more than that needs.

The CDK brings the function; its role may write any log, and its log group is neither encrypted nor removed. Here both
are narrowed to one log group of ours.
"""

from aws_cdk import CfnResource, RemovalPolicy, Stack
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_kms as kms
from aws_cdk import aws_logs as logs
from constructs import IConstruct

from spark_constructs.log_retention import retention
from spark_constructs.naming import log_group_name

#: Where the CDK puts the function, in the stack of the VPC (aws-cdk-lib, custom-resource-provider).
_PROVIDER = "Custom::VpcRestrictDefaultSGCustomResourceProvider"

LOG_PART = "default-security-group"


def keep_default_security_group_empty(
    vpc: ec2.Vpc,
    *,
    cluster: str,
    encryption_key: kms.IKey | None,
    log_retention_days: int,
    removal_policy: RemovalPolicy,
) -> None:
    """Narrow the function behind ``restrict_default_security_group`` of this VPC."""
    stack = Stack.of(vpc)
    provider = stack.node.find_child(_PROVIDER)
    role, handler = _resource(provider, "Role"), _resource(provider, "Handler")
    log_group = logs.LogGroup(
        vpc,
        "DefaultSecurityGroupLogs",
        log_group_name=log_group_name(cluster, LOG_PART),
        encryption_key=encryption_key,
        retention=retention(log_retention_days),
        removal_policy=removal_policy,
    )
    handler.add_property_override("LoggingConfig", {"LogGroup": log_group.log_group_name})
    # It refers to the role already; cfn-lint objects to saying so twice (W3005).
    handler.remove_resource_dependency(role)
    # In place of AWSLambdaBasicExecutionRole, which may create and write any log group of the account; without
    # CreateLogGroup a late line of log cannot bring a deleted group back.
    role.add_property_override("ManagedPolicyArns", [])
    role.add_property_override(
        "Policies.1",
        {
            "PolicyName": "Logs",
            "PolicyDocument": {
                "Version": "2012-10-17",
                "Statement": [
                    {
                        "Effect": "Allow",
                        "Action": ["logs:CreateLogStream", "logs:PutLogEvents"],
                        "Resource": log_group.log_group_arn,
                    }
                ],
            },
        },
    )


def _resource(provider: IConstruct, name: str) -> CfnResource:
    child = provider.node.find_child(name)
    if not isinstance(child, CfnResource):
        raise TypeError(f"{child.node.path} is not a CloudFormation resource; the CDK's structure has changed")
    return child
