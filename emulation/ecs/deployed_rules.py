"""EventBridge and Lambda, as far as a stack uses them for tasks: rules on what becomes of tasks run functions."""

import contextlib
import io
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from emulation.aws import EmbeddedAws
from emulation.ecs.server import EmulatedEcs
from emulation.ecs.task import Task

FUNCTION_SECONDS = 120.0

#: Imports the module, calls the handler with the event on standard input, prints its answer last.
_RUNTIME = """
import importlib, json, sys
module, _, name = sys.argv[1].partition(".")
answer = getattr(importlib.import_module(module), name)(json.load(sys.stdin), None)
print(json.dumps(answer))
"""


@dataclass(frozen=True)
class Invocation:
    """One run of a function."""

    rule: str
    function: str
    answer: Any
    """What the handler returned; None where it failed."""
    log: str


class TaskRules:
    """Matches each change of a task's state with the account's rules, and runs their functions with their own roles."""

    def __init__(self, aws: EmbeddedAws, ecs: EmulatedEcs, account: Any) -> None:
        self._aws, self._ecs, self._account = aws, ecs, account
        self.invocations: list[Invocation] = []
        self._changes: queue.Queue[dict[str, Any] | None] = queue.Queue()
        events = aws.client("events")
        self._rules: list[tuple[dict[str, Any], list[str]]] = []
        for rule in events.list_rules()["Rules"]:
            targets = events.list_targets_by_rule(Rule=rule["Name"])["Targets"]
            self._rules.append((rule, [target["Arn"] for target in targets]))
        ecs.service.watchers.append(self._changed)
        self._thread = threading.Thread(target=self._run, name="task rules", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Run what is due, and end."""
        with contextlib.suppress(ValueError):
            self._ecs.service.watchers.remove(self._changed)
        self._changes.put(None)
        self._thread.join(FUNCTION_SECONDS)

    def sweep(self) -> list[Invocation]:
        """Run what is on a schedule, now."""
        rules = [(rule, targets) for rule, targets in self._rules if rule.get("ScheduleExpression")]
        return [self._invoke(rule["Name"], target, {}) for rule, targets in rules for target in targets]

    def _changed(self, task: Task) -> None:
        self._changes.put(
            {
                "source": "aws.ecs",
                "detail-type": "ECS Task State Change",
                "detail": task.described(),
            }
        )

    def _run(self) -> None:
        while (event := self._changes.get()) is not None:
            for rule, targets in self._rules:
                if rule.get("EventPattern") and matches(json.loads(rule["EventPattern"]), event):
                    for target in targets:
                        self._invoke(rule["Name"], target, event)

    def _invoke(self, rule: str, arn: str, event: dict[str, Any]) -> Invocation:
        found = self._aws.client("lambda").get_function(FunctionName=arn)
        configured = found["Configuration"]
        with tempfile.TemporaryDirectory(prefix="emulated-lambda-") as name:
            self._unpack(found["Code"]["Location"], Path(name))
            done = subprocess.run(
                [sys.executable, "-c", _RUNTIME, configured["Handler"]],
                input=json.dumps(event, default=str),
                cwd=name,
                env=self._environment(configured, name),
                capture_output=True,
                text=True,
                timeout=FUNCTION_SECONDS,
                check=False,
            )
        answer = json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else None
        made = Invocation(rule, configured["FunctionName"], answer, done.stdout + done.stderr)
        self.invocations.append(made)
        return made

    def _environment(self, configured: Mapping[str, Any], folder: str) -> dict[str, str]:
        session = self._account.sign_in(configured["Role"], f"{configured['FunctionName']}-{time.time_ns()}"[-60:])
        return {
            "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
            "PYTHONPATH": folder,
            "AWS_ENDPOINT_URL": self._aws.endpoint,
            "AWS_ENDPOINT_URL_ECS": self._ecs.endpoint,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_DEFAULT_REGION": self._aws.region,
            "AWS_REGION": self._aws.region,
            "AWS_ACCESS_KEY_ID": session["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": session["SecretAccessKey"],
            "AWS_SESSION_TOKEN": session["Token"],
            "NO_PROXY": "localhost,127.0.0.1",
            **configured.get("Environment", {}).get("Variables", {}),
        }

    def _unpack(self, location: str, folder: Path) -> None:
        # Lambda shows where it keeps its copy; the emulated account has the asset that it was made of.
        s3, key = self._aws.client("s3"), urlsplit(location).path.lstrip("/")
        bucket = next(name for one in s3.list_buckets()["Buckets"] if (name := one["Name"]).startswith("cdk-"))
        body = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        with zipfile.ZipFile(io.BytesIO(body)) as archive:
            archive.extractall(folder)


def matches(pattern: Mapping[str, Any], event: Mapping[str, Any]) -> bool:
    """Whether an event fits a pattern of exact values (EventBridge user guide, "Event patterns")."""
    for name, wanted in pattern.items():
        found = event.get(name)
        if isinstance(wanted, Mapping):
            if not isinstance(found, Mapping) or not matches(wanted, found):
                return False
        elif any(isinstance(value, Mapping) for value in wanted):
            raise NotImplementedError(f"{name}: only exact values are emulated")
        elif found not in wanted:
            return False
    return True
