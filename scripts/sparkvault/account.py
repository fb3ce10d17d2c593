"""The AWS account that is worked on: credentials, bootstrap, states of stacks, quotas."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, NoRegionError, ProfileNotFound

from spark_constructs.config import Deployment
from spark_constructs.instance_types import INSTANCE_TYPES
from sparkvault.errors import SparkvaultError, UsageError

#: The parameter that `cdk bootstrap` writes, with its default qualifier.
BOOTSTRAP_PARAMETER = "/cdk-bootstrap/hnb659fds/version"

#: The bootstrap version that the CDK's default synthesizer asks for.
OLDEST_BOOTSTRAP = 6

#: Service quota "Running On-Demand Standard (A, C, D, H, I, M, R, T, Z) instances", in vCPU.
STANDARD_VCPU_QUOTA = "L-1216C47A"

#: Service quota "Fargate On-Demand vCPU resource count"; a new account may have as few as 6.
FARGATE_VCPU_QUOTA = "L-3032A538"

#: Every call has its bounds: a network that swallows packets may not hang a command.
_BOUNDED = Config(connect_timeout=5, read_timeout=30, retries={"mode": "standard", "max_attempts": 4})


@dataclass(frozen=True)
class StackState:
    """A deployed stack."""

    name: str
    status: str
    outputs: dict[str, str]
    resources: int

    @property
    def in_progress(self) -> bool:
        """Whether CloudFormation is working on it."""
        return self.status.endswith("_IN_PROGRESS")

    @property
    def failed(self) -> bool:
        """Whether it is in a state that a deployment cannot go on from."""
        return self.status.endswith("_FAILED") or self.status == "ROLLBACK_COMPLETE"


class Account:
    """An account and region, reached with ordinary credentials."""

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment
        try:
            self.session = boto3.Session(region_name=deployment.region)
            identity: dict[str, Any] = dict(self.client("sts").get_caller_identity())
        except ProfileNotFound as error:
            raise UsageError(f"{error}", "set AWS_PROFILE to a profile that exists") from error
        except NoRegionError as error:
            raise UsageError("no AWS region is set", "set `region` in the configuration, or AWS_REGION") from error
        except NoCredentialsError as error:
            raise UsageError(
                "there are no AWS credentials",
                "sign in (`aws sso login` or `aws configure`) and set AWS_PROFILE; `make demo` needs none",
            ) from error
        except (BotoCoreError, ClientError) as error:
            raise SparkvaultError(
                f"AWS does not accept the credentials: {error}", "sign in again, or check AWS_PROFILE and the network"
            ) from error
        self.id: str = identity["Account"]
        self.region: str = self.session.region_name
        if deployment.account is not None and deployment.account != self.id:
            raise UsageError(
                f"the credentials are of account {self.id}, and the configuration is for {deployment.account}",
                "use credentials of that account, or change `account`",
            )

    def client(self, service: str) -> Any:
        """A boto3 client whose calls are bounded in time."""
        return self.session.client(service, config=_BOUNDED)  # type: ignore[call-overload]

    def check_bootstrap(self) -> None:
        """Raise SparkvaultError unless the CDK is bootstrapped here."""
        remedy = f"run `npx cdk bootstrap aws://{self.id}/{self.region}`, once for each account and region"
        try:
            version = int(self.client("ssm").get_parameter(Name=BOOTSTRAP_PARAMETER)["Parameter"]["Value"])
        except ClientError as error:
            if error.response["Error"]["Code"] != "ParameterNotFound":
                raise
            raise SparkvaultError(
                f"the CDK is not bootstrapped in account {self.id}, region {self.region}", remedy
            ) from error
        if version < OLDEST_BOOTSTRAP:
            raise SparkvaultError(f"the CDK's bootstrap is version {version}, older than {OLDEST_BOOTSTRAP}", remedy)

    def stack(self, name: str) -> StackState | None:
        """The stack of that name, None where there is none."""
        formation = self.client("cloudformation")
        try:
            found = formation.describe_stacks(StackName=name)["Stacks"][0]
        except ClientError as error:
            if "does not exist" in str(error):
                return None
            raise
        if found["StackStatus"] == "DELETE_COMPLETE":
            return None
        pages = formation.get_paginator("list_stack_resources").paginate(StackName=name)
        return StackState(
            name=name,
            status=found["StackStatus"],
            outputs={output["OutputKey"]: output["OutputValue"] for output in found.get("Outputs", [])},
            resources=sum(len(page["StackResourceSummaries"]) for page in pages),
        )

    def failure_reason(self, name: str) -> str | None:
        """Why the stack failed the last time: the first event of that attempt that says so."""
        events = self.client("cloudformation").get_paginator("describe_stack_events").paginate(StackName=name)
        reason = None
        for page in events:
            for event in page["StackEvents"]:  # newest first
                status, text = event["ResourceStatus"], event.get("ResourceStatusReason", "")
                if status.endswith("_FAILED") and text and "cancelled" not in text.lower():
                    reason = f"{event['LogicalResourceId']} ({event['ResourceType']}): {text}"
                whole = event["ResourceType"] == "AWS::CloudFormation::Stack"
                if reason and whole and status in ("CREATE_IN_PROGRESS", "UPDATE_IN_PROGRESS"):
                    return reason
        return reason

    def check_deployable(self, names: Iterable[str], *, replace_failed: bool) -> None:
        """Raise SparkvaultError if a stack is in a state that a deployment cannot start from."""
        for name in names:
            state = self.stack(name)
            if state is None:
                continue
            if state.in_progress:
                raise SparkvaultError(
                    f"stack {name} is in {state.status}: CloudFormation is working on it",
                    "wait until it is done; `sparkvault status` shows it",
                )
            if state.status == "ROLLBACK_COMPLETE" and replace_failed:
                continue  # the CDK CLI deletes such a stack and creates it anew
            if state.failed:
                reason = self.failure_reason(name) or "CloudFormation gives no reason"
                remedy = {
                    "ROLLBACK_COMPLETE": "mend the cause, then `sparkvault deploy --replace-failed`",
                    "UPDATE_ROLLBACK_FAILED": (
                        f"mend the cause, then `aws cloudformation continue-update-rollback --stack-name {name}`"
                    ),
                }.get(state.status, f"mend the cause, then `sparkvault destroy {name}`")
                raise SparkvaultError(f"stack {name} is in {state.status}: {reason}", remedy)

    def vcpu_shortage(self) -> str | None:
        """What the quota of On-Demand vCPU lacks for the configured hosts at their largest, None if it is enough.

        Raises ClientError where the quota may not be read.
        """
        hosts = self.deployment.hosts
        wanted = hosts.managers.count * _largest(hosts.managers.instance_types)
        wanted += hosts.workers.count * _largest(hosts.workers.instance_types)
        quota = self._quota("ec2", STANDARD_VCPU_QUOTA)
        if wanted <= quota:
            return None
        return f"the hosts need up to {wanted} vCPU, and the quota of account {self.id} in {self.region} is {quota:.0f}"

    def fargate_shortage(self) -> str | None:
        """What the quota of Fargate's vCPU lacks for one job at its largest, None if it is enough.

        Raises ClientError where the quota may not be read.
        """
        fargate = self.deployment.fargate
        wanted = fargate.driver.vcpu + fargate.max_executors * fargate.executor.vcpu
        quota = self._quota("fargate", FARGATE_VCPU_QUOTA)
        if wanted <= quota:
            return None
        executors = max(0, int((quota - fargate.driver.vcpu) // fargate.executor.vcpu))
        return (
            f"Fargate's quota of account {self.id} in {self.region} is {quota:g} vCPU: a job gets {executors} of the "
            f"{fargate.max_executors} executors that it may have (fargate.max_executors)"
        )

    def _quota(self, service: str, code: str) -> float:
        answer = self.client("service-quotas").get_service_quota(ServiceCode=service, QuotaCode=code)
        return float(answer["Quota"]["Value"])


def _largest(names: list[str]) -> int:
    return max(INSTANCE_TYPES[name].vcpu for name in names)
