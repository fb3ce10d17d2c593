"""The stack of the swarm's hosts and of the policies of the people who use them."""

from pathlib import Path

from constructs import Construct

from spark_constructs.access_policies import AccessPolicies, AccessPoliciesProps
from spark_constructs.config import Deployment, Disks, memory_mib
from spark_constructs.host_group import HostDisks, SpotShare
from spark_constructs.host_group_guards import EnclaveReservation
from spark_constructs.job_documents import JobDocuments, JobDocumentsProps
from spark_constructs.naming import log_group_name
from spark_constructs.swarm import Swarm, SwarmManagers, SwarmProps, SwarmSettings, SwarmWorkers
from spark_constructs.tenant_roles import TenantAccess
from stacks.base import SparkvaultStack
from stacks.enclave_key import deployed_image
from stacks.images import ImagesStack, asset_repositories
from stacks.network import NetworkStack
from stacks.storage import StorageStack
from stacks.tenants import tenant_catalog, tenant_data


class SwarmStack(SparkvaultStack):
    """``<cluster>-swarm``: managers, workers, and the policies operator, submitter and auditor."""

    swarm: Swarm
    access: AccessPolicies

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
            part="swarm",
            description="sparkvault: hosts of target swarm, and the policies of the people who use them",
        )
        # Hosts read the images' parameters by name: nothing in the templates says that images come first.
        self.add_stack_dependency(images)
        self.add_stack_dependency(storage)
        key = storage.storage.key
        log_group, job_bucket = self.log_group("swarm"), self.job_bucket()
        self.swarm = Swarm(
            self,
            "Swarm",
            SwarmProps(
                cluster=deployment.cluster,
                vpc=network.network.vpc,
                subnets=network.network.private_subnets,
                managers_security_group=network.security_groups.managers,
                workers_security_group=network.security_groups.workers,
                key=key,
                log_group=log_group,
                job_bucket=job_bucket,
                managers=managers(deployment),
                workers=workers(deployment),
                architecture=deployment.architecture,
                drain_timeout_seconds=deployment.hosts.drain_timeout_seconds,
                boot_timeout_seconds=deployment.hosts.boot_timeout_seconds,
                image_repositories=asset_repositories(self),
                settings=settings(deployment),
                tenants=tenants(deployment),
                catalog=tenant_catalog(deployment),
                permissions_boundary=self.permissions_boundary,
            ),
        )
        self.access = AccessPolicies(
            self,
            "Access",
            AccessPoliciesProps(
                cluster=deployment.cluster,
                job_bucket=job_bucket,
                key=key,
                log_group=log_group,
                workers_group_name=self.swarm.workers.name,
                managers_group_name=self.swarm.managers.name,
                tenants=tuple(deployment.tenant_names()),
                host_role_names=(
                    self.swarm.managers.role.role.role_name,
                    self.swarm.workers.role.role.role_name,
                ),
            ),
        )
        names = tuple(deployment.tenant_names())
        JobDocuments(self, "Documents", JobDocumentsProps(cluster=deployment.cluster, tenants=names))
        self._outputs()

    def _outputs(self) -> None:
        swarm, access = self.swarm, self.access
        self.output("ManagersGroupName", swarm.managers.name, "Auto Scaling group of the managers")
        self.output("WorkersGroupName", swarm.workers.name, "Auto Scaling group of the workers, which scaling changes")
        self.output("ManagersRoleArn", swarm.managers.role.role.role_arn, "Role of the managers' hosts")
        self.output("WorkersRoleArn", swarm.workers.role.role.role_arn, "Role of the workers' hosts")
        self.output("OperatorPolicyArn", access.operator.managed_policy_arn, "For those who scale and repair")
        for tenant, policy in access.submitters.items():
            name = f"{tenant.title().replace('-', '')}SubmitterPolicyArn"
            self.output(name, policy.managed_policy_arn, f"For those who submit jobs of tenant {tenant}")
        self.output(
            "AuditorPolicyArn", access.auditor.managed_policy_arn, "For those who review configuration and logs"
        )
        self.output(
            "LogGroupName",
            log_group_name(self.deployment.cluster, "swarm"),
            "Where hosts and jobs log; streams boot/INSTANCE-ID say how booting ended, with the reason if it failed",
        )
        self.output(
            "HostNotificationsTopicArn", swarm.notifications.topic_arn, "Says when hosts start, end, or fail to"
        )


def managers(deployment: Deployment) -> SwarmManagers:
    """The managers as configured."""
    configured = deployment.hosts.managers
    return SwarmManagers(
        count=configured.count,
        instance_types=tuple(configured.instance_types),
        disks=disks(configured.disks),
    )


def workers(deployment: Deployment) -> SwarmWorkers:
    """The workers as configured, with their enclaves."""
    configured, enclaves = deployment.hosts.workers, deployment.enclaves
    spot = configured.spot
    return SwarmWorkers(
        count=configured.count,
        min_count=configured.min,
        max_count=configured.max,
        instance_types=tuple(configured.instance_types),
        disks=disks(configured.disks),
        spot=SpotShare(spot.on_demand_base, spot.on_demand_percent_above_base) if spot.enabled else None,
        enclaves=EnclaveReservation(enclaves.count, enclaves.cpus, enclaves.memory_mib) if enclaves.enabled else None,
        enclave_image=deployed_image(Path(enclaves.image)) if enclaves.enabled and enclaves.image else None,
        enclave_key_arn=enclaves.key_arn if enclaves.enabled else None,
    )


def settings(deployment: Deployment) -> SwarmSettings:
    """What runs on the swarm, as configured."""
    spark = deployment.spark
    return SwarmSettings(
        attachable_overlay=deployment.hosts.attachable_overlay,
        worker_memory_mib=memory_mib(spark.worker_memory) if spark.worker_memory else None,
        worker_cores=spark.worker_cores,
        default_cores_per_application=spark.default_cores_per_application,
        executor_memory=spark.executor_memory,
        executor_cores=spark.executor_cores,
        log_level=deployment.logging.level,
        spark_settings=spark.settings,
    )


def tenants(deployment: Deployment) -> tuple[TenantAccess, ...]:
    """The tenants as configured, each with the buckets that name it or name nobody."""
    keys = {tenant.name: tenant.key for tenant in deployment.tenants}
    return tuple(
        TenantAccess(name=name, data=tenant_data(deployment, name), key_arn=keys.get(name))
        for name in deployment.tenant_names()
    )


def disks(configured: Disks) -> HostDisks:
    """The volumes of a host as configured."""
    return HostDisks(
        root_gib=configured.root_gib,
        data_gib=configured.data_gib,
        data_iops=configured.data_iops,
        data_throughput_mib=configured.data_throughput_mib,
    )
