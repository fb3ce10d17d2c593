"""The stack of target yarn: its hosts, its tenants' roles, and the policies of the people who use them."""

from constructs import Construct

from spark_constructs.access_policies import AccessPolicies, AccessPoliciesProps
from spark_constructs.config import Deployment, YarnGroup, memory_mib
from spark_constructs.job_documents import JobDocuments, JobDocumentsProps
from spark_constructs.security_groups import SecurityGroupsProps, YarnSecurityGroups
from spark_constructs.tenant_roles import TenantAccess
from spark_constructs.yarn_archives import archives
from spark_constructs.yarn_cluster import YarnArchive, YarnCluster, YarnClusterProps, YarnGroupProps, YarnTenant
from stacks.base import SparkvaultStack
from stacks.images import ImagesStack, asset_repositories
from stacks.network import NetworkStack
from stacks.storage import StorageStack
from stacks.swarm import disks
from stacks.tenants import tenant_catalog, tenant_data


class YarnStack(SparkvaultStack):
    """``<cluster>-yarn``: master, nodes, security groups, documents, and operator, submitter and auditor."""

    yarn: YarnCluster
    access: AccessPolicies
    security_groups: YarnSecurityGroups

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        deployment: Deployment,
        network: NetworkStack,
        storage: StorageStack,
        images: ImagesStack,
    ) -> None:
        super().__init__(
            scope,
            construct_id,
            deployment=deployment,
            part="yarn",
            description="sparkvault: hosts of target yarn, and the policies of the people who use them",
        )
        # Hosts read the images' parameters by name: nothing in the templates says that images come first.
        self.add_stack_dependency(images)
        self.add_stack_dependency(storage)
        self.security_groups = YarnSecurityGroups(
            self,
            "Hosts",
            SecurityGroupsProps(
                cluster=deployment.cluster,
                network=network.network,
                gateway_prefix_lists=tuple(deployment.network.gateway_prefix_lists),
            ),
        )
        key = storage.storage.key
        log_group, job_bucket = self.log_group("yarn"), self.job_bucket()
        configured = deployment.yarn
        pinned = {kind: YarnArchive(each.name, each.sha512) for kind, each in archives(deployment).items()}
        self.yarn = YarnCluster(
            self,
            "Yarn",
            YarnClusterProps(
                cluster=deployment.cluster,
                vpc=network.network.vpc,
                subnets=network.network.private_subnets,
                masters_security_group=self.security_groups.masters,
                nodes_security_group=self.security_groups.nodes,
                key=key,
                log_group=log_group,
                job_bucket=job_bucket,
                tenants=tenants(deployment),
                hadoop=pinned["hadoop"],
                runtime=configured.runtime,
                runtime_archive=pinned.get(configured.runtime),
                master=group(configured.master),
                nodes=group(configured.nodes),
                realm=configured.kerberos.realm,
                ticket_hours=configured.kerberos.ticket_lifetime_hours,
                container_memory_mib=memory_mib(configured.container_max_memory),
                container_cores=configured.container_max_cores,
                preemption=configured.preemption,
                log_retention_days=deployment.logging.retention_days,
                architecture=deployment.architecture,
                drain_timeout_seconds=deployment.hosts.drain_timeout_seconds,
                image_repositories=asset_repositories(self),
                catalog=tenant_catalog(deployment),
                permissions_boundary=self.permissions_boundary,
            ),
        )
        names = tuple(deployment.tenant_names())
        self.access = AccessPolicies(
            self,
            "Access",
            AccessPoliciesProps(
                cluster=deployment.cluster,
                job_bucket=job_bucket,
                key=key,
                log_group=log_group,
                workers_group_name=self.yarn.nodes.name,
                managers_group_name=self.yarn.master.name,
                tenants=names,
                target="yarn",
                host_role_names=(self.yarn.master.role.role.role_name, self.yarn.nodes.role.role.role_name),
            ),
        )
        JobDocuments(self, "Documents", JobDocumentsProps(cluster=deployment.cluster, tenants=names, target="yarn"))
        self._outputs()

    def _outputs(self) -> None:
        yarn, access = self.yarn, self.access
        self.output("MasterGroupName", yarn.master.name, "Auto Scaling group of the master")
        self.output("NodesGroupName", yarn.nodes.name, "Auto Scaling group of the nodes, which scaling changes")
        self.output("MasterRoleArn", yarn.master.role.role.role_arn, "Role of the master's host")
        self.output("NodesRoleArn", yarn.nodes.role.role.role_arn, "Role of the nodes' hosts")
        self.output("OperatorPolicyArn", access.operator.managed_policy_arn, "For those who scale and repair")
        for tenant, policy in access.submitters.items():
            name = f"{tenant.title().replace('-', '')}SubmitterPolicyArn"
            self.output(name, policy.managed_policy_arn, f"For those who submit jobs of tenant {tenant}")
        self.output(
            "AuditorPolicyArn", access.auditor.managed_policy_arn, "For those who review configuration and logs"
        )
        self.output("Runtime", self.deployment.yarn.runtime, "What every container runs under")
        self.output("HostNotificationsTopicArn", yarn.notifications.topic_arn, "Says when hosts start, end, or fail to")


def tenants(deployment: Deployment) -> tuple[YarnTenant, ...]:
    """The tenants as configured, each with the buckets that name it or name nobody."""
    return tuple(
        YarnTenant(
            TenantAccess(name=each.name, data=tenant_data(deployment, each.name), key_arn=each.key),
            percent=each.queue_percent,
            most_percent=each.queue_max_percent,
            images=tuple(each.images),
        )
        for each in deployment.tenants
    )


def group(configured: YarnGroup) -> YarnGroupProps:
    """A group of hosts as configured."""
    return YarnGroupProps(configured.count, tuple(configured.instance_types), disks(configured.disks))
