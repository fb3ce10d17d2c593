"""The policy of the cluster's key: who may administer it, and through which services it may be used."""

from aws_cdk import Stack
from aws_cdk import aws_iam as iam
from constructs import Construct

from spark_constructs.naming import log_group_name

# KMS developer guide, "Allows key administrators to administer the KMS key", action by action. Nothing here encrypts
# or decrypts. PutKeyPolicy stays with the account: without it nobody could ever mend the policy.
ADMINISTRATION = (
    "kms:CancelKeyDeletion",
    "kms:CreateAlias",
    "kms:DeleteAlias",
    "kms:DescribeKey",
    "kms:DisableKey",
    "kms:DisableKeyRotation",
    "kms:EnableKey",
    "kms:EnableKeyRotation",
    "kms:GetKeyPolicy",
    "kms:GetKeyRotationStatus",
    "kms:ListGrants",
    "kms:ListKeyPolicies",
    "kms:ListKeyRotations",
    "kms:ListResourceTags",
    "kms:PutKeyPolicy",
    "kms:RevokeGrant",
    "kms:RotateKeyOnDemand",
    "kms:ScheduleKeyDeletion",
    "kms:TagResource",
    "kms:UntagResource",
    "kms:UpdateAlias",
    "kms:UpdateKeyDescription",
)

# KMS developer guide, "Allows key users to use the KMS key", with its wildcards written out.
USE = (
    "kms:Decrypt",
    "kms:DescribeKey",
    "kms:Encrypt",
    "kms:GenerateDataKey",
    "kms:GenerateDataKeyWithoutPlaintext",
    "kms:ReEncryptFrom",
    "kms:ReEncryptTo",
)

#: Services through which the account's principals may use the key: what encrypts our data at rest.
USED_THROUGH = ("dynamodb", "ec2", "s3", "ssm")

#: Those of them that work with grants (EBS volumes of instances, DynamoDB tables).
GRANTED_THROUGH = ("dynamodb", "ec2")

#: Service-linked roles that start instances with encrypted volumes: their paths and names are fixed by AWS.
LAUNCHING_ROLES = (
    "autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling",
    "spot.amazonaws.com/AWSServiceRoleForEC2Spot",
)


def administration(*principals: iam.IPrincipal) -> iam.PolicyStatement:
    """Who administers a key, by default the account, which its IAM policies narrow; nobody decrypts by it."""
    return iam.PolicyStatement(
        sid="Administration",
        principals=[*principals] or [iam.AccountRootPrincipal()],
        actions=list(ADMINISTRATION),
        resources=["*"],
    )


def cluster_key_policy(scope: Construct, cluster: str, also_through: tuple[str, ...] = ()) -> iam.PolicyDocument:
    """The key policy: 5 statements beside administration, none of which gives anyone the key without a condition.

    The key works only through the services named above, for principals of this account whose IAM policies allow it;
    nobody decrypts with it by calling KMS directly. ``also_through``: further services, such as ``secretsmanager``.
    """
    stack = Stack.of(scope)
    launching_roles = [
        stack.format_arn(service="iam", region="", resource="role", resource_name=f"aws-service-role/{role}")
        for role in LAUNCHING_ROLES
    ]
    return iam.PolicyDocument(
        statements=[
            administration(),
            iam.PolicyStatement(
                sid="UseThroughServices",
                principals=[iam.AccountRootPrincipal()],
                actions=list(USE),
                resources=["*"],
                conditions={"StringEquals": {"kms:ViaService": _hosts(stack, (*USED_THROUGH, *also_through))}},
            ),
            iam.PolicyStatement(
                sid="GrantsForServices",
                principals=[iam.AccountRootPrincipal()],
                actions=["kms:CreateGrant"],
                resources=["*"],
                conditions={
                    "StringEquals": {"kms:ViaService": _hosts(stack, GRANTED_THROUGH)},
                    "Bool": {"kms:GrantIsForAWSResource": "true"},
                },
            ),
            iam.PolicyStatement(
                sid="LogGroupsOfThisCluster",
                principals=[iam.ServicePrincipal(f"logs.{stack.region}.amazonaws.com")],
                actions=list(USE),
                resources=["*"],
                # CloudWatch Logs user guide, "Set permissions on the KMS key": the log group is the encryption context.
                conditions={
                    "ArnLike": {
                        "kms:EncryptionContext:aws:logs:arn": stack.format_arn(
                            service="logs", resource=f"log-group:{log_group_name(cluster, '')}*"
                        )
                    }
                },
            ),
            # Instances of Auto Scaling groups are started by service-linked roles, which are in no IAM policy of ours
            # (EC2 Auto Scaling user guide, "Required KMS key policy for use with encrypted volumes"). The role may not
            # exist yet in a new account, and KMS refuses a policy that names a principal it cannot find: so any
            # principal, on the condition that it is that role. Nobody but the service can assume it. Not bound to
            # EC2 by kms:ViaService, as AWS's own policy is not: the role also publishes to encrypted topics.
            iam.PolicyStatement(
                sid="VolumesOfLaunchedInstances",
                principals=[iam.AnyPrincipal()],
                actions=list(USE),
                resources=["*"],
                conditions={"ArnEquals": {"aws:PrincipalArn": launching_roles}},
            ),
            iam.PolicyStatement(
                sid="GrantsForLaunchedInstances",
                principals=[iam.AnyPrincipal()],
                actions=["kms:CreateGrant"],
                resources=["*"],
                conditions={
                    "ArnEquals": {"aws:PrincipalArn": launching_roles},
                    "Bool": {"kms:GrantIsForAWSResource": "true"},
                },
            ),
        ]
    )


def _hosts(stack: Stack, services: tuple[str, ...]) -> list[str]:
    return [f"{service}.{stack.region}.amazonaws.com" for service in services]
