"""ECS Exec, commands on a terminal in a task, and Systems Manager's own sessions in tasks, which forward ports."""

import subprocess
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from emulation.ecs.errors import EcsError, invalid
from emulation.ecs.task import Task
from emulation.ssm_sessions.errors import SsmError
from emulation.ssm_sessions.sessions import Sessions

if TYPE_CHECKING:
    from emulation.ecs.account import Account
    from emulation.ecs.service import EcsService

#: ECS developer guide, "Using ECS Exec": what the agent in a container calls with the task's role.
AGENT_ACTIONS = tuple(
    f"ssmmessages:{name}"
    for name in ("CreateControlChannel", "CreateDataChannel", "OpenControlChannel", "OpenDataChannel")
)


class ExecSessions:
    """The sessions of one ECS; their server starts with the first of them."""

    def __init__(self) -> None:
        self._sessions: Sessions | None = None
        self._lock = threading.Lock()

    def open(self, task: Task, command: str) -> dict[str, Any]:
        """Open a session in the task, as ExecuteCommand's answer has it. Raises EcsError."""
        if task.agent_status != "RUNNING":
            raise invalid(
                "The execute command failed because execute command was not enabled when the task was run "
                "or the execute command agent isn't running. Wait and try again or run a new task with execute "
                "command enabled and try again."
            )
        with self._lock:
            if self._sessions is None:
                self._sessions = Sessions(lambda target: None, _no_documents)
        made = self._sessions.open_command(task.id, TaskContainer(task), command, "ecs-execute-command", str(task.own))
        return {
            "sessionId": made["SessionId"],
            "streamUrl": made["StreamUrl"],
            "tokenValue": made["TokenValue"],
        }

    def stop(self) -> None:
        """End every session."""
        if self._sessions is not None:
            self._sessions.stop()


class TaskContainer:
    """A task as a machine for sessions: processes with the container's environment, which end when it does."""

    def __init__(self, task: Task) -> None:
        self._task = task

    def is_connected(self) -> bool:
        """Nothing cuts it off while it runs."""
        return True

    def process(
        self, command: list[str], *, interactive: bool = True, terminal: bool = False, **popen: Any
    ) -> subprocess.Popen[bytes]:
        """Start a command in the task."""
        streams: dict[str, Any] = {"stdin": subprocess.PIPE if interactive else subprocess.DEVNULL}
        streams |= {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | popen
        # `setsid` makes the session with its terminal; as the leader of one it would leave us and go on elsewhere.
        streams.pop("start_new_session", None)
        words = ["setsid", "--ctty", *command] if terminal else command
        return self._task.enter(words, leads_a_session=terminal, **streams)


class TaskAgents:
    """Tasks as Systems Manager's sessions have them: `ecs:CLUSTER_TASK_RUNTIME`, while ECS Exec's agent runs there."""

    def __init__(self, service: "EcsService") -> None:
        self._service = service

    def find(self, target: str) -> TaskContainer | None:
        """The container of that name; None where no agent is connected."""
        task = self._task(target)
        return TaskContainer(task) if task is not None and task.agent_status == "RUNNING" else None

    def authorise(self, key: str, given: Mapping[str, Any]) -> None:
        """IAM's check of the task; the embedded AWS has checked the document. Raises SsmError.

        Source: ECS developer guide, "Using IAM policies to limit access to the Start Session action".
        """
        target, account = str(given.get("Target", "")), self._service.account
        who = account.users.get(key, f"unknown access key {key}")
        task = self._task(target)
        cluster, _, name = target.removeprefix("ecs:").rpartition("_")[0].rpartition("_")
        resource = task.arn if task else account.arn(f"task/{cluster}/{name}")
        tags = {f"aws:ResourceTag/{tag['key']}": tag["value"] for tag in (task.tags if task else [])}
        if not account.may(who, "ssm:StartSession", resource, {**tags, "ssm:SessionDocumentAccessCheck": "true"}):
            message = f"User: {who} is not authorized to perform: ssm:StartSession on resource: {resource}"
            raise SsmError("AccessDeniedException", message)

    def _task(self, target: str) -> Task | None:
        kind, _, rest = target.partition(":")
        place, _, runtime = rest.rpartition("_")
        cluster, _, name = place.rpartition("_")
        task = self._service.task(name) if kind == "ecs" else None
        known = task is not None and task.cluster_arn.rpartition("/")[2] == cluster and task.runtime_id == runtime
        return task if known else None


def agent_may_connect(account: "Account", role: str) -> bool:
    """Whether ECS Exec's agent reaches Systems Manager with the task's role."""
    return bool(role) and all(account.may(role, action, "*") for action in AGENT_ACTIONS)


def _no_documents(name: str) -> dict[str, Any]:
    raise EcsError("InvalidParameterException", f"document {name}: ECS Exec runs commands only")
