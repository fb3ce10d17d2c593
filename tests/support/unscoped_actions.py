"""Actions that may be allowed on every resource, because AWS offers no narrower permission for them.

Reviewed against the Service Authorization Reference: each of these has no entry in its column "Resource types".
An action that is not here needs a resource.
"""

_EC2_DESCRIBE = "EC2's describe calls take no resource-level permission"
_AUTO_SCALING_DESCRIBE = "Auto Scaling's describe calls take no resource-level permission"
_MESSAGES = "Systems Manager's message channels belong to the calling instance; there is no resource to name"

UNSCOPED_ACTIONS: dict[str, str] = {
    "autoscaling:DescribeAutoScalingGroups": _AUTO_SCALING_DESCRIBE,
    "autoscaling:DescribeAutoScalingInstances": _AUTO_SCALING_DESCRIBE,
    "autoscaling:DescribeScalingActivities": _AUTO_SCALING_DESCRIBE,
    "ec2:DescribeFlowLogs": _EC2_DESCRIBE,
    "ec2:DescribeInstances": _EC2_DESCRIBE,
    "ec2:DescribeInstanceStatus": _EC2_DESCRIBE,
    "ec2:DescribeLaunchTemplateVersions": _EC2_DESCRIBE,
    "ec2:DescribeRouteTables": _EC2_DESCRIBE,
    "ec2:DescribeSecurityGroups": _EC2_DESCRIBE,
    "ec2:DescribeSubnets": _EC2_DESCRIBE,
    "ec2:DescribeVolumes": _EC2_DESCRIBE,
    "ec2:DescribeVpcEndpoints": _EC2_DESCRIBE,
    "ec2:DescribeVpcs": _EC2_DESCRIBE,
    "ecr:GetAuthorizationToken": "a token is for the account's registry, not for a repository",
    "ecs:ListTasks": "tasks on Fargate have no container instance, its one resource; the cluster is a condition",
    "logs:DescribeLogGroups": "a listing of all log groups, which no permission on one of them admits",
    "ssm:DescribeInstanceInformation": "the list of managed instances takes no resource-level permission",
    "ssm:DescribeSessions": "the list of sessions takes no resource-level permission",
    "ssm:GetCommandInvocation": "a command's answer takes no resource-level permission",
    "ssm:ListCommandInvocations": "a command's answers take no resource-level permission",
    "ssm:ListCommands": "the list of commands takes no resource-level permission",
    "ssmmessages:CreateControlChannel": _MESSAGES,
    "ssmmessages:CreateDataChannel": _MESSAGES,
    "ssmmessages:OpenControlChannel": _MESSAGES,
    "ssmmessages:OpenDataChannel": _MESSAGES,
}
