"""Target fargate as a person has it: the stacks deployed by the real CDK CLI, ECS over them, a submitter's own role."""

import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3

from emulation.aws import EmbeddedAws
from emulation.ecs import EmulatedEcs, Task
from emulation.ecs.fargate_account import SPARKVAULT, FargateAccount, fargate_account
from sparkvault.project import project_root
from tests.support.terminal import Terminal

CONFIGURATION = "emulation/demo/fargate.yaml"

#: A first job fetches jars into page cache and starts three JVMs on two cores.
JOB_SECONDS = 180.0


@dataclass
class DeployedCluster:
    """The account, its ECS, and the command line of somebody who has the default tenant's submitter policy alone."""

    account: FargateAccount
    environment: dict[str, str]

    @property
    def aws(self) -> EmbeddedAws:
        """Everything of the account but ECS."""
        return self.account.aws

    @property
    def ecs(self) -> EmulatedEcs:
        """Its tasks, and what can be done to them."""
        return self.account.deployed.emulated

    def signed_in(self, name: str) -> dict[str, str]:
        """The environment of another person with the same policy."""
        return self.account.sign_in(submitter_role(self.aws), name)

    def run(self, *arguments: str, code: int = 0, environment: dict[str, str] | None = None) -> str:
        """Run `sparkvault`; its standard output. The exit code must be ``code``."""
        done = subprocess.run(
            [SPARKVAULT, arguments[0], "--target", "fargate", "--config", CONFIGURATION, *arguments[1:]],
            cwd=project_root(),
            env=environment or self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=JOB_SECONDS,
            check=False,
        )
        assert done.returncode == code, f"{arguments}: {done.returncode}\n{done.stdout[-6000:]}\n{done.stderr[-6000:]}"
        assert "Traceback" not in done.stderr
        return done.stdout

    def output(self, name: str) -> str:
        """An output of the stack."""
        return outputs_of(self.aws)[name]

    def job(self, job_id: str) -> dict[str, Any]:
        """What `sparkvault jobs` says of it."""
        (found,) = json.loads(self.run("jobs", job_id, "--json"))
        return dict(found)

    def tasks(self, family: str) -> list[Task]:
        """Tasks of a family that run."""
        return [task for task in self.ecs.service.running() if task.family.endswith(family)]

    def wait_for_line(self, job_id: str, words: str) -> None:
        """Wait until the driver's log has a line with these words."""
        logs, group = self.aws.client("logs"), "/sparkvault/serverless/fargate"
        deadline, shown = time.monotonic() + JOB_SECONDS, ""
        while words not in shown:
            assert time.monotonic() < deadline, f"waited for {words!r} in the log of {job_id}:\n{shown[-4000:]}"
            assert not self.job(job_id)["finished_at"], f"{job_id} ended before {words!r}:\n{shown[-4000:]}"
            for stream in logs.describe_log_streams(logGroupName=group)["logStreams"]:
                if "/driver/" in stream["logStreamName"]:
                    page = logs.get_log_events(logGroupName=group, logStreamName=stream["logStreamName"])
                    shown += "\n".join(event["message"] for event in page["events"])
            time.sleep(0.5)

    def shell(self, language: str, *flags: str) -> Terminal:
        """`sparkvault shell` on a terminal."""
        return self._terminal("--lang", language, *flags)

    def connected(self, program: str, *flags: str) -> Terminal:
        """`sparkvault shell --connect PROGRAM` on a terminal."""
        return self._terminal("--connect", *flags, program)

    def _terminal(self, *words: str) -> Terminal:
        command = [SPARKVAULT, "shell", "--target", "fargate", "--config", CONFIGURATION, *words]
        return Terminal(["env", "-C", str(project_root()), *command], self.environment)

    def client(self, service: str, environment: dict[str, str]) -> Any:
        """A boto3 client of somebody who has that environment."""
        session: Any = boto3.Session(
            environment["AWS_ACCESS_KEY_ID"],
            environment["AWS_SECRET_ACCESS_KEY"],
            environment["AWS_SESSION_TOKEN"],
            self.aws.region,
        )
        return session.client(service, endpoint_url=self.ecs.endpoint if service == "ecs" else self.aws.endpoint)


@contextmanager
def deployed_cluster(folder: Path) -> Iterator[DeployedCluster]:
    """Deploy, and afterwards end everything; what the stacks leave behind goes with the account."""
    with fargate_account(folder, CONFIGURATION) as account:
        yield DeployedCluster(account, account.sign_in(submitter_role(account.aws), "somebody"))


def submitter_role(aws: EmbeddedAws) -> str:
    """A role whose policies are the stack's for those who submit and open shells for the default tenant."""
    iam, name = aws.client("iam"), "people-who-submit"
    try:
        return str(iam.get_role(RoleName=name)["Role"]["Arn"])
    except iam.exceptions.NoSuchEntityException:
        trust = {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}
        role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps({"Statement": [trust]}))
        for policy in ("DefaultSubmitterPolicyArn", "DefaultSessionsPolicyArn"):
            iam.attach_role_policy(RoleName=name, PolicyArn=outputs_of(aws)[policy])
        return str(role["Role"]["Arn"])


def outputs_of(aws: EmbeddedAws) -> dict[str, str]:
    """The outputs of stack fargate."""
    (stack,) = aws.client("cloudformation").describe_stacks(StackName="serverless-fargate")["Stacks"]
    return {each["OutputKey"]: each["OutputValue"] for each in stack["Outputs"]}
