"""The IAM role of a group of hosts: what a swarm host must be able to do, and nothing else."""

from dataclasses import dataclass
from typing import Literal

from aws_cdk import Stack
from aws_cdk import aws_ecr as ecr
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_logs as logs
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_s3_assets as s3_assets
from constructs import Construct

from spark_constructs.image_permissions import pull_images
from spark_constructs.naming import auto_scaling_group_name, host_role_name, parameter_name
from spark_constructs.permissions import NO_RESOURCE, Permission, acknowledge_wildcards
from spark_constructs.storage import JOBS_PREFIX

HostKind = Literal["manager", "worker", "yarn-master", "yarn-node"]

#: What people read of a kind of host.
HOSTS_CALLED: dict[HostKind, str] = {
    "manager": "Swarm managers",
    "worker": "Swarm workers",
    "yarn-master": "YARN masters",
    "yarn-node": "YARN nodes",
}

_GROUP_WILDCARD = "The group is named exactly; the wildcard stands for the id that EC2 puts into its ARN."


@dataclass(frozen=True)
class HostRoleProps:
    """What HostRole needs to know."""

    cluster: str
    """Name of the cluster."""
    kind: HostKind
    """Managers write join data and read jobs; workers do neither. YARN's hosts get theirs from `YarnCluster`."""
    group_name: str
    """Name of the Auto Scaling group whose hosts have the role."""
    key: kms.IKey
    """Encrypts the cluster's parameters and its job bucket; used only through those services."""
    log_group: logs.ILogGroup
    """The only log group that the hosts write to."""
    job_bucket: s3.IBucket
    """Bucket of jobs; only managers reach it, under ``jobs/``."""
    bundle: s3_assets.Asset
    """What hosts run at boot."""
    image_repositories: tuple[ecr.IRepository, ...] = ()
    """Repositories that images are pulled from; default: none, and then nothing may be pulled."""
    permissions_boundary: iam.IManagedPolicy | None = None
    """A managed policy that bounds the role; default: none."""


class HostRole(Construct):
    """A role for EC2 with one inline policy, written out action by action, without any AWS managed policy.

    A worker cannot read the manager's join token: neither its parameter, nor through KMS, whose encryption context
    is the parameter's ARN. ``add`` is where later parts of a deployment put what their own programs on hosts need.

    Example::

        role = HostRole(self, "Role", HostRoleProps(cluster="analytics", kind="worker", group_name="analytics-workers",
                        key=key, log_group=log_group, job_bucket=bucket, bundle=host_bundle(self, "Bundle")))

    Attributes:
        role: the IAM role.
    """

    role: iam.Role

    def __init__(self, scope: Construct, construct_id: str, props: HostRoleProps) -> None:
        super().__init__(scope, construct_id)
        self._props = props
        permissions = self._permissions()
        self.role = iam.Role(
            self,
            "Role",
            role_name=host_role_name(props.cluster, props.kind, Stack.of(self).region),
            description=f"{HOSTS_CALLED[props.kind]} of {props.cluster}",
            assumed_by=iam.ServicePrincipal("ec2.amazonaws.com"),
            permissions_boundary=props.permissions_boundary,
            # One policy inside the role, not beside it: a host never starts with half of its permissions.
            inline_policies={"Host": iam.PolicyDocument(statements=[each.statement() for each in permissions])},
        )
        acknowledge_wildcards(self.role, permissions)

    def add(self, *permissions: Permission) -> None:
        """Let the hosts do more. Wildcards need their reason (permissions.py)."""
        for permission in permissions:
            self.role.add_to_principal_policy(permission.statement())
        acknowledge_wildcards(self.role, permissions)

    def _permissions(self) -> list[Permission]:
        common = [
            *self._systems_manager(),
            *self._boot(),
            *self._images(),
            self._logs(),
            self._own_group(),
        ]
        if self._props.kind == "manager":
            dead_workers = let_dead_hosts_go(self, auto_scaling_group_name(self._props.cluster, "workers"))
            return [*common, *self._write_join_data(), see_hosts(), dead_workers, *self.jobs()]
        return [*common, *self._read_join_data()] if self._props.kind == "worker" else common

    def _systems_manager(self) -> list[Permission]:
        """Run Command and sessions. SSM Agent needs no ec2messages since 3.3.40.0, which the image is newer than.

        Source: Systems Manager user guide, "Add Session Manager permissions to an existing IAM role", and "Reference:
        ec2messages, ssmmessages, and other API operations". What AmazonSSMManagedInstanceCore gives beyond it
        (inventory, patches, State Manager, every parameter of the account) is not used here.
        """
        instances = Stack.of(self).format_arn(service="ec2", resource="instance", resource_name="*")
        return [
            Permission(
                "SystemsManagerHeartbeat",
                ("ssm:UpdateInstanceInformation",),
                (instances,),
                conditions={"ArnLike": {"ec2:SourceInstanceARN": instances}},
                wildcard="Ids of instances are not known beforehand; credentials must come from an instance's role.",
            ),
            Permission(
                "SystemsManagerChannels",
                (
                    "ssmmessages:CreateControlChannel",
                    "ssmmessages:CreateDataChannel",
                    "ssmmessages:OpenControlChannel",
                    "ssmmessages:OpenDataChannel",
                ),
                ("*",),
                wildcard=NO_RESOURCE,
            ),
        ]

    def _boot(self) -> list[Permission]:
        stack, bundle = Stack.of(self), self._props.bundle
        return [
            Permission("HostBundle", ("s3:GetObject",), (bundle.bucket.arn_for_objects(bundle.s3_object_key),)),
            Permission(
                "CreationSignal",
                ("cloudformation:SignalResource",),
                (stack.format_arn(service="cloudformation", resource="stack", resource_name=f"{stack.stack_name}/*"),),
                wildcard="What follows the stack's name is the random id of this one stack, known only once it exists.",
            ),
        ]

    def _images(self) -> list[Permission]:
        return [
            Permission(
                "ImageDigests",
                ("ssm:GetParameter", "ssm:GetParameters"),
                (self._parameters("images", "*"),),
                wildcard="The digests of this cluster's images, one parameter each; none of them is secret.",
            ),
            *pull_images(self._props.image_repositories),
        ]

    def _logs(self) -> Permission:
        return Permission(
            "OwnLogGroup",
            ("logs:CreateLogStream", "logs:PutLogEvents"),
            (self._props.log_group.log_group_arn,),
            wildcard="Streams of the one log group; their names hold ids of instances and containers.",
        )

    def _own_group(self) -> Permission:
        return Permission(
            "OwnGroup",
            (
                "autoscaling:CompleteLifecycleAction",
                "autoscaling:RecordLifecycleActionHeartbeat",
                "autoscaling:SetInstanceHealth",
            ),
            (_group_arn(self, self._props.group_name),),
            wildcard=_GROUP_WILDCARD,
        )

    def _read_join_data(self) -> list[Permission]:
        resources = (self._parameters("swarm", "worker", "*"),)
        why = "The few parameters under swarm/worker: what a worker needs to join, and nothing of the managers'."
        return [
            Permission("JoinAsWorker", ("ssm:GetParameter", "ssm:GetParameters"), resources, wildcard=why),
            self._key_for_parameters("ReadJoinData", ("kms:Decrypt",), resources),
        ]

    def _write_join_data(self) -> list[Permission]:
        read = (self._parameters("swarm", "*"),)
        write = (self._parameters("swarm", "manager", "*"), self._parameters("swarm", "worker", "*"))
        return [
            Permission(
                "SwarmParameters",
                ("ssm:GetParameter", "ssm:GetParameters"),
                read,
                wildcard="The swarm's own parameters: what is wanted of it, and what is published to join it.",
            ),
            Permission(
                "JoinData",
                ("ssm:DeleteParameter", "ssm:PutParameter"),
                write,
                wildcard="What hosts of either kind join with: managers make, rotate and remove it.",
            ),
            self._key_for_parameters("ReadAndWriteJoinData", ("kms:Decrypt", "kms:Encrypt"), read),
        ]

    def _key_for_parameters(self, sid: str, actions: tuple[str, ...], parameters: tuple[str, ...]) -> Permission:
        """Systems Manager user guide, "How Parameter Store uses KMS": the context names the parameter."""
        return Permission(
            sid,
            actions,
            (self._props.key.key_arn,),
            conditions={
                "StringEquals": {"kms:ViaService": self._host("ssm")},
                "ArnLike": {"kms:EncryptionContext:PARAMETER_ARN": list(parameters)},
            },
        )

    def jobs(self) -> list[Permission]:
        """The launcher reads a job's specification and writes how it ended.

        Jobs themselves use their tenant's role and not the host's.
        """
        bucket = self._props.job_bucket
        return [
            Permission(
                "Jobs",
                (
                    "s3:AbortMultipartUpload",
                    "s3:GetObject",
                    # The tag of an object's tenant is asked for, and put on records.
                    "s3:GetObjectTagging",
                    "s3:PutObject",
                    "s3:PutObjectTagging",
                ),
                (bucket.arn_for_objects(f"{JOBS_PREFIX}*"),),
                wildcard="Jobs lie under jobs/<id>/, and ids are made when jobs are submitted.",
            ),
            Permission(
                "ListJobs",
                ("s3:ListBucket",),
                (bucket.bucket_arn,),
                conditions={"StringLike": {"s3:prefix": f"{JOBS_PREFIX}*"}},
            ),
            Permission(
                "JobEncryption",
                ("kms:Decrypt", "kms:GenerateDataKey"),
                (self._props.key.key_arn,),
                conditions={"StringEquals": {"kms:ViaService": self._host("s3")}},
            ),
        ]

    def _parameters(self, *parts: str) -> str:
        # `naming` knows no wildcards: the checked prefix, and what follows.
        name = parameter_name(self._props.cluster, *parts[:-1])
        return Stack.of(self).format_arn(service="ssm", resource=f"parameter{name}/{parts[-1]}")

    def _host(self, service: str) -> str:
        return f"{service}.{Stack.of(self).region}.amazonaws.com"


def see_hosts() -> Permission:
    """Only an instance in service of the right group is one of the cluster's hosts."""
    return Permission(
        "SeeHosts",
        (
            "autoscaling:DescribeAutoScalingGroups",
            "autoscaling:DescribeAutoScalingInstances",
            "ec2:DescribeInstances",
        ),
        ("*",),
        wildcard=NO_RESOURCE,
    )


def let_dead_hosts_go(scope: Construct, group: str) -> Permission:
    """A host that has died cannot complete its own hook; who leads the cluster sees that it is gone."""
    return Permission(
        "DeadHosts",
        ("autoscaling:CompleteLifecycleAction",),
        (_group_arn(scope, group),),
        wildcard=_GROUP_WILDCARD,
    )


def _group_arn(scope: Construct, group: str) -> str:
    resource = f"autoScalingGroup:*:autoScalingGroupName/{group}"
    return Stack.of(scope).format_arn(service="autoscaling", resource=resource)
