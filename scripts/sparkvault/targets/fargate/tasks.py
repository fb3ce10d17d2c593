"""The driver's task as ECS knows it: started, looked at, stopped."""

import re
import time
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from botocore.exceptions import ClientError

from sparkvault.account import Account
from sparkvault.errors import NotAvailable, SparkvaultError
from sparkvault.jobs import JobState

#: RunTask is tried so often where Fargate has no room just now, with pauses of so many seconds, doubled each time.
ATTEMPTS, FIRST_PAUSE = 5, 2.0

#: A refusal inside RunTask's answer → what to do about it.
_REMEDIES = (
    (re.compile("limit on the number of"), "ask for more vCPU under Service Quotas (Fargate)"),
    (re.compile("[Ff]ree addresses|FreeAddresses"), "the subnets are full: give the VPC larger ones"),
    (re.compile("apacity"), "try again later, or in more zones"),
)

#: What a driver's program says last; found in its log when ECS has forgotten the task.
LAST_LINE = re.compile(r"^sparkvault: the driver ended with exit code (\d+)$")


@dataclass(frozen=True)
class DriverState:
    """A task in words of a job."""

    state: JobState
    started_at: datetime | None = None
    finished_at: datetime | None = None
    exit_code: int | None = None
    message: str | None = None


class DriverTasks:
    """Tasks of one ECS cluster."""

    def __init__(self, account: Account, ecs_cluster: str) -> None:
        self._ecs = account.client("ecs")
        self._cluster = ecs_cluster

    def run(self, request: dict[str, Any]) -> str:
        """RunTask; the task's id. Raises SparkvaultError with ECS's reason and the remedy."""
        pause, why = FIRST_PAUSE, ""
        for attempt in range(ATTEMPTS):
            if attempt:
                time.sleep(pause)
                pause *= 2
                # An answer without a task is remembered with its token.
                request = {**request, "clientToken": f"{request['clientToken'][:60]}-{attempt}"}
            try:
                answer = self._ecs.run_task(**request)
            except ClientError as error:
                raise _refused(error, request["taskDefinition"]) from error
            if answer["tasks"]:
                return str(answer["tasks"][0]["taskArn"]).rpartition("/")[2]
            why = "; ".join(failure.get("reason", "") for failure in answer["failures"])
            if "apacity" not in why:
                break
        remedy = next((remedy for sign, remedy in _REMEDIES if sign.search(why)), None)
        raise SparkvaultError(f"ECS does not start the driver: {why or 'it gave no reason'}", remedy)

    def describe(self, task: str) -> dict[str, Any] | None:
        """The task; None where ECS does not know it (yet, or an hour after its end). Raises SparkvaultError."""
        try:
            found = self._ecs.describe_tasks(cluster=self._cluster, tasks=[task])["tasks"]
        except ClientError as error:
            # One may describe by tag, and what is not there has none.
            if error.response["Error"]["Code"] == "AccessDeniedException":
                return None
            raise _refused(error, task) from error
        return found[0] if found else None

    def running(self, family: str) -> list[dict[str, Any]]:
        """The tasks of a family that are to run. Raises SparkvaultError."""
        try:
            pages = self._ecs.get_paginator("list_tasks").paginate(cluster=self._cluster, family=family)
            arns = [arn for page in pages for arn in page["taskArns"]]
            found: list[dict[str, Any]] = []
            for start in range(0, len(arns), 100):
                found += self._ecs.describe_tasks(
                    cluster=self._cluster, tasks=arns[start : start + 100], include=["TAGS"]
                )["tasks"]
        except ClientError as error:
            raise _refused(error, family) from error
        return found

    def stop(self, task: str, why: str) -> None:
        """StopTask: SIGTERM, then SIGKILL after the stop timeout. Harmless for what has stopped."""
        try:
            self._ecs.stop_task(cluster=self._cluster, task=task, reason=why)
        except ClientError as error:
            if error.response["Error"]["Code"] != "InvalidParameterException":
                raise _refused(error, task) from error

    def execute_command(self, task: str, container: str, command: str) -> dict[str, Any]:
        """ExecuteCommand on a terminal; the session. Raises SparkvaultError."""
        try:
            answer: dict[str, Any] = self._ecs.execute_command(
                cluster=self._cluster, task=task, container=container, command=command, interactive=True
            )
        except ClientError as error:
            raise _refused(error, task) from error
        return answer


def driver_state(task: dict[str, Any]) -> DriverState:
    """What a described task means for its job."""
    container = task["containers"][0] if task.get("containers") else {}
    started, stopped = task.get("startedAt"), task.get("stoppedAt")
    if task["lastStatus"] != "STOPPED":
        running = task["lastStatus"] in ("RUNNING", "DEACTIVATING", "STOPPING", "DEPROVISIONING")
        return DriverState(JobState.RUNNING if running else JobState.SUBMITTED, started)
    code, reason = container.get("exitCode"), task.get("stoppedReason", "")
    ended = stopped or datetime.now().astimezone()
    if task.get("stopCode") == "UserInitiated":
        return DriverState(JobState.CANCELLED, started, ended, code, reason or "stopped")
    if code == 0:
        return DriverState(JobState.SUCCEEDED, started, ended, 0)
    said = container.get("reason") or (reason if task.get("stopCode") == "TaskFailedToStart" or code is None else None)
    return DriverState(JobState.FAILED, started, ended, code, said or f"the driver ended with exit code {code}")


def exit_code_said(lines: list[str]) -> int | None:
    """The exit code that a driver's log ends with, if it does."""
    return next((int(found[1]) for line in reversed(lines) if (found := LAST_LINE.match(line.strip()))), None)


def _refused(error: ClientError, what: str) -> SparkvaultError:
    code, message = error.response["Error"]["Code"], error.response["Error"]["Message"]
    if code == "AccessDeniedException":
        return SparkvaultError(f"your role may not do this to {what}: {message}", "use the tenant's submitter policy")
    if code == "ClusterNotFoundException":
        return NotAvailable("the ECS cluster is not there", "run `sparkvault deploy`")
    return SparkvaultError(f"ECS refuses {what}: {message}")
