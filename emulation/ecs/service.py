"""What ECS does: the calls that a cluster manager makes, with AWS's rules, and the life of each task."""

import itertools
import signal
import subprocess
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emulation.ecs.account import Account
from emulation.ecs.authorization import checks_of
from emulation.ecs.clockwork import Clockwork
from emulation.ecs.containers import Containers
from emulation.ecs.definitions import check_definition, check_run, check_size, cluster_name
from emulation.ecs.errors import EcsError, client_error, denied, invalid, throttled
from emulation.ecs.exec_sessions import ExecSessions, agent_may_connect
from emulation.ecs.faults import NO_CAPACITY, OUT_OF_MEMORY, SPOT_NOTICE, Faults
from emulation.ecs.limits import call_paces, launch_pace
from emulation.ecs.task import Task

Answer = dict[str, Any]


@dataclass(frozen=True)
class Timings:
    """Seconds that a task stays in a state. Those of Fargate are some ten times as long."""

    starting: float = 0.02
    stopping: float = 0.02


class EcsService:
    """The control plane. Tasks that ``simulate`` says yes to have no process."""

    def __init__(
        self,
        account: Account,
        folder: Path,
        base: Mapping[str, str],
        *,
        faults: Faults | None = None,
        timings: Timings | None = None,
        simulate: Callable[[int], bool] = lambda number: False,
        image: Mapping[str, str] | None = None,
        containers: Containers | None = None,
    ) -> None:
        self.image = dict(image or {})
        self.containers = containers
        self.account = account
        self.folder = folder
        self.base = dict(base)
        self.faults = faults or Faults()
        self.timings = timings or Timings()
        self.simulate = simulate
        self.tasks: dict[str, Task] = {}
        self.definitions: dict[str, dict[str, Any]] = {}
        self.calls: Counter[str] = Counter()
        #: Called with a task whenever its status has changed.
        self.watchers: list[Callable[[Task], None]] = []
        self.at = ""  # where the server listens; for the addresses that a task is given
        self.tagged: dict[str, list[dict[str, str]]] = {}
        self._arns: dict[str, str] = {}  # by id
        self._tokens: dict[str, tuple[dict[str, Any], list[Task]]] = {}
        self._paces = call_paces()
        self._launches = launch_pace()
        self._numbers = itertools.count(1)
        self._lock = threading.RLock()
        self._clock = Clockwork()
        self._exec = ExecSessions()

    # ------------------------------------------------------------------ calls
    def call(self, action: str, wanted: dict[str, Any], who: str) -> Answer:
        """Answer one call of a principal. Raises EcsError."""
        self.calls[action] += 1
        pace = self._paces.get(action)
        handler: Callable[[dict[str, Any], str], Answer] | None = getattr(self, f"_{action}", None)
        if pace is None or handler is None:
            raise EcsError("InvalidAction", f"{action} is not emulated")
        for check in checks_of(self, action, wanted):
            if not self.account.may(who, check.action, check.resource, check.conditions):
                raise denied(who, check.action, check.resource)
        if not pace.take() or self.faults.chance(self.faults.throttle):
            self.calls["throttled"] += 1
            raise throttled()
        answer = handler(wanted, who)
        if self.faults.chance(self.faults.lost_answers):
            raise EcsError("ServerException", "These errors are usually caused by a server issue.", 500)
        return answer

    def _RegisterTaskDefinition(self, wanted: dict[str, Any], who: str) -> Answer:
        check_definition(self.account, wanted)
        for key in ("executionRoleArn", "taskRoleArn"):
            self._check_pass_role(who, wanted.get(key))
        with self._lock:
            revision = 1 + sum(made["family"] == wanted["family"] for made in self.definitions.values())
            arn = self.account.arn(f"task-definition/{wanted['family']}:{revision}")
            made = wanted | {"taskDefinitionArn": arn, "revision": revision, "status": "ACTIVE"}
            self.definitions[arn] = made
        return {"taskDefinition": made}

    def _DeregisterTaskDefinition(self, wanted: dict[str, Any], who: str) -> Answer:
        made = self._definition(wanted.get("taskDefinition", ""))
        made["status"] = "INACTIVE"
        return {"taskDefinition": made}

    def _DescribeTaskDefinition(self, wanted: dict[str, Any], who: str) -> Answer:
        return {"taskDefinition": self._definition(wanted.get("taskDefinition", ""))}

    def _DescribeClusters(self, wanted: dict[str, Any], who: str) -> Answer:
        names = [str(name).rpartition("/")[2] for name in wanted.get("clusters", ["default"])]
        return {
            "clusters": [
                {"clusterName": name, "clusterArn": self.account.arn(f"cluster/{name}"), "status": "ACTIVE"}
                for name in names
                if name in self.account.clusters
            ],
            "failures": [{"arn": name, "reason": "MISSING"} for name in names if name not in self.account.clusters],
        }

    def _RunTask(self, wanted: dict[str, Any], who: str) -> Answer:
        check_run(self.account, wanted)
        definition = self._definition(wanted.get("taskDefinition", ""))
        if definition["status"] != "ACTIVE":
            raise client_error("TaskDefinition is inactive")
        overrides = wanted.get("overrides", {})
        cpu, memory = overrides.get("cpu", definition["cpu"]), overrides.get("memory", definition["memory"])
        check_size(cpu, memory)
        for key in ("taskRoleArn", "executionRoleArn"):
            self._check_pass_role(who, overrides.get(key) or definition.get(key))
        with self._lock:
            token = wanted.get("clientToken")
            if token and token in self._tokens:
                before, tasks = self._tokens[token]
                if before != wanted:
                    raise EcsError("ConflictException", "The clientToken was used with other parameters.")
                return {"tasks": [task.described() for task in tasks], "failures": []}
            count = int(wanted.get("count", 1))
            if not self._launches.take(count):
                self.calls["throttled"] += 1
                raise throttled()
            made, failures = self._place(count, wanted, definition, cpu, memory)
            if token:
                self._tokens[token] = (wanted, made)
        return {"tasks": [task.described() for task in made], "failures": failures}

    def _place(
        self, count: int, wanted: dict[str, Any], definition: dict[str, Any], cpu: str, memory: str
    ) -> tuple[list[Task], list[dict[str, str]]]:
        made: list[Task] = []
        failures: list[dict[str, str]] = []
        used = sum(int(task.cpu) / 1024 for task in self.tasks.values() if task.desired == "RUNNING")
        for _ in range(count):
            if self.faults.without_capacity or self.faults.chance(self.faults.partial):
                failures.append({"reason": NO_CAPACITY})
            elif used + int(cpu) / 1024 > self.account.vcpu_quota:
                failures.append({"reason": "You've reached the limit on the number of vCPUs you can run concurrently"})
            else:
                made.append(self._start(wanted, definition, cpu, memory))
                used += int(cpu) / 1024
        return made, failures

    def _StopTask(self, wanted: dict[str, Any], who: str) -> Answer:
        task = self._find(wanted.get("task", ""))
        if task is None:
            raise invalid("The referenced task was not found.")
        self.stop(task, "UserInitiated", wanted.get("reason") or "Task stopped by user")
        return {"task": task.described()}

    def _ExecuteCommand(self, wanted: dict[str, Any], who: str) -> Answer:
        if wanted.get("interactive") is not True:
            raise invalid("Interactive is the only mode supported currently.")
        task = self._find(wanted.get("task", ""))
        if task is None:
            raise invalid("The referenced task was not found.")
        if wanted.get("container", task.container) != task.container:
            raise invalid(f"container {wanted['container']} is not in the task.")
        session = self._exec.open(task, self._on_this_machine(str(wanted["command"])))
        return {
            "clusterArn": task.cluster_arn,
            "containerArn": task.described()["containers"][0]["containerArn"],
            "containerName": task.container,
            "interactive": True,
            "session": session,
            "taskArn": task.arn,
        }

    def _DescribeTasks(self, wanted: dict[str, Any], who: str) -> Answer:
        asked = wanted.get("tasks", [])
        if not 1 <= len(asked) <= 100:
            raise invalid("Tasks: between 1 and 100 must be given.")
        if self.faults.describe_is_down:
            raise EcsError("ServerException", "These errors are usually caused by a server issue.", 500)
        found = {arn: self._find(arn) for arn in asked}
        return {
            "tasks": [task.described("TAGS" in wanted.get("include", [])) for task in found.values() if task],
            "failures": [{"arn": arn, "reason": "MISSING"} for arn, task in found.items() if not task],
        }

    def _ListTasks(self, wanted: dict[str, Any], who: str) -> Answer:
        if wanted.get("startedBy") and {"family", "serviceName", "desiredStatus"} & wanted.keys():
            raise invalid("When you specify startedBy as the filter, it must be the only filter that you use.")
        desired = wanted.get("desiredStatus", "RUNNING")
        found = sorted(
            task.arn
            for task in list(self.tasks.values())
            if task.desired == desired
            and task.started_by == wanted.get("startedBy", task.started_by)
            and task.family == wanted.get("family", task.family)
            and task.visible_at <= time.monotonic()
        )
        start = int(wanted.get("nextToken") or 0)
        page = found[start : start + int(wanted.get("maxResults", 100))]
        after = start + len(page)
        return {"taskArns": page} | ({"nextToken": str(after)} if after < len(found) else {})

    def _TagResource(self, wanted: dict[str, Any], who: str) -> Answer:
        self.tagged.setdefault(wanted["resourceArn"], []).extend(wanted["tags"])
        return {}

    def _ListTagsForResource(self, wanted: dict[str, Any], who: str) -> Answer:
        return {"tags": self.tagged.get(wanted["resourceArn"], [])}

    # ------------------------------------------------------------ tasks' lives
    def _start(self, wanted: dict[str, Any], definition: dict[str, Any], cpu: str, memory: str) -> Task:
        number = next(self._numbers)
        overrides = wanted.get("overrides", {})
        container = definition["containerDefinitions"][0]
        by_name = {part["name"]: part for part in overrides.get("containerOverrides", [])}
        if by_name.keys() - {part["name"] for part in definition["containerDefinitions"]}:
            raise invalid(
                "Override for container named " + ", ".join(by_name) + " is not a container in the definition."
            )
        override = by_name.get(container["name"], {})
        identity = str(uuid.uuid4()).replace("-", "")
        cluster = cluster_name(wanted)
        subnets = wanted["networkConfiguration"]["awsvpcConfiguration"]["subnets"]
        strategy = wanted.get("capacityProviderStrategy") or []
        environment = {
            pair["name"]: pair["value"]
            for pair in [*container.get("environment", []), *override.get("environment", [])]
        } | {
            "ECS_CONTAINER_METADATA_URI_V4": f"{self.at}/v4/{identity}",
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{self.at}/credentials/{identity}",
            "AWS_REGION": self.account.region,
        }
        command = [*container.get("entryPoint", []), *(override.get("command") or container.get("command", []))]
        if self.faults.next_is_mute():
            command = ["sleep", "3600"]
        command = [self._on_this_machine(word) for word in command]
        environment = {name: self._on_this_machine(value) for name, value in environment.items()}
        task = Task(
            number=number,
            arn=self.account.arn(f"task/{cluster}/{identity}"),
            cluster_arn=self.account.arn(f"cluster/{cluster}"),
            definition_arn=definition["taskDefinitionArn"],
            container=container["name"],
            started_by=wanted.get("startedBy", ""),
            cpu=cpu,
            memory=memory,
            subnet=subnets[number % len(subnets)],
            provider=_choose(strategy, number) if strategy else "FARGATE",
            # Two numbers of 250: as many tasks as loopback has addresses for, none of them 127.0.0.x.
            address=f"127.0.{1 + number // 250 % 250}.{1 + number % 250}",
            role=overrides.get("taskRoleArn") or definition.get("taskRoleArn", ""),
            command=command,
            environment=environment,
            stop_timeout=float(container.get("stopTimeout", 30)),
            tags=wanted.get("tags", []),
            launch_type=wanted.get("launchType"),
            visible_at=time.monotonic() + self.faults.missing_seconds,
            access_key=f"ASIA{identity[:16].upper()}",
            exec_enabled=bool(wanted.get("enableExecuteCommand")),
            containers=self.containers,
            runtime_id=f"{identity}-{int(identity[:8], 16)}",
        )
        # A root file system that is read-only leaves the agent no place to write (ECS developer guide, "ECS Exec").
        read_only = bool(container.get("readonlyRootFilesystem"))
        task.agent_connects = task.exec_enabled and not read_only and agent_may_connect(self.account, task.role)
        self.tasks[task.arn] = task
        self._arns[task.id] = task.arn
        failure = self.faults.next_start_failure()
        if not failure and self.account.subnets[task.subnet] <= 0:
            failure = (
                "Unexpected EC2 error while attempting to Create Network Interface with public IP assignment disabled "
                f"in subnet '{task.subnet}': InsufficientFreeAddressesInSubnet"
            )
        self.account.subnets[task.subnet] -= 1
        self._clock.after(self.timings.starting, lambda: self._advance(task, failure))
        return task

    def _advance(self, task: Task, failure: str) -> None:
        """PROVISIONING → PENDING → RUNNING, one state at a time."""
        with self._lock:
            if task.desired == "STOPPED":
                self._over(task, "", None)
                return
            if task.status == "PENDING" and failure:
                task.stop_code, task.stopped_reason = "TaskFailedToStart", failure
                self._over(task, "", None)
                return
            if task.status == "PROVISIONING":
                self._becomes(task, "PENDING")
                self._clock.after(self.timings.starting, lambda: self._advance(task, failure))
                return
            if not self.simulate(task.number):
                try:
                    task.launch(self.base, self.folder)
                except OSError as error:
                    task.stop_code = "TaskFailedToStart"
                    task.stopped_reason = f"CannotStartContainerError: {error}"
                    self._over(task, "", None)
                    return
                threading.Thread(target=self._wait, args=(task,), daemon=True).start()
            task.started_at = time.time()
            self._becomes(task, "RUNNING")

    def _wait(self, task: Task) -> None:
        process = task.process
        assert process is not None  # noqa: S101 - launched just before
        code = process.wait()
        task.send(signal.SIGKILL)  # what it left behind in its group ends with the container
        task.end_what_entered()
        with self._lock:
            if not task.stop_code:
                task.stop_code, task.stopped_reason = "EssentialContainerExited", "Essential container in task exited"
            self._over(task, task.container_reason, 128 - code if code < 0 else code)

    def _over(self, task: Task, reason: str, code: int | None) -> None:
        """Nothing of it runs any more; ECS takes the task apart."""
        task.desired, task.exit_code, task.container_reason = "STOPPED", code, reason
        self.account.subnets[task.subnet] += 1
        self._becomes(task, "DEPROVISIONING")

        def stopped() -> None:
            task.stopped_at = time.time()
            self._becomes(task, "STOPPED")
            task.over.set()

        self._clock.after(self.timings.stopping, stopped)

    def _becomes(self, task: Task, status: str) -> None:
        task.status = status
        for watcher in list(self.watchers):
            watcher(task)

    def stop(self, task: Task, code: str, reason: str) -> None:
        """SIGTERM, and SIGKILL after the container's stopTimeout; harmless for a task that is over."""
        with self._lock:
            if task.desired == "STOPPED":
                return
            task.desired, task.stop_code, task.stopped_reason = "STOPPED", code, reason
            if task.status != "RUNNING":
                return  # `_advance` sees it
            self._becomes(task, "DEACTIVATING")
            if task.process is None:
                self._over(task, "", 143)
                return
            task.send(signal.SIGTERM)
            self._clock.after(task.stop_timeout, lambda: task.send(signal.SIGKILL))

    # ------------------------------------------------------ what happens to them
    def interrupt_spot(self, task: Task) -> None:
        """Take its capacity back, as Fargate Spot does."""
        self.stop(task, "SpotInterruption", SPOT_NOTICE)

    def run_out_of_memory(self, task: Task) -> None:
        """Kill its container as the kernel does when its memory limit is reached."""
        task.container_reason = OUT_OF_MEMORY
        task.send(signal.SIGKILL)

    def running(self, started_by: str | None = None) -> list[Task]:
        """Tasks that run or are on their way, oldest first."""
        return [
            task
            for task in list(self.tasks.values())
            if task.status != "STOPPED" and started_by in (None, task.started_by)
        ]

    def close(self) -> None:
        """End everything."""
        self._clock.stop()
        self._exec.stop()
        for task in list(self.tasks.values()):
            task.send(signal.SIGKILL)
            task.end_what_entered()
            if task.process is not None:
                try:
                    task.process.wait(10)
                except subprocess.TimeoutExpired:
                    continue

    # --------------------------------------------------------------- internals
    def _find(self, name: str) -> Task | None:
        """A task by ARN or id, if ECS knows it yet."""
        task = self.task(name)
        return task if task and task.visible_at <= time.monotonic() else None

    def task(self, name: str) -> Task | None:
        """A task by ARN or id, whether ECS would show it already or not."""
        return self.tasks.get(self._arns.get(name.rpartition("/")[2], ""))

    def _definition(self, name: str) -> dict[str, Any]:
        """By ARN, `family:revision` or family (its latest active revision)."""
        short = name.rpartition("/")[2]
        made: dict[str, Any]
        for arn, made in reversed(list(self.definitions.items())):
            if name == arn or short in (arn.rpartition("/")[2], made["family"]):
                return made
        raise client_error("TaskDefinition not found.")

    def definition_arn(self, name: str) -> str:
        """The ARN of a task definition given in any form. Raises EcsError."""
        return str(self._definition(name)["taskDefinitionArn"])

    def _on_this_machine(self, text: str) -> str:
        """Paths in the image as this machine has them."""
        for path, here in self.image.items():
            text = text.replace(path, here)
        return text

    def _check_pass_role(self, who: str, role: str | None) -> None:
        to_tasks = {"iam:PassedToService": "ecs-tasks.amazonaws.com"}
        if role and not self.account.may(who, "iam:PassRole", role, to_tasks):
            raise denied(who, "iam:PassRole", role)


def _choose(strategy: list[dict[str, Any]], number: int) -> str:
    """The provider of the task of that number: the base first, then by weight in turn."""
    for item in strategy:
        if number <= item.get("base", 0):
            return str(item["capacityProvider"])
    wheel = [item["capacityProvider"] for item in strategy for _ in range(item.get("weight", 0))]
    return str((wheel or [strategy[0]["capacityProvider"]])[number % max(1, len(wheel))])
