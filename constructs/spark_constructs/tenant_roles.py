"""A role for each tenant of target swarm: jobs get its sessions, an hour at a time, from their host's broker."""

from collections.abc import Mapping
from dataclasses import dataclass

from aws_cdk import Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from constructs import Construct

from spark_constructs.naming import role_name
from spark_constructs.permissions import Permission, acknowledge_wildcards
from spark_constructs.storage import EVENT_LOGS_PREFIX, JOBS_PREFIX
from spark_constructs.tenant_permissions import TenantCatalog, TenantData, tenant_permissions

#: Session tags that the broker sets; the hosts' programs know them by the same names.
TENANT_TAG = "sparkvault-tenant"
JOB_TAG = "sparkvault-job"

#: What the history server is called where tenants are: no tenant's name can hold an underscore.
HISTORY = "_history"


@dataclass(frozen=True)
class TenantAccess:
    """What one tenant's jobs may do beside their own files."""

    name: str
    """Name of the tenant."""
    data: tuple[TenantData, ...] = ()
    """Buckets with data; default: none."""
    key_arn: str | None = None
    """A KMS key of the tenant's own; default: none."""


@dataclass(frozen=True)
class TenantRolesProps:
    """What TenantRoles needs to know."""

    cluster: str
    """Name of the cluster."""
    tenants: tuple[TenantAccess, ...]
    """The tenants."""
    workers_role: iam.IRole
    """Role of the hosts whose broker hands the sessions out."""
    job_bucket: s3.IBucket
    """Bucket of jobs."""
    key: kms.IKey
    """Key of the job bucket."""
    catalog: TenantCatalog | None = None
    """Databases of the Glue Data Catalog; default: none."""
    family: str = ""
    """What stands before ``tenant-<name>`` in a role's name, for a second target of the cluster; default: nothing."""
    permissions_boundary: iam.IManagedPolicy | None = None
    """A managed policy that bounds the roles; default: none."""


class TenantRoles(Construct):
    """``<cluster>-tenant-<name>-<region>`` for each tenant; and one for the history server, to read event logs.

    Only the workers' hosts may take such a role, and only with the tenant's name as a session tag. A job reaches its
    own files by the tag of its id, its tenant's data, and nothing of another tenant.

    Example::

        roles = TenantRoles(self, "Tenants", TenantRolesProps(cluster="analytics", workers_role=workers.role.role,
                            tenants=(TenantAccess("sales", data=(TenantData("sales-data"),)),), job_bucket=bucket,
                            key=key))
        workers.role.add(roles.assume())

    Attributes:
        arns: the roles' ARNs by tenant; the history server's under ``_history``.
    """

    arns: Mapping[str, str]

    def __init__(self, scope: Construct, construct_id: str, props: TenantRolesProps) -> None:
        super().__init__(scope, construct_id)
        self._props = props
        arns = {
            tenant.name: self._role(tenant.name, f"tenant-{tenant.name}", self._of_tenant(tenant))
            for tenant in props.tenants
        }
        arns[HISTORY] = self._role(HISTORY, "history", self._of_history())
        self.arns = arns

    def assume(self) -> Permission:
        """What lets the workers' hosts take these roles, and no other."""
        return Permission("TenantSessions", ("sts:AssumeRole", "sts:TagSession"), tuple(self.arns.values()))

    def _role(self, tenant: str, part: str, permissions: list[Permission]) -> str:
        props, stack = self._props, Stack.of(self)
        name = role_name(props.cluster, props.family + part, stack.region)
        trusted = iam.PrincipalWithConditions(
            iam.ArnPrincipal(props.workers_role.role_arn),
            {
                "StringEquals": {f"aws:RequestTag/{TENANT_TAG}": tenant},
                "ForAllValues:StringEquals": {"aws:TagKeys": [TENANT_TAG, JOB_TAG]},
            },
        )
        role = iam.Role(
            self,
            "".join(word.capitalize() for word in part.split("-")),
            role_name=name,
            description=f"{'History server' if tenant == HISTORY else f'Jobs of tenant {tenant}'} of {props.cluster}",
            assumed_by=iam.SessionTagsPrincipal(trusted),
            permissions_boundary=props.permissions_boundary,
            inline_policies={"Tenant": iam.PolicyDocument(statements=[each.statement() for each in permissions])},
        )
        acknowledge_wildcards(role, permissions)
        # Written out, not referenced: the workers' role and these roles would wait for each other.
        return stack.format_arn(service="iam", region="", resource="role", resource_name=name)

    def _of_tenant(self, tenant: TenantAccess) -> list[Permission]:
        props, own = self._props, f"{JOBS_PREFIX}${{aws:PrincipalTag/{JOB_TAG}}}"
        permissions = [
            Permission(
                "FilesOfThisJob",
                ("s3:GetObject",),
                (props.job_bucket.arn_for_objects(f"{own}/files/*"),),
                wildcard="The files of the one job whose session this is, by the tag that the broker gave it.",
            ),
            Permission(
                "EventLogOfThisJob",
                ("s3:AbortMultipartUpload", "s3:PutObject"),
                (props.job_bucket.arn_for_objects(f"{own}/{EVENT_LOGS_PREFIX}*"),),
                wildcard="The event log of the one job whose session this is; Spark names its files.",
            ),
            Permission(
                "ListThisJob",
                ("s3:ListBucket",),
                (props.job_bucket.bucket_arn,),
                conditions={"StringLike": {"s3:prefix": [f"{own}/*"]}},
            ),
            *tenant_permissions(
                self,
                tenant.name,
                job_bucket=props.job_bucket,
                key_arn=props.key.key_arn,
                data=tenant.data,
                catalog=props.catalog,
            ),
        ]
        if tenant.key_arn is not None:
            context = {"StringEquals": {"kms:EncryptionContext:tenant": tenant.name}}
            permissions.append(
                Permission("OwnKey", ("kms:Decrypt", "kms:GenerateDataKey"), (tenant.key_arn,), conditions=context)
            )
        return permissions

    def _of_history(self) -> list[Permission]:
        through_s3 = {"StringEquals": {"kms:ViaService": f"s3.{Stack.of(self).region}.amazonaws.com"}}
        key, bucket = self._props.key.key_arn, self._props.job_bucket
        return [
            Permission(
                "EventLogs",
                ("s3:GetObject",),
                # And the object of the folder's own name, which S3A asks for first.
                (
                    bucket.arn_for_objects(EVENT_LOGS_PREFIX.rstrip("/")),
                    bucket.arn_for_objects(f"{EVENT_LOGS_PREFIX}*"),
                ),
                wildcard="Event logs of ended jobs, which managers put there, side by side.",
            ),
            Permission(
                "ListEventLogs",
                ("s3:ListBucket",),
                (bucket.bucket_arn,),
                conditions={"StringLike": {"s3:prefix": [EVENT_LOGS_PREFIX.rstrip("/"), f"{EVENT_LOGS_PREFIX}*"]}},
            ),
            Permission("DecryptEventLogs", ("kms:Decrypt",), (key,), conditions=through_s3),
        ]
