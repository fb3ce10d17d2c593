"""One creation or update of a stack: every resource in order, waits for signals, and the way back if one fails."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NoReturn, Protocol

from emulation.aws.cloudformation import rolling
from emulation.aws.cloudformation.account import Account
from emulation.aws.cloudformation.errors import ResourceFailed, ValidationError
from emulation.aws.cloudformation.evaluation import Evaluation
from emulation.aws.cloudformation.parameters import resolve_parameters
from emulation.aws.cloudformation.records import Output, Request, ResourceRecord, Stack
from emulation.aws.cloudformation.references import creation_order
from emulation.aws.cloudformation.removal import remove
from emulation.aws.cloudformation.signals import SignalWait, creation_wait
from emulation.aws.resources.provider import Context, Made, NeedsReplacement
from emulation.aws.resources.registry import provider_for

_log = logging.getLogger("emulation.aws.cloudformation")


class Signalling(Protocol):
    """Where waits are kept while they last, and who is told of instances that should signal."""

    changed: threading.Condition

    def open_wait(self, stack: Stack, logical_id: str, wait: SignalWait) -> None:
        """Let `SignalResource` find the wait."""

    def close_wait(self, stack: Stack, logical_id: str) -> None:
        """No more signals are taken."""

    def expect_signals(self, stack: Stack, logical_id: str, instances: list[str]) -> None:
        """These instances are due to signal."""


class DeploymentFailed(Exception):
    """At least one resource failed; the message is the stack's status reason."""


@dataclass(frozen=True)
class _Undo:
    """How to take one step back: `before` is None for a creation."""

    after: ResourceRecord
    before: ResourceRecord | None = None
    replaced: bool = False


class Deployment:
    """Makes `stack` what `request` says; `run` raises `DeploymentFailed`, after which `roll_back` restores it."""

    def __init__(
        self,
        account: Account,
        stack: Stack,
        request: Request,
        signalling: Signalling,
        check_outputs: Callable[[Stack, list[Output]], None],
    ) -> None:
        self._account = account
        self._stack = stack
        self._request = request
        self._signalling = signalling
        self._check_outputs = check_outputs
        self._undo: list[_Undo] = []
        self._waits: dict[str, SignalWait] = {}
        self._imports: set[str] = set()
        self._snapshot = dict(stack.resources)
        self._creating = not stack.resources
        self._signals_seen = 0
        self.superseded: list[ResourceRecord] = []
        self.order = creation_order(request.template)
        self.parameters = resolve_parameters(request.template, request.parameters, account.stored_parameter)
        self._evaluation = Evaluation(
            request.template, self.parameters, pseudo_parameters(account, stack, request), self, self._look_up
        )

    # --------------------------------------------- evaluation.Surroundings
    def zones(self, region: str) -> list[str]:
        """See `Account`."""
        return self._account.zones(region)

    def stored_parameter(self, name: str) -> str:
        """See `Account`."""
        return self._account.stored_parameter(name)

    def secret(self, reference: str) -> str:
        """See `Account`."""
        return self._account.secret(reference)

    def exported(self, name: str) -> str:
        """The value of an export, remembered as imported by this stack."""
        value = self._account.exported(name)
        self._imports.add(name)
        return value

    # ---------------------------------------------------------------- forward
    def run(self) -> None:
        """Create and update everything, then set outputs; removed resources are left for `clean_up`."""
        done: set[str] = set()
        started: set[str] = set()
        while len(done) < len(self.order):
            ready = next((n for n, needs in self.order.items() if n not in started and needs <= done), None)
            if ready is None:
                self._wait_for_signals(done)
                continue
            started.add(ready)
            self._step(ready)
            if ready not in self._waits:
                done.add(ready)
            self._settle_waits(done)
        try:
            outputs = self._outputs()
            self._check_outputs(self._stack, outputs)
        except (ValidationError, ResourceFailed) as failure:
            raise DeploymentFailed(str(failure)) from failure
        kept = {name: self._stack.resources[name] for name in self.order if name in self._stack.resources}
        self.superseded += [record for name, record in self._stack.resources.items() if not self._is_present(name)]
        self._stack.resources = {name: record for name, record in kept.items() if self._is_present(name)}
        self._stack.outputs, self._stack.imports, self._stack.parameters = outputs, self._imports, self.parameters

    def clean_up(self) -> None:
        """Delete what the update removed or replaced, newest first; a failure is reported and the rest goes on."""
        for record in reversed(self.superseded):
            policy = "UpdateReplacePolicy" if record.logical_id in self._stack.resources else "DeletionPolicy"
            remove(self._stack, record, self._context(record.logical_id), policy=policy)

    # --------------------------------------------------------------- backward
    def roll_back(self) -> bool:
        """Undo every step in reverse order; False if something could not be undone."""
        clean = True
        restored = dict(self._snapshot)
        for step in reversed(self._undo):
            name, context = step.after.logical_id, self._context(step.after.logical_id)
            if step.before is not None and not step.replaced:
                clean &= self._restore(step.before, step.after, context)
            elif not remove(self._stack, step.after, context, policy="DeletionPolicy", rolling_back=self._creating):
                clean = False
                restored.setdefault(name, step.after)
        self._stack.resources = restored
        return clean

    def _restore(self, before: ResourceRecord, current: ResourceRecord, context: Context) -> bool:
        self._stack.record_resource(current, "UPDATE_IN_PROGRESS")
        try:
            made = provider_for(current.type).update(
                context, Made(current.physical_id, current.attributes), current.properties, before.properties
            )
            before.attributes = made.attributes
            self._roll(before, current.properties, context)
        except (ResourceFailed, NeedsReplacement, ValidationError) as failure:
            self._stack.record_resource(current, "UPDATE_FAILED", str(failure))
            return False
        self._stack.record_resource(before, "UPDATE_COMPLETE")
        return True

    # -------------------------------------------------------------- internals
    def _is_present(self, name: str) -> bool:
        return name in self.order and self._evaluation.applies(self._request.template["Resources"][name])

    def _step(self, name: str) -> None:
        definition = self._request.template["Resources"][name]
        record = ResourceRecord(name, definition["Type"], definition, {}, self.order[name])
        before = self._stack.resources.get(name)
        verb = "CREATE" if before is None else "UPDATE"
        try:
            if not self._evaluation.applies(definition):
                return
            record.properties = self._evaluation.value(definition.get("Properties") or {})
            if before is not None and before.type == record.type and before.properties == record.properties:
                self._stack.resources[name] = replace(before, definition=definition, needs=record.needs)
                return
            if before is None:
                self._create(record, None)
            else:
                self._change(before, record)
        except (ResourceFailed, ValidationError) as failure:
            self._fail(record, f"{verb}_FAILED", str(failure))
        except Exception as error:  # noqa: BLE001 - becomes the resource's reason
            _log.exception("resource %s of %s", name, self._stack.name)
            self._fail(
                record, f"{verb}_FAILED", f"Internal failure of the embedded AWS: {type(error).__name__}: {error}"
            )

    def _change(self, before: ResourceRecord, record: ResourceRecord) -> None:
        provider = provider_for(record.type)
        record.physical_id, record.attributes = before.physical_id, before.attributes
        context = self._context(record.logical_id)
        replacing = record.definition.get("UpdatePolicy", {}).get("AutoScalingReplacingUpdate", {}).get("WillReplace")
        self._stack.record_resource(record, "UPDATE_IN_PROGRESS")
        try:
            if before.type != record.type or str(replacing).lower() == "true":
                raise NeedsReplacement
            made = provider.update(
                context, Made(before.physical_id, before.attributes), before.properties, record.properties
            )
        except NeedsReplacement:
            reason = "Requested update requires the creation of a new physical resource; hence creating one."
            self._stack.record_resource(record, "UPDATE_IN_PROGRESS", reason)
            record.physical_id = ""
            self._create(record, before)
            return
        record.physical_id, record.attributes = made.physical_id, made.attributes
        self._undo.append(_Undo(record, before))
        self._stack.resources[record.logical_id] = record
        self._roll(record, before.properties, context)
        self._stack.record_resource(record, "UPDATE_COMPLETE")

    def _create(self, record: ResourceRecord, before: ResourceRecord | None) -> None:
        provider = provider_for(record.type)
        verb = "CREATE" if before is None else "UPDATE"
        if before is None:
            self._stack.record_resource(record, "CREATE_IN_PROGRESS")
        wait = creation_wait(record.definition, self._evaluation.value(record.definition.get("CreationPolicy") or {}))
        if wait is not None:
            self._waits[record.logical_id] = wait
            self._signalling.open_wait(self._stack, record.logical_id, wait)
        context = self._context(record.logical_id)
        made = provider.create(context, record.properties)
        record.physical_id, record.attributes = made.physical_id, made.attributes
        self._undo.append(_Undo(record, before, replaced=before is not None))
        if before is not None:
            self.superseded.append(before)
        self._stack.resources[record.logical_id] = record
        self._stack.record_resource(record, f"{verb}_IN_PROGRESS", "Resource creation Initiated")
        record.attributes = provider.configure(context, made, {}, record.properties).attributes
        if wait is None:
            self._stack.record_resource(record, f"{verb}_COMPLETE")
        elif record.type == "AWS::AutoScaling::AutoScalingGroup":
            instances = rolling.instances_of(record.physical_id, context)
            self._signalling.expect_signals(self._stack, record.logical_id, instances)

    def _roll(self, record: ResourceRecord, old: Mapping[str, Any], context: Context) -> None:
        policy = self._evaluation.value(record.definition.get("UpdatePolicy") or {}).get("AutoScalingRollingUpdate")
        if record.type != "AWS::AutoScaling::AutoScalingGroup" or policy is None:
            return
        if any(old.get(name) != record.properties.get(name) for name in rolling.CAUSES):
            rolling.RollingUpdate(self._stack, record, policy, context, self._signalling).run()

    def _settle_waits(self, done: set[str]) -> None:
        for name, wait in list(self._waits.items()):
            record = self._stack.resources[name]
            verb = record.status.split("_")[0]
            try:
                if not wait.settled():
                    continue
            except ResourceFailed as failure:
                self._fail(record, f"{verb}_FAILED", str(failure))
            self._close(name)
            self._stack.record_resource(record, f"{verb}_COMPLETE")
            done.add(name)

    def _wait_for_signals(self, done: set[str]) -> None:
        with self._signalling.changed:
            pause = min(wait.deadline for wait in self._waits.values()) - time.monotonic()
            self._signalling.changed.wait_for(lambda: self._signals() != self._signals_seen, max(0.0, pause))
            self._signals_seen = self._signals()
        self._settle_waits(done)

    def _signals(self) -> int:
        return sum(len(wait.statuses) for wait in self._waits.values())

    def _close(self, name: str) -> None:
        self._waits.pop(name, None)
        self._signalling.close_wait(self._stack, name)

    def _fail(self, record: ResourceRecord, status: str, reason: str) -> NoReturn:
        self._stack.record_resource(record, status, reason)
        self._close(record.logical_id)
        for name in list(self._waits):
            waiting = self._stack.resources[name]
            self._stack.record_resource(
                waiting, f"{waiting.status.split('_')[0]}_FAILED", "Resource creation cancelled"
            )
            self._close(name)
        done = "create" if status.startswith("CREATE") and self._creating else "update"
        raise DeploymentFailed(f"The following resource(s) failed to {done}: [{record.logical_id}]. ")

    def _look_up(self, name: str, attribute: str | None) -> Any:
        record = self._stack.resources.get(name)
        if record is None or not self._is_present(name):
            raise ValidationError(f"Template error: {name} is referred to, but it is not among the stack's resources")
        if attribute is None:
            return record.physical_id
        if attribute not in record.attributes:
            raise ValidationError(
                f"Template error: resource {name} does not support attribute type {attribute} in Fn::GetAtt"
            )
        return record.attributes[attribute]

    def _context(self, logical_id: str) -> Context:
        account, stack = self._account, self._stack
        return Context(account.account_id, account.region, stack.name, stack.stack_id, logical_id, account.client)

    def _outputs(self) -> list[Output]:
        outputs = []
        for key, definition in (self._request.template.get("Outputs") or {}).items():
            if not self._evaluation.applies(definition):
                continue
            export = (definition.get("Export") or {}).get("Name")
            name = None if export is None else str(self._evaluation.value(export))
            value = self._evaluation.value(definition["Value"])
            outputs.append(Output(key, _text(value), definition.get("Description"), name))
        return outputs


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def pseudo_parameters(account: Account, stack: Stack, request: Request) -> dict[str, Any]:
    """`AWS::AccountId` and the like."""
    return {
        "AWS::AccountId": account.account_id,
        "AWS::Region": account.region,
        "AWS::StackId": stack.stack_id,
        "AWS::StackName": stack.name,
        "AWS::Partition": "aws",
        "AWS::URLSuffix": "amazonaws.com",
        "AWS::NotificationARNs": list(request.notification_arns),
    }
