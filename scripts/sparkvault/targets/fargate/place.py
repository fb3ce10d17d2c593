"""Where Spark runs on Fargate: what the deployed stack says of itself, so that nobody has to give flags."""

from dataclasses import dataclass

from botocore.exceptions import ClientError

from spark_constructs.config import Deployment
from spark_constructs.naming import stack_name, task_family
from sparkvault.account import Account
from sparkvault.errors import NotAvailable, SparkvaultError


@dataclass(frozen=True)
class FargatePlace:
    """The outputs of stack ``<cluster>-fargate``; lists are comma-separated, as Spark's settings have them."""

    cluster: str
    """Name of the deployment; the names of task definitions begin with it."""
    region: str
    master: str
    """``spark-fargate://REGION/CLUSTER``."""
    ecs_cluster: str
    subnets: str
    driver_groups: str
    executor_groups: str
    key_arn: str
    log_group: str

    def family(self, tenant: str, kind: str) -> str:
        """Family of a tenant's task definition: ``driver``, ``executor`` or ``shell``."""
        return task_family(self.cluster, tenant, kind)


def find_place(account: Account, deployment: Deployment) -> FargatePlace:
    """Read the stack's outputs. Raises NotAvailable where it is not deployed, SparkvaultError."""
    stack = stack_name(deployment.cluster, "fargate")
    try:
        found = account.client("cloudformation").describe_stacks(StackName=stack)["Stacks"]
    except ClientError as error:
        if "does not exist" in str(error):
            raise NotAvailable(f"stack {stack} is not deployed", "run `sparkvault deploy`") from error
        raise SparkvaultError(
            f"stack {stack} cannot be read: {error}", "use a role with the submitter policy"
        ) from error
    outputs = {each["OutputKey"]: each["OutputValue"] for each in (found[0].get("Outputs", []) if found else [])}
    try:
        return FargatePlace(
            cluster=deployment.cluster,
            region=account.region,
            master=outputs["Master"],
            ecs_cluster=outputs["ClusterName"],
            subnets=outputs["Subnets"],
            driver_groups=outputs["DriverSecurityGroups"],
            executor_groups=outputs["ExecutorSecurityGroups"],
            key_arn=outputs["SecretKeyArn"],
            log_group=outputs["LogGroupName"],
        )
    except KeyError as error:
        raise NotAvailable(
            f"stack {stack} has no output {error}: its deployment has not finished, or another version made it",
            "run `sparkvault deploy`",
        ) from error
