"""Run Command: sends documents' scripts to hosts, runs them as root, keeps what they print up to SSM's limits."""

from __future__ import annotations

import subprocess
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from emulation.ssm_sessions.documents import ShellStep, command_steps
from emulation.ssm_sessions.errors import SsmError

#: Characters that GetCommandInvocation returns (API reference, GetCommandInvocation).
STDOUT_CHARACTERS = 24_000
STDERR_CHARACTERS = 8_000
#: Characters that ListCommandInvocations returns of each plugin (CommandPlugin, Output).
PLUGIN_OUTPUT_CHARACTERS = 2_500

#: Seconds that a command may wait for its delivery where nothing else is said (API reference, SendCommand).
DELIVERY_SECONDS = 3600
_LOOK_SECONDS = 0.5

#: Most instances that one command may name.
MAX_INSTANCES = 50


class Machine(Protocol):
    """What is needed of a host: processes as root. `emulation.ec2.Host` has it."""

    def is_connected(self) -> bool:
        """Whether its agent reaches Systems Manager just now."""

    def process(
        self, command: list[str], *, interactive: bool = True, terminal: bool = False, **popen: Any
    ) -> subprocess.Popen[bytes]:
        """Start a command and hand over its process."""


FindMachine = Callable[[str], Machine | None]
ReadDocument = Callable[[str], dict[str, Any]]


@dataclass
class Invocation:
    """One command on one instance."""

    command_id: str
    instance: str
    document: str
    started: float = field(default_factory=time.time)
    status: str = "Pending"
    details: str = "Pending"
    code: int = -1
    stdout: str = ""
    stderr: str = ""


class RunCommand:
    """The API's actions; parameters and answers as the API reference has them. Raises SsmError."""

    def __init__(self, find: FindMachine, read_document: ReadDocument) -> None:
        self._find = find
        self._read = read_document
        self._invocations: dict[tuple[str, str], Invocation] = {}
        self._commands: dict[str, dict[str, Any]] = {}

    def send_command(self, given: dict[str, Any]) -> dict[str, Any]:
        """SendCommand to instances by their ids."""
        name, instances = given["DocumentName"], given.get("InstanceIds") or []
        if not 1 <= len(instances) <= MAX_INSTANCES:
            raise SsmError("ValidationException", f"InstanceIds must name 1 to {MAX_INSTANCES} instances here")
        document = self._read(name)
        if document["DocumentType"] != "Command":
            raise SsmError("InvalidDocument", f"{name} is not a command document")
        steps = command_steps(document["Content"], given.get("Parameters") or {})
        machines: dict[str, Machine] = {}
        for instance in instances:
            found = self._find(instance)
            if found is None:
                raise SsmError("InvalidInstanceId", f"Instances [[{instance}]] not in a valid state for account")
            machines[instance] = found
        command_id = str(uuid.uuid4())
        for instance, machine in machines.items():
            invocation = Invocation(command_id, instance, name)
            self._invocations[command_id, instance] = invocation
            seconds = given.get("TimeoutSeconds", DELIVERY_SECONDS) + sum(step.timeout_seconds for step in steps)
            threading.Thread(target=_run, args=(invocation, machine, steps, seconds), daemon=True).start()
        self._commands[command_id] = {
            "CommandId": command_id,
            "DocumentName": name,
            "InstanceIds": instances,
            "Parameters": given.get("Parameters") or {},
            "RequestedDateTime": time.time(),
            "Status": "Pending",
            "StatusDetails": "Pending",
        }
        return {"Command": self._commands[command_id]}

    def get_command_invocation(self, given: dict[str, Any]) -> dict[str, Any]:
        """GetCommandInvocation."""
        found = self._invocations.get((given["CommandId"], given["InstanceId"]))
        if found is None:
            raise SsmError("InvocationDoesNotExist", "An error occurred")
        return {
            "CommandId": found.command_id,
            "InstanceId": found.instance,
            "DocumentName": found.document,
            "PluginName": given.get("PluginName", "launcher"),
            "ResponseCode": found.code,
            "Status": found.status,
            "StatusDetails": found.details,
            "StandardOutputContent": found.stdout[:STDOUT_CHARACTERS],
            "StandardErrorContent": found.stderr[:STDERR_CHARACTERS],
        }

    def list_command_invocations(self, given: dict[str, Any]) -> dict[str, Any]:
        """ListCommandInvocations, of one command or one instance or all."""
        chosen = [
            each
            for each in self._invocations.values()
            if given.get("CommandId") in (None, each.command_id) and given.get("InstanceId") in (None, each.instance)
        ]
        return {"CommandInvocations": [_listed(each, details=bool(given.get("Details"))) for each in chosen]}

    def list_commands(self, given: dict[str, Any]) -> dict[str, Any]:
        """ListCommands: what an auditor sees, parameters included."""
        wanted = given.get("CommandId")
        commands = [command for command in self._commands.values() if wanted in (None, command["CommandId"])]
        for command in commands:
            statuses = {self._invocations[command["CommandId"], one].status for one in command["InstanceIds"]}
            command["Status"] = command["StatusDetails"] = statuses.pop() if len(statuses) == 1 else "InProgress"
        return {"Commands": commands}


def _listed(invocation: Invocation, *, details: bool) -> dict[str, Any]:
    listed: dict[str, Any] = {
        "CommandId": invocation.command_id,
        "InstanceId": invocation.instance,
        "DocumentName": invocation.document,
        "Status": invocation.status,
        "StatusDetails": invocation.details,
        "RequestedDateTime": invocation.started,
    }
    if details:
        plugin = {"Name": "launcher", "Status": invocation.status, "ResponseCode": invocation.code}
        listed["CommandPlugins"] = [plugin | {"Output": invocation.stdout[:PLUGIN_OUTPUT_CHARACTERS]}]
    return listed


def _run(invocation: Invocation, machine: Machine, steps: list[ShellStep], seconds: float) -> None:
    """The agent's side: one step after the other, the first failure ends it.

    ``seconds``: how long an agent that is cut off is waited for, delivery and execution together (user guide,
    "Understanding command timeout values").
    """
    deadline = time.monotonic() + seconds
    while not machine.is_connected():
        if time.monotonic() > deadline:
            invocation.status, invocation.details = "TimedOut", "DeliveryTimedOut"
            return
        time.sleep(_LOOK_SECONDS)
    invocation.status = invocation.details = "InProgress"
    status = details = "Success"
    for step in steps:
        try:
            process = machine.process(["sh", "-c", step.script], interactive=False)
            out, err = process.communicate(timeout=step.timeout_seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            status, details = "TimedOut", "ExecutionTimedOut"
            break
        except OSError as error:
            invocation.stderr += str(error)
            status = details = "Undeliverable"
            break
        invocation.stdout += out.decode("utf-8", "replace")
        invocation.stderr += err.decode("utf-8", "replace")
        invocation.code = process.returncode
        if process.returncode != 0:
            invocation.stderr += f"\nfailed to run commands: exit status {process.returncode}"
            status = details = "Failed"
            break
    invocation.details = details
    invocation.status = status
