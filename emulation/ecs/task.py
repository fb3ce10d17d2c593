"""One task: what DescribeTasks says of it, and the process that it is."""

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from emulation.ecs.containers import Containers

#: The states in order (ECS developer guide, "Amazon ECS task lifecycle states").
STATES = (
    "PROVISIONING",
    "PENDING",
    "ACTIVATING",
    "RUNNING",
    "DEACTIVATING",
    "STOPPING",
    "DEPROVISIONING",
    "STOPPED",
)


@dataclass
class Task:
    """A task. ``number`` counts from 1 over the server's life; ``address`` is its own on loopback."""

    number: int
    arn: str
    cluster_arn: str
    definition_arn: str
    container: str
    started_by: str
    cpu: str
    memory: str
    subnet: str
    provider: str
    address: str
    role: str
    command: list[str]
    environment: dict[str, str]
    stop_timeout: float
    tags: list[dict[str, str]]
    launch_type: str | None
    visible_at: float = 0.0
    status: str = STATES[0]
    desired: str = "RUNNING"
    stop_code: str = ""
    stopped_reason: str = ""
    exit_code: int | None = None
    container_reason: str = ""
    created_at: float = field(default_factory=time.time)
    started_at: float | None = None
    stopped_at: float | None = None
    process: subprocess.Popen[bytes] | None = None
    log: Path | None = None
    access_key: str = ""
    #: Whether ECS Exec was enabled, and whether its agent may reach Systems Manager with the task's role.
    exec_enabled: bool = False
    agent_connects: bool = False
    #: Where its processes start; below it nothing of another task is.
    own: Path = Path()
    runtime_id: str = ""
    #: Where it is a container and no plain process.
    containers: Containers | None = None
    over: threading.Event = field(default_factory=threading.Event)
    _variables: dict[str, str] = field(default_factory=dict, repr=False)
    _entered: list["subprocess.Popen[bytes]"] = field(default_factory=list, repr=False)

    @property
    def id(self) -> str:
        """The last part of its ARN."""
        return self.arn.rpartition("/")[2]

    @property
    def family(self) -> str:
        """The family of its definition."""
        return self.definition_arn.rpartition("/")[2].partition(":")[0]

    @property
    def alive(self) -> bool:
        """Whether a process of it runs."""
        return self.process is not None and self.process.poll() is None

    @property
    def seconds_paid(self) -> float:
        """From the pull of the image to the end, as Fargate bills it; until now while it runs."""
        return (self.stopped_at or time.time()) - self.created_at

    @property
    def agent_status(self) -> str:
        """Of ECS Exec's agent in the container; empty where it was not enabled."""
        if not self.exec_enabled:
            return ""
        if self.status in ("PROVISIONING", "PENDING", "ACTIVATING"):
            return "PENDING"
        return "RUNNING" if self.status == "RUNNING" and self.agent_connects else "STOPPED"

    def launch(self, base: Mapping[str, str], folder: Path) -> None:
        """Start the process in a group and a folder of its own. Raises OSError."""
        self.own = folder / self.id
        self.own.mkdir(parents=True)
        self.log = folder / f"{self.id}.log"
        self._variables = {**base, "TMPDIR": str(self.own), "HOME": str(self.own), **self.environment}
        command, environment = self.command, self._variables
        if self.containers is not None:
            command = self.containers.command(self.id, command, environment)
            environment = self.containers.environment(environment)
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                command,
                cwd=self.own,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def enter(self, command: list[str], *, leads_a_session: bool, **popen: Any) -> "subprocess.Popen[bytes]":
        """Start one more process in it; one that leads a session of its own ends with the task. Raises OSError."""
        made = subprocess.Popen(command, cwd=self.own, env={**self._variables, "TERM": "xterm-256color"}, **popen)
        if leads_a_session:
            self._entered.append(made)
        return made

    def end_what_entered(self) -> None:
        """What a container's end does to everything in it."""
        for process in self._entered:
            if process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)

    def send(self, number: signal.Signals) -> None:
        """Signal the whole process group."""
        if self.containers is not None and number == signal.SIGKILL and self.alive:
            self.containers.kill(self.id)
        if self.process is not None:
            try:
                os.killpg(self.process.pid, number)
            except ProcessLookupError:
                return

    def described(self, tags: bool = True) -> dict[str, Any]:
        """The task as the API shows it; DescribeTasks leaves its tags out unless they are asked for."""
        container: dict[str, Any] = {
            "name": self.container,
            "taskArn": self.arn,
            "containerArn": self.arn.replace(":task/", ":container/") + "/1",
            "lastStatus": "STOPPED" if self.exit_code is not None else self.status,
            "networkInterfaces": [{"attachmentId": self.id, "privateIpv4Address": self.address}],
        }
        if self.runtime_id:
            container["runtimeId"] = self.runtime_id
        if self.agent_status:
            container["managedAgents"] = [{"name": "ExecuteCommandAgent", "lastStatus": self.agent_status}]
        if self.exit_code is not None:
            container["exitCode"] = self.exit_code
        if self.container_reason:
            container["reason"] = self.container_reason
        told: dict[str, Any] = {
            "taskArn": self.arn,
            "clusterArn": self.cluster_arn,
            "taskDefinitionArn": self.definition_arn,
            "lastStatus": self.status,
            "desiredStatus": self.desired,
            "cpu": self.cpu,
            "memory": self.memory,
            "containers": [container],
            "startedBy": self.started_by,
            "createdAt": self.created_at,
            "group": f"family:{self.family}",
            "tags": self.tags if tags else [],
            "platformVersion": "1.4.0",
            "enableExecuteCommand": self.exec_enabled,
        }
        told |= {"launchType": self.launch_type} if self.launch_type else {"capacityProviderName": self.provider}
        optional = {
            "stopCode": self.stop_code,
            "stoppedReason": self.stopped_reason,
            "startedAt": self.started_at,
            "stoppedAt": self.stopped_at,
        }
        return told | {name: value for name, value in optional.items() if value}

    def metadata(self) -> dict[str, Any]:
        """What the task metadata endpoint, version 4, says under `/task`."""
        return {
            "Cluster": self.cluster_arn,
            "TaskARN": self.arn,
            "DesiredStatus": self.desired,
            "KnownStatus": self.status,
            "LaunchType": "FARGATE",
            "Containers": [
                {
                    "Name": self.container,
                    "DesiredStatus": self.desired,
                    "KnownStatus": self.status,
                    "Networks": [{"NetworkMode": "awsvpc", "IPv4Addresses": [self.address]}],
                }
            ],
        }
