"""ECS over an emulated account that was deployed into: what the stacks made is what there is, and who may do what."""

import contextlib
import json
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from emulation.aws import EmbeddedAws
from emulation.aws.environment import ACCESS_KEY_ID
from emulation.aws.iam_evaluation import Decision, PolicyDocument, Request, evaluate
from emulation.ecs.account import ACCOUNT_ID, Account, Permissions
from emulation.ecs.deployed_rules import TaskRules
from emulation.ecs.exec_sessions import TaskAgents
from emulation.ecs.image_folder import ImageFolder
from emulation.ecs.server import EmulatedEcs
from emulation.ecs.task import Task
from emulation.ssm_sessions.agents import SsmAgents

#: Everybody's: the deployer's test credentials, which belong to no role.
DEPLOYER = f"arn:aws:iam::{ACCOUNT_ID}:root"

#: How often what tasks print is carried to CloudWatch Logs, in seconds.
SHIP_SECONDS = 0.3

#: The awslogs driver's largest event in bytes (longer lines become several); what CloudWatch Logs takes in one call:
#: events, bytes with 26 for each event (API reference, PutLogEvents).
_EVENT_BYTES, _CALL_EVENTS, _CALL_BYTES, _OVERHEAD_BYTES = 262_118, 1000, 1_048_576, 26


@dataclass
class DeployedAccount(Account):
    """Roles with the policies that the stacks gave them, judged as IAM does; the deployer may do everything."""

    aws: EmbeddedAws | None = None
    user_ids: dict[str, str] = field(default_factory=dict)
    """Principal → what ``aws:userid`` is for it."""
    _policies: dict[str, list[PolicyDocument]] = field(default_factory=dict)
    _sessions: dict[str, dict[str, str]] = field(default_factory=dict)

    def may(self, who: str, action: str, resource: str, conditions: Mapping[str, str] | None = None) -> bool:
        """Whether IAM lets the principal, a role or a session of one."""
        if who == DEPLOYER:
            return True
        role = role_of(who)
        context = {**(conditions or {}), "aws:userid": self.user_ids.get(who, who), "aws:PrincipalArn": role}
        return evaluate(self._policies_of(role), Request(action, resource, context)) is Decision.ALLOWED

    def credentials(self, task: Task) -> dict[str, str]:
        """A session of the task's role."""
        if task.id not in self._sessions:
            self._sessions[task.id] = self.sign_in(task.role, task.id)
            task.access_key = self._sessions[task.id]["AccessKeyId"]
        return self._sessions[task.id]

    def sign_in(self, role: str, name: str) -> dict[str, str]:
        """Credentials of a session of that role; ECS knows them then."""
        assert self.aws is not None  # noqa: S101 - always given
        answer = self.aws.client("sts").assume_role(RoleArn=role, RoleSessionName=name)
        made = answer["Credentials"]
        session = answer["AssumedRoleUser"]
        self.users[made["AccessKeyId"]] = session["Arn"]
        self.user_ids[session["Arn"]] = session["AssumedRoleId"]
        return {
            "RoleArn": role,
            "AccessKeyId": made["AccessKeyId"],
            "SecretAccessKey": made["SecretAccessKey"],
            "Token": made["SessionToken"],
            "Expiration": f"{made['Expiration']:%Y-%m-%dT%H:%M:%SZ}",
        }

    def _policies_of(self, role: str) -> list[PolicyDocument]:
        if role not in self._policies:
            assert self.aws is not None  # noqa: S101 - always given
            iam, name = self.aws.client("iam"), role.rpartition("/")[2]
            inline = iam.list_role_policies(RoleName=name)["PolicyNames"]
            found = [iam.get_role_policy(RoleName=name, PolicyName=policy)["PolicyDocument"] for policy in inline]
            for attached in iam.list_attached_role_policies(RoleName=name)["AttachedPolicies"]:
                arn = attached["PolicyArn"]
                version = iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
                found.append(iam.get_policy_version(PolicyArn=arn, VersionId=version)["PolicyVersion"]["Document"])
            self._policies[role] = [json.loads(each) if isinstance(each, str) else each for each in found]
        return self._policies[role]


def role_of(principal: str) -> str:
    """The role's ARN of a role or of a session of it (`assumed-role/NAME/SESSION`)."""
    kind, _, rest = principal.partition(":assumed-role/")
    return f"{kind.replace(':sts:', ':iam:')}:role/{rest.partition('/')[0]}" if rest else principal


@dataclass(frozen=True)
class DeployedEcs:
    """ECS over a deployed account, with who signs in there and what the account's rules do about tasks."""

    emulated: EmulatedEcs
    account: DeployedAccount
    rules: TaskRules


@contextlib.contextmanager
def deployed_ecs(aws: EmbeddedAws, folder: Path, *, vcpu_quota: float = 64) -> Iterator[DeployedEcs]:
    """ECS for what is deployed in `aws`: tasks are processes in the image's place, their output goes to its logs."""
    image = ImageFolder(folder, aws.endpoint)
    account = _account(aws, vcpu_quota)
    endpoints = image.environment | {
        "AWS_ENDPOINT_URL": aws.endpoint,
        "AWS_EC2_METADATA_DISABLED": "true",
        "NO_PROXY": "localhost,127.0.0.1",
    }
    with EmulatedEcs(account, endpoints=endpoints, image=image.paths) as ecs:
        account.users[ACCESS_KEY_ID] = DEPLOYER
        known = aws.client("ecs")
        for arn in known.list_task_definitions()["taskDefinitionArns"]:
            ecs.service.definitions[arn] = known.describe_task_definition(taskDefinition=arn)["taskDefinition"]
        shipper = LogShipper(aws, ecs)
        rules = TaskRules(aws, ecs, account)
        agents = TaskAgents(ecs.service)
        try:
            with SsmAgents(aws, agents.find, agents.authorise):
                yield DeployedEcs(ecs, account, rules)
        finally:
            rules.stop()
            shipper.stop()


def _account(aws: EmbeddedAws, vcpu_quota: float) -> DeployedAccount:
    ec2, ecs = aws.client("ec2"), aws.client("ecs")
    clusters = ecs.describe_clusters(clusters=ecs.list_clusters()["clusterArns"])["clusters"]
    roles = [role["Arn"] for page in aws.client("iam").get_paginator("list_roles").paginate() for role in page["Roles"]]
    account = DeployedAccount(
        region=aws.region,
        clusters={each["clusterName"]: frozenset(each.get("capacityProviders", [])) for each in clusters},
        subnets={each["SubnetId"]: each["AvailableIpAddressCount"] for each in ec2.describe_subnets()["Subnets"]},
        security_groups={each["GroupId"] for each in ec2.describe_security_groups()["SecurityGroups"]},
        vcpu_quota=vcpu_quota,
        aws=aws,
    )
    # Only that they are there: what they may do is read when it is asked.
    account.roles.update(dict.fromkeys(roles, Permissions()))
    return account


class LogShipper:
    """The awslogs driver: what tasks print becomes events of the stream that their definition says."""

    def __init__(self, aws: EmbeddedAws, ecs: EmulatedEcs) -> None:
        self._logs: Any = aws.client("logs")
        self._service = ecs.service
        self._at: dict[str, int] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="awslogs", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Carry what is left, and end."""
        self._over.set()
        self._thread.join(30)

    def _run(self) -> None:
        while not self._over.wait(SHIP_SECONDS):
            self._ship()
        self._ship()

    def _ship(self) -> None:
        for task in list(self._service.tasks.values()):
            if task.log is not None and task.log.exists():
                self._ship_task(task, task.log)

    def _ship_task(self, task: Task, log: Path) -> None:
        at, ended = self._at.get(task.id, 0), task.process is not None and task.process.poll() is not None
        with log.open("rb") as file:
            file.seek(at)
            text = file.read()
        # A line that is not whole yet waits, unless nothing more will come.
        whole = text if ended else text[: text.rfind(b"\n") + 1]
        if not whole:
            return
        definition = self._service.definitions[task.definition_arn]["containerDefinitions"][0]
        options = definition.get("logConfiguration", {}).get("options", {})
        self._at[task.id] = at + len(whole)
        if "awslogs-group" not in options:
            return
        place = {
            "logGroupName": options["awslogs-group"],
            "logStreamName": f"{options['awslogs-stream-prefix']}/{task.container}/{task.id}",
        }
        if at == 0:
            with contextlib.suppress(self._logs.exceptions.ResourceAlreadyExistsException):
                self._logs.create_log_stream(**place)
        now = int(time.time() * 1000)
        for messages in calls_of(whole):
            events = [{"timestamp": now, "message": message} for message in messages]
            self._logs.put_log_events(**place, logEvents=events)


def calls_of(output: bytes) -> Iterator[list[str]]:
    """The events of each call that carries this output."""
    call: list[str] = []
    size = 0
    for line in output.splitlines():
        for start in range(0, max(1, len(line)), _EVENT_BYTES):
            piece = line[start : start + _EVENT_BYTES]
            if call and (len(call) == _CALL_EVENTS or size + len(piece) + _OVERHEAD_BYTES > _CALL_BYTES):
                yield call
                call, size = [], 0
            call.append(piece.decode(errors="replace") or " ")
            size += len(piece) + _OVERHEAD_BYTES
    if call:
        yield call
