"""The key of target fargate: it wraps the secrets of applications and encrypts the disks of tasks."""

from collections.abc import Mapping

from aws_cdk import Stack
from aws_cdk import aws_iam as iam
from constructs import Construct

from spark_constructs.kms_key import administration

#: Encryption context of an application's wrapped secret; the policy asks for exactly these two.
TENANT_CONTEXT = "tenant"
APPLICATION_CONTEXT = "application"


def fargate_key_policy(scope: Construct, cluster_name: str, tenant_roles: Mapping[str, str]) -> iam.PolicyDocument:
    """Statements: administration, secrets wrapped by this account, unwrapped per tenant, disks of this cluster's tasks.

    ``tenant_roles``: ARN of a task role → its tenant. The roles are named in conditions, because KMS refuses a policy
    with a principal that does not exist yet.
    """
    stack = Stack.of(scope)
    contexts = {
        "Null": {f"kms:EncryptionContext:{name}": "false" for name in (TENANT_CONTEXT, APPLICATION_CONTEXT)},
        "ForAllValues:StringEquals": {"kms:EncryptionContextKeys": [APPLICATION_CONTEXT, TENANT_CONTEXT]},
    }
    statements = [
        administration(),
        iam.PolicyStatement(
            sid="WrapSecrets",
            principals=[iam.AccountRootPrincipal()],
            actions=["kms:Encrypt"],
            resources=["*"],
            conditions=contexts,
        ),
    ]
    tenants: dict[str, list[str]] = {}
    for arn, tenant in tenant_roles.items():
        tenants.setdefault(tenant, []).append(arn)
    statements += [
        iam.PolicyStatement(
            sid="Unwrap" + "".join(part.capitalize() for part in tenant.split("-")),
            principals=[iam.AccountRootPrincipal()],
            actions=["kms:Decrypt"],
            resources=["*"],
            conditions={
                **contexts,
                "StringEquals": {f"kms:EncryptionContext:{TENANT_CONTEXT}": tenant},
                "ArnEquals": {"aws:PrincipalArn": arns},
            },
        )
        for tenant, arns in tenants.items()
    ]
    # ECS developer guide, "Customer managed keys for Fargate ephemeral storage".
    of_this_cluster = {
        "StringEquals": {
            "kms:EncryptionContext:aws:ecs:clusterAccount": [stack.account],
            "kms:EncryptionContext:aws:ecs:clusterName": [cluster_name],
        }
    }
    fargate = iam.ServicePrincipal("fargate.amazonaws.com")
    statements += [
        iam.PolicyStatement(
            sid="DisksOfTasks",
            principals=[fargate],
            actions=["kms:GenerateDataKeyWithoutPlaintext"],
            resources=["*"],
            conditions=of_this_cluster,
        ),
        iam.PolicyStatement(
            sid="GrantsForDisksOfTasks",
            principals=[fargate],
            actions=["kms:CreateGrant"],
            resources=["*"],
            conditions={**of_this_cluster, "ForAllValues:StringEquals": {"kms:GrantOperations": ["Decrypt"]}},
        ),
        iam.PolicyStatement(
            sid="DescribeForDisksOfTasks", principals=[fargate], actions=["kms:DescribeKey"], resources=["*"]
        ),
        # ECS developer guide, "Logging and auditing using ECS Exec": the session's own data key.
        iam.PolicyStatement(
            sid="ShellSessions",
            principals=[iam.AccountRootPrincipal()],
            actions=["kms:Decrypt", "kms:GenerateDataKey"],
            resources=["*"],
            conditions={"Null": {"kms:EncryptionContext:aws:ssm:SessionId": "false"}},
        ),
    ]
    return iam.PolicyDocument(statements=statements)
