"""What people may do: the managed policies operator, submitter and auditor of a cluster."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from aws_cdk import Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_logs as logs
from aws_cdk import aws_s3 as s3
from constructs import Construct

from spark_constructs.host_group import CLUSTER_TAG
from spark_constructs.job_permissions import list_jobs, submitted_jobs
from spark_constructs.naming import document_name, parameter_name, policy_name, stack_name
from spark_constructs.permissions import Permission, acknowledge_wildcards
from spark_constructs.yarn_settings import YARN_FAMILY, keytab_secrets

#: Families of our SSM documents: those of each tenant's jobs (``<cluster>-job.<tenant>.submit``), those for the
#: submitters of all tenants (``<cluster>-view.port``), and the operators' (``<cluster>-host.rotate``). The dot can
#: stand in no name of a cluster or tenant, so that no one's documents look like another's.
JOB_DOCUMENTS = "job."
VIEW_DOCUMENTS = "view."
HOST_DOCUMENTS = "host."

#: Targets with hosts of ours.
HostTarget = Literal["swarm", "yarn"]

#: Longest managed policy in characters without white space (IAM quotas).
MAX_POLICY_CHARACTERS = 6144

_NO_RESOURCE = "The action has no resource to name: it reads descriptions and changes nothing."


@dataclass(frozen=True)
class AccessPoliciesProps:
    """What AccessPolicies needs to know."""

    cluster: str
    """Name of the cluster."""
    job_bucket: s3.IBucket
    """Bucket of jobs."""
    key: kms.IKey
    """Key of the job bucket."""
    log_group: logs.ILogGroup
    """Log group of hosts and jobs."""
    workers_group_name: str
    """The group that operators may scale."""
    managers_group_name: str
    """The group whose hosts operators may replace."""
    tenants: tuple[str, ...] = ("default",)
    """Names of the tenants, each of which has its submitters."""
    target: HostTarget = "swarm"
    """Whose hosts these are; `yarn` has documents, policies and secrets of its own names. Default: swarm."""
    host_role_names: tuple[str, ...] = ()
    """Roles of the hosts, which auditors may read; default: none."""


def family(target: HostTarget) -> str:
    """What stands before a family of documents, or a policy, of the target; empty for the swarm.

    Its dot can stand in no name of a cluster either, so that one cluster's names are never another's.
    """
    return "" if target == "swarm" else YARN_FAMILY


def job_documents(cluster: str, tenant: str, target: HostTarget = "swarm") -> str:
    """Pattern of the names of the SSM documents that submitters of a tenant run."""
    return f"{document_name(cluster, f'{family(target)}{JOB_DOCUMENTS}{tenant}.')}*"


def view_documents(cluster: str, target: HostTarget = "swarm") -> str:
    """Pattern of the names of the SSM documents that submitters of every tenant run."""
    return f"{document_name(cluster, family(target) + VIEW_DOCUMENTS)}*"


def host_documents(cluster: str, target: HostTarget = "swarm") -> str:
    """Pattern of the names of the SSM documents that operators run."""
    return f"{document_name(cluster, family(target) + HOST_DOCUMENTS)}*"


class AccessPolicies(Construct):
    """Managed policies, to be attached to roles or permission sets of people. None opens a shell on a host.

    *operator* scales, replaces hosts and runs the host documents, and sees no data. *submitter*, one for each tenant,
    puts jobs of that tenant and runs its job documents on hosts of this cluster. *auditor* reads configuration and
    logs. Each denies what it must never give even together with another policy, so one person who is two of them
    needs two roles.

    Example::

        policies = AccessPolicies(self, "Access", AccessPoliciesProps(cluster="analytics", job_bucket=bucket, key=key,
                                  log_group=log_group, workers_group_name="analytics-workers",
                                  managers_group_name="analytics-managers"))
        iam.Role(self, "Analyst", assumed_by=..., managed_policies=[policies.submitters["sales"]])

    Attributes:
        operator, auditor: managed policies, ``<cluster>-<name>-<region>``.
        submitters: managed policies by tenant, ``<cluster>-<tenant>-submitter-<region>``.
    """

    operator: iam.ManagedPolicy
    submitters: Mapping[str, iam.ManagedPolicy]
    auditor: iam.ManagedPolicy

    def __init__(self, scope: Construct, construct_id: str, props: AccessPoliciesProps) -> None:
        super().__init__(scope, construct_id)
        self._props = props
        self.operator = self._policy("Operator", "Scales and repairs the cluster; sees no data", self._operator())
        self.submitters = {
            tenant: self._policy(
                f"{tenant.title().replace('-', '')}Submitter",
                f"Submits jobs of tenant {tenant} and sees their logs",
                self._submitter(tenant),
                name=f"{tenant}-submitter",
            )
            for tenant in props.tenants
        }
        self.auditor = self._policy("Auditor", "Reads configuration and logs; sees no data", self._auditor())

    def _policy(
        self, construct_id: str, description: str, permissions: list[Permission], *, name: str = ""
    ) -> iam.ManagedPolicy:
        stack, cluster = Stack.of(self), self._props.cluster
        policy = iam.ManagedPolicy(
            self,
            construct_id,
            managed_policy_name=policy_name(
                cluster, family(self._props.target) + (name or construct_id.lower()), stack.region
            ),
            description=f"{cluster}: {description}",
            statements=[each.statement() for each in permissions],
        )
        acknowledge_wildcards(policy, permissions)
        return policy

    def _submitter(self, tenant: str) -> list[Permission]:
        props = self._props
        documents = (
            job_documents(props.cluster, tenant, props.target),
            view_documents(props.cluster, props.target),
        )
        # YARN has no documents that open a session.
        sessions = props.target == "swarm"
        return [
            *submitted_jobs(self, props.job_bucket, props.key.key_arn, tenant),
            self._read_logs(),
            *self._run_documents(*documents, sessions=sessions),
            *(self._own_sessions() if sessions else []),
            self._see_groups(),
            self._see_stacks(),
            *self._only_documents(*documents),
        ]

    def _operator(self) -> list[Permission]:
        props, stack = self._props, Stack.of(self)
        return [
            Permission(
                "ScaleWorkers",
                ("autoscaling:SetDesiredCapacity",),
                (self._group(props.workers_group_name),),
                wildcard="The group is named exactly; the wildcard stands for the id that EC2 puts into its ARN.",
            ),
            Permission(
                "ReplaceHosts",
                (
                    "autoscaling:ResumeProcesses",
                    "autoscaling:SetInstanceHealth",
                    "autoscaling:SuspendProcesses",
                    "autoscaling:TerminateInstanceInAutoScalingGroup",
                ),
                (self._group(props.workers_group_name), self._group(props.managers_group_name)),
                wildcard="The groups are named exactly; the wildcard stands for the id that EC2 puts into their ARNs.",
            ),
            *self._run_documents(host_documents(props.cluster, props.target), sessions=False),
            Permission(
                "ConsoleOfHosts",
                ("ec2:GetConsoleOutput",),
                (self._instances(),),
                conditions={"StringEquals": {f"aws:ResourceTag/{CLUSTER_TAG}": props.cluster}},
                wildcard="Ids of instances are not known beforehand; the condition admits this cluster's alone.",
            ),
            Permission(
                "ImageDigests",
                ("ssm:GetParameter", "ssm:GetParameters"),
                (stack.format_arn(service="ssm", resource=f"parameter{parameter_name(props.cluster, 'images')}/*"),),
                wildcard="The digests of this cluster's images, one parameter each; none of them is secret.",
            ),
            list_jobs(self._props.job_bucket),
            self._read_logs(),
            self._see_groups(),
            self._see_stacks(),
            Permission(
                "SeeHosts",
                (
                    "ec2:DescribeInstanceStatus",
                    "ec2:DescribeLaunchTemplateVersions",
                    "ssm:DescribeInstanceInformation",
                ),
                ("*",),
                wildcard=_NO_RESOURCE,
            ),
            *self._only_documents(host_documents(props.cluster, props.target)),
            self._no_data(),
        ]

    def _auditor(self) -> list[Permission]:
        props, stack = self._props, Stack.of(self)
        permissions = [
            self._read_logs(),
            self._see_stacks("cloudformation:GetTemplate", "cloudformation:ListStackResources"),
            self._see_groups(),
            Permission(
                "Network",
                (
                    "ec2:DescribeFlowLogs",
                    "ec2:DescribeLaunchTemplateVersions",
                    "ec2:DescribeRouteTables",
                    "ec2:DescribeSecurityGroups",
                    "ec2:DescribeSubnets",
                    "ec2:DescribeVolumes",
                    "ec2:DescribeVpcEndpoints",
                    "ec2:DescribeVpcs",
                    "logs:DescribeLogGroups",
                    "ssm:DescribeInstanceInformation",
                    "ssm:DescribeSessions",
                    "ssm:ListCommands",
                ),
                ("*",),
                wildcard=_NO_RESOURCE,
            ),
            Permission(
                "Bucket",
                (
                    "s3:GetBucketLogging",
                    "s3:GetBucketPolicy",
                    "s3:GetBucketPublicAccessBlock",
                    "s3:GetBucketVersioning",
                    "s3:GetEncryptionConfiguration",
                    "s3:GetLifecycleConfiguration",
                ),
                (props.job_bucket.bucket_arn,),
            ),
            Permission(
                "Key",
                ("kms:DescribeKey", "kms:GetKeyPolicy", "kms:GetKeyRotationStatus", "kms:ListGrants"),
                (props.key.key_arn,),
            ),
            Permission(
                "Documents",
                ("ssm:DescribeDocument", "ssm:GetDocument"),
                tuple(
                    self._document(f"{document_name(props.cluster, family(props.target) + kind)}*")
                    for kind in (JOB_DOCUMENTS, VIEW_DOCUMENTS, HOST_DOCUMENTS)
                ),
                wildcard="The documents of this cluster, by their families; they hold no secret.",
            ),
            Permission(
                "PoliciesOfPeople",
                ("iam:GetPolicy", "iam:GetPolicyVersion", "iam:ListEntitiesForPolicy", "iam:ListPolicyVersions"),
                tuple(
                    stack.format_arn(
                        service="iam",
                        region="",
                        resource="policy",
                        resource_name=policy_name(props.cluster, family(props.target) + name, stack.region),
                    )
                    for name in ("operator", *(f"{tenant}-submitter" for tenant in props.tenants), "auditor")
                ),
            ),
        ]
        if props.host_role_names:
            permissions.append(
                Permission(
                    "RolesOfHosts",
                    (
                        "iam:GetRole",
                        "iam:GetRolePolicy",
                        "iam:ListAttachedRolePolicies",
                        "iam:ListRolePolicies",
                    ),
                    tuple(
                        stack.format_arn(service="iam", region="", resource="role", resource_name=name)
                        for name in props.host_role_names
                    ),
                )
            )
        permissions += [
            Permission("NothingRuns", ("ssm:SendCommand", "ssm:StartSession"), ("*",), allow=False),
            self._no_data(),
        ]
        return permissions

    def _run_documents(self, *documents: str, sessions: bool = True) -> list[Permission]:
        """SendCommand and StartSession are checked against document and instance both, one statement each.

        ``SessionDocumentAccessCheck`` must stand on every statement that allows StartSession: without it a session
        that names no document gets a shell (Systems Manager user guide, "Start a session with a document by
        specifying the session documents in IAM policies").
        """
        run = [
            Permission(
                "RunDocuments",
                ("ssm:SendCommand",),
                tuple(map(self._document, documents)),
                wildcard="The documents of one family of this cluster; each has one validated parameter.",
            ),
            Permission(
                "OnHostsOfThisCluster",
                ("ssm:SendCommand",),
                (self._instances(),),
                conditions={"StringEquals": {f"ssm:resourceTag/{CLUSTER_TAG}": self._props.cluster}},
                wildcard="Ids of instances are not known beforehand; the condition admits this cluster's alone.",
            ),
            Permission(
                "SeeHowItEnded",
                ("ssm:GetCommandInvocation", "ssm:ListCommandInvocations"),
                ("*",),
                wildcard="Commands have no ARN, so IAM cannot tell them apart; our documents print no data.",
            ),
        ]
        if not sessions:
            return run
        check = {"BoolIfExists": {"ssm:SessionDocumentAccessCheck": "true"}}
        return [
            *run,
            Permission(
                "StartDocuments",
                ("ssm:StartSession",),
                tuple(map(self._document, documents)),
                conditions=check,
                wildcard="The documents of one family of this cluster: shells of a job and listed ports only.",
            ),
            Permission(
                "SessionsOnHostsOfThisCluster",
                ("ssm:StartSession",),
                (self._instances(),),
                conditions={**check, "StringEquals": {f"ssm:resourceTag/{CLUSTER_TAG}": self._props.cluster}},
                wildcard="Ids of instances are not known beforehand; the condition admits this cluster's alone.",
            ),
        ]

    def _own_sessions(self) -> list[Permission]:
        """Systems Manager user guide, "Quickstart default IAM policies for Session Manager": ids start so."""
        return [
            Permission(
                "OwnSessions",
                ("ssm:ResumeSession", "ssm:TerminateSession", "ssmmessages:OpenDataChannel"),
                (Stack.of(self).format_arn(service="ssm", resource="session", resource_name="${aws:userid}-*"),),
                wildcard="The sessions of the caller alone: their ids start with the caller's own.",
            )
        ]

    def _only_documents(self, *documents: str) -> list[Permission]:
        """Denies every document but ours, and so all that give a shell or any port.

        AWS-RunShellScript, AWS-StartInteractiveCommand, AWS-StartPortForwardingSession, SSM-SessionManagerRunShell
        and the next one that AWS publishes. It holds whatever other policies the same role has.
        """
        return [
            Permission(
                "NoOtherDocuments",
                ("ssm:SendCommand", "ssm:StartSession"),
                not_resources=(*map(self._document, documents), self._instances()),
                allow=False,
            )
        ]

    def _no_data(self) -> Permission:
        """Neither what jobs read and write, nor what would decrypt it or let a host be joined."""
        props, stack = self._props, Stack.of(self)
        yarn = props.target == "yarn"
        keytabs = stack.format_arn(service="secretsmanager", resource=f"secret:{keytab_secrets(props.cluster)}*")
        return Permission(
            "NoData",
            (
                "kms:Decrypt",
                "s3:DeleteObject",
                "s3:GetObject",
                "s3:GetObjectVersion",
                "s3:PutObject",
                "ssm:GetParameter",
                "ssm:GetParameterHistory",
                "ssm:GetParameters",
                "ssm:GetParametersByPath",
                *(("secretsmanager:GetSecretValue",) if yarn else ()),
            ),
            (
                props.job_bucket.arn_for_objects("*"),
                props.key.key_arn,
                stack.format_arn(service="ssm", resource=f"parameter{parameter_name(props.cluster, props.target)}"),
                stack.format_arn(service="ssm", resource=f"parameter{parameter_name(props.cluster, props.target)}/*"),
                *((keytabs,) if yarn else ()),
            ),
            allow=False,
        )

    def _read_logs(self) -> Permission:
        return Permission(
            "ReadLogs",
            ("logs:DescribeLogStreams", "logs:FilterLogEvents", "logs:GetLogEvents", "logs:StartLiveTail"),
            (self._props.log_group.log_group_arn,),
            wildcard="Streams of the one log group; their names hold ids of instances and containers.",
        )

    def _see_groups(self) -> Permission:
        return Permission(
            "SeeGroups",
            (
                "autoscaling:DescribeAutoScalingGroups",
                "autoscaling:DescribeScalingActivities",
                "ec2:DescribeInstances",
            ),
            ("*",),
            wildcard=_NO_RESOURCE,
        )

    def _see_stacks(self, *more: str) -> Permission:
        stack, cluster = Stack.of(self), self._props.cluster
        return Permission(
            "SeeStacks",
            ("cloudformation:DescribeStackEvents", "cloudformation:DescribeStacks", *more),
            tuple(
                stack.format_arn(
                    service="cloudformation", resource="stack", resource_name=f"{stack_name(cluster, part)}/*"
                )
                for part in ("network", "storage", "images", self._props.target)
            ),
            wildcard="What follows a stack's name is the random id of this one stack, known only once it exists.",
        )

    def _document(self, name: str) -> str:
        return Stack.of(self).format_arn(service="ssm", resource="document", resource_name=name)

    def _instances(self) -> str:
        return Stack.of(self).format_arn(service="ec2", resource="instance", resource_name="*")

    def _group(self, name: str) -> str:
        return Stack.of(self).format_arn(
            service="autoscaling", resource=f"autoScalingGroup:*:autoScalingGroupName/{name}"
        )
