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
    "autoscaling:DescribeLifecycleHooks": _AUTO_SCALING_DESCRIBE,
    "autoscaling:DescribeScalingActivities": _AUTO_SCALING_DESCRIBE,
    "autoscaling:DescribeInstanceRefreshes": _AUTO_SCALING_DESCRIBE,
    "cloudwatch:PutMetricData": "metrics have no ARN; a condition on cloudwatch:namespace narrows it",
    "ec2:DescribeInstances": _EC2_DESCRIBE,
    "ec2:DescribeInstanceStatus": _EC2_DESCRIBE,
    "ec2:DescribeInstanceTypes": _EC2_DESCRIBE,
    "ec2:DescribeLaunchTemplates": _EC2_DESCRIBE,
    "ec2:DescribeLaunchTemplateVersions": _EC2_DESCRIBE,
    "ec2:DescribeNetworkInterfaces": _EC2_DESCRIBE,
    "ec2:DescribeSecurityGroups": _EC2_DESCRIBE,
    "ec2:DescribeSecurityGroupRules": _EC2_DESCRIBE,
    "ec2:DescribeSubnets": _EC2_DESCRIBE,
    "ec2:DescribeTags": _EC2_DESCRIBE,
    "ec2:DescribeVolumes": _EC2_DESCRIBE,
    "ec2:DescribeVpcEndpoints": _EC2_DESCRIBE,
    "ec2:DescribeVpcs": _EC2_DESCRIBE,
    "ec2:DescribeFlowLogs": _EC2_DESCRIBE,
    "ec2messages:AcknowledgeMessage": _MESSAGES,
    "ec2messages:DeleteMessage": _MESSAGES,
    "ec2messages:FailMessage": _MESSAGES,
    "ec2messages:GetEndpoint": _MESSAGES,
    "ec2messages:GetMessages": _MESSAGES,
    "ec2messages:SendReply": _MESSAGES,
    "ecr:GetAuthorizationToken": "a token is for the account's registry, not for a repository",
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
