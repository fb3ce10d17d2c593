"""The stacks of one account and region: what callers may ask, and the operations that run in the background."""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Callable
from typing import Literal

from emulation.aws.cloudformation.absent_hosts import REMARK, AbsentHosts
from emulation.aws.cloudformation.account import Account
from emulation.aws.cloudformation.deployment import Deployment, DeploymentFailed
from emulation.aws.cloudformation.errors import AlreadyExists, InsufficientCapabilities, ResourceFailed, ValidationError
from emulation.aws.cloudformation.records import Output, Request, ResourceRecord, Stack, now
from emulation.aws.cloudformation.removal import remove
from emulation.aws.cloudformation.signals import SIGNALLED_TYPES, SignalWait
from emulation.aws.resources.provider import Context

SETTLE_SECONDS = 4.0
_log = logging.getLogger("emulation.aws.cloudformation")
_UPDATABLE = ("CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE", "IMPORT_COMPLETE")
_IAM_TYPES = ("AWS::IAM::Role", "AWS::IAM::Policy", "AWS::IAM::ManagedPolicy", "AWS::IAM::User", "AWS::IAM::Group")


class Engine:
    """CloudFormation of one account and region."""

    def __init__(self, account_id: str, region: str, endpoint: str, hosts: Literal["absent", "external"]) -> None:
        self.account = Account(account_id, region, endpoint, self.exported)
        self.stacks: dict[str, Stack] = {}
        self.changed = threading.Condition()
        self._waits: dict[tuple[str, str], SignalWait] = {}
        self._absent = AbsentHosts(self._signal_for_absent) if hosts == "absent" else None

    # ---------------------------------------------------------------- finding
    def find(self, name_or_id: str) -> Stack:
        """A live stack by name, or any by ARN; raises `ValidationError`."""
        stack = self.stacks.get(name_or_id) or self.live(name_or_id)
        if stack is None:
            raise ValidationError(f"Stack with id {name_or_id} does not exist")
        return stack

    def live(self, name: str) -> Stack | None:
        """The stack of that name which is not deleted."""
        alive = (stack for stack in self.stacks.values() if stack.deleted is None)
        return next((stack for stack in alive if stack.name == name), None)

    def exports(self) -> list[tuple[Stack, Output]]:
        """Every export of this region with its stack."""
        alive = [stack for stack in self.stacks.values() if stack.deleted is None]
        return [(stack, output) for stack in alive for output in stack.outputs if output.export]

    def importers(self, export: str) -> list[str]:
        """Names of the stacks that use an export."""
        return sorted(s.name for s in self.stacks.values() if s.deleted is None and export in s.imports)

    def exported(self, name: str) -> str:
        """The value of an export; raises `ValidationError`."""
        for _, output in self.exports():
            if output.export == name:
                return output.value
        raise ValidationError(f"No export named {name} found.")

    def settle(self, stack: Stack, seconds: float = SETTLE_SECONDS) -> None:
        """Return when the stack is not busy, waits for hosts, or after some seconds.

        Clients ask every five seconds (the CDK CLI) or more; most operations here take less, and an answer that comes a
        little later spares them that pause.
        """

        def at_rest() -> bool:
            waits = self._absent is None and any(stack_id == stack.stack_id for stack_id, _ in self._waits)
            return waits or not stack.busy

        with self.changed:
            self.changed.wait_for(at_rest, seconds)

    # ------------------------------------------------------------- operations
    def create(self, name: str, request: Request, *, on_failure: str = "ROLLBACK", protection: bool = False) -> Stack:
        """Begin to create a stack; it is `CREATE_IN_PROGRESS` when this returns."""
        if self.live(name) is not None:
            raise AlreadyExists(f"Stack [{name}] already exists")
        stack = self.new_stack(name, request, "CREATE_IN_PROGRESS")
        stack.on_failure, stack.termination_protection = on_failure, protection
        self.begin_creation(stack, request)
        return stack

    def new_stack(self, name: str, request: Request, status: str) -> Stack:
        """A stack on record, without resources."""
        arn = f"arn:aws:cloudformation:{self.account.region}:{self.account.account_id}:stack/{name}/{uuid.uuid4()}"
        stack = Stack(arn, name, request, status)
        self.stacks[arn] = stack
        return stack

    def begin_creation(self, stack: Stack, request: Request) -> None:
        """Create what `request` says in the background; refuses a bad template before anything is made."""
        try:
            deployment = self._deployment(stack, request)
        except ValidationError:
            if stack.status == "CREATE_IN_PROGRESS":
                del self.stacks[stack.stack_id]
            raise
        stack.request = request
        stack.record("CREATE_IN_PROGRESS", "User Initiated")
        self._in_background(stack, lambda: self._run_creation(stack, deployment))

    def update(self, stack: Stack, request: Request) -> None:
        """Begin to update a stack; it is `UPDATE_IN_PROGRESS` when this returns."""
        self.refuse_update_of(stack)
        if request.asks_for_the_same(stack.request):
            raise ValidationError("No updates are to be performed.")
        self.begin_update(stack, request)

    def refuse_update_of(self, stack: Stack) -> None:
        """Raise `ValidationError` unless the stack's status allows an update."""
        if stack.status not in _UPDATABLE:
            raise ValidationError(f"Stack:{stack.stack_id} is in {stack.status} state and can not be updated.")

    def begin_update(self, stack: Stack, request: Request) -> None:
        """Update in the background; refuses a bad template before anything is changed."""
        deployment = self._deployment(stack, request)
        before, stack.request = stack.request, request
        stack.updated = now()
        stack.record("UPDATE_IN_PROGRESS", "User Initiated")
        self._in_background(stack, lambda: self._run_update(stack, deployment, before))

    def delete(self, name_or_id: str, retain: tuple[str, ...] = ()) -> None:
        """Begin to delete a stack; one that is gone already is fine, as in CloudFormation."""
        stack = self.stacks.get(name_or_id) or self.live(name_or_id)
        if stack is None or stack.deleted is not None:
            return
        if stack.termination_protection:
            raise ValidationError(f"Stack [{stack.name}] cannot be deleted while TerminationProtection is enabled")
        if stack.busy:
            raise ValidationError(f"Stack [{stack.name}] is in {stack.status} state and can not be deleted")
        stack.record("DELETE_IN_PROGRESS", "User Initiated")
        self._in_background(stack, lambda: self._run_deletion(stack, retain))

    # ---------------------------------------------------------------- signals
    def signal(self, name: str, logical_id: str, unique_id: str, status: str, remark: str = "") -> None:
        """Count a signal for a resource that waits; raises `ValidationError` as SignalResource does."""
        if status not in ("SUCCESS", "FAILURE"):
            raise ValidationError(f"Value '{status}' at 'status' failed to satisfy constraint: [SUCCESS, FAILURE]")
        stack = self.find(name)
        definition = stack.request.template["Resources"].get(logical_id)
        if definition is None:
            raise ValidationError(f"Resource {logical_id} does not exist for stack {stack.name}")
        if definition["Type"] not in SIGNALLED_TYPES:
            raise ValidationError(f"Resource type {definition['Type']} cannot be signaled")
        with self.changed:
            wait = self._waits.get((stack.stack_id, logical_id))
            if wait is None:
                known = stack.resources.get(logical_id)
                state = known.status if known else "not yet created"
                raise ValidationError(f"Resource {logical_id} is in {state} state and cannot be signaled")
            if not wait.receive(unique_id, status):
                return
            record = stack.resources.get(logical_id)
            if record is not None:
                said = f"Received {status} signal with UniqueId {unique_id}" + (f" ({remark})" if remark else "")
                stack.record_resource(record, record.status, said)
            self.changed.notify_all()

    def open_wait(self, stack: Stack, logical_id: str, wait: SignalWait) -> None:
        """See `deployment.Signalling`."""
        with self.changed:
            self._waits[stack.stack_id, logical_id] = wait
            self.changed.notify_all()

    def close_wait(self, stack: Stack, logical_id: str) -> None:
        """See `deployment.Signalling`."""
        with self.changed:
            self._waits.pop((stack.stack_id, logical_id), None)

    def expect_signals(self, stack: Stack, logical_id: str, instances: list[str]) -> None:
        """See `deployment.Signalling`."""
        if self._absent is not None:
            self._absent.expect(stack.stack_id, logical_id, instances)

    def _signal_for_absent(self, stack_id: str, logical_id: str, instance: str) -> None:
        try:
            self.signal(stack_id, logical_id, instance, "SUCCESS", REMARK)
        except ValidationError as refused:
            _log.warning("absent hosts: %s", refused)  # the wait was over, e.g. because another resource failed

    # -------------------------------------------------------------- internals
    def _deployment(self, stack: Stack, request: Request) -> Deployment:
        types = {resource["Type"] for resource in request.template["Resources"].values()}
        if types & set(_IAM_TYPES) and not {"CAPABILITY_IAM", "CAPABILITY_NAMED_IAM"} & set(request.capabilities):
            raise InsufficientCapabilities("Requires capabilities : [CAPABILITY_NAMED_IAM]")
        return Deployment(self.account, stack, request, self, self._check_exports)

    def _in_background(self, stack: Stack, work: Callable[[], None]) -> None:
        def guarded() -> None:
            try:
                work()
            except Exception as error:  # noqa: BLE001 - a thread has nobody else to tell
                _log.exception("operation on %s", stack.name)
                verb = stack.status.split("_")[0]
                stack.record(f"{verb}_FAILED", f"Internal failure of the embedded AWS: {type(error).__name__}: {error}")
            finally:
                with self.changed:
                    self.changed.notify_all()

        threading.Thread(target=guarded, name=f"stack {stack.name}", daemon=True).start()

    def _run_creation(self, stack: Stack, deployment: Deployment) -> None:
        try:
            deployment.run()
        except DeploymentFailed as failure:
            if stack.on_failure == "DO_NOTHING":
                stack.record("CREATE_FAILED", str(failure))
                return
            stack.record("ROLLBACK_IN_PROGRESS", f"{failure}Rollback requested by user.")
            clean = deployment.roll_back()
            stack.record("ROLLBACK_COMPLETE" if clean else "ROLLBACK_FAILED")
            if clean and stack.on_failure == "DELETE":
                self._run_deletion(stack, ())
            return
        stack.record("CREATE_COMPLETE")

    def _run_update(self, stack: Stack, deployment: Deployment, before: Request) -> None:
        try:
            deployment.run()
        except DeploymentFailed as failure:
            if stack.on_failure == "DO_NOTHING":
                stack.record("UPDATE_FAILED", str(failure))
                return
            stack.record("UPDATE_ROLLBACK_IN_PROGRESS", str(failure).strip())
            clean = deployment.roll_back()
            stack.request = before
            if clean:
                stack.record("UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS")
            stack.record("UPDATE_ROLLBACK_COMPLETE" if clean else "UPDATE_ROLLBACK_FAILED")
            return
        stack.record("UPDATE_COMPLETE_CLEANUP_IN_PROGRESS")
        deployment.clean_up()
        stack.record("UPDATE_COMPLETE")

    def _run_deletion(self, stack: Stack, retain: tuple[str, ...]) -> None:
        for output in stack.outputs:
            users = self.importers(output.export) if output.export else []
            if users:
                reason = f"Export {output.export} cannot be deleted as it is in use by {' and '.join(users)}"
                stack.record("DELETE_FAILED", reason)
                return
        failed = []
        for record in reversed(_created_order(stack)):
            if record.logical_id in retain:
                stack.record_resource(record, "DELETE_SKIPPED")
                continue
            context = Context(
                self.account.account_id,
                self.account.region,
                stack.name,
                stack.stack_id,
                record.logical_id,
                self.account.client,
            )
            if not remove(stack, record, context, policy="DeletionPolicy"):
                failed.append(record.logical_id)
        if failed:
            stack.resources = {name: record for name, record in stack.resources.items() if name in failed}
            stack.record("DELETE_FAILED", f"The following resource(s) failed to delete: [{', '.join(failed)}]. ")
            return
        stack.outputs, stack.imports = [], set()
        stack.deleted = now()
        stack.record("DELETE_COMPLETE")

    def _check_exports(self, stack: Stack, outputs: list[Output]) -> None:
        new = {output.export: output.value for output in outputs if output.export}
        for owner, output in self.exports():
            if owner is not stack and output.export in new:
                raise ResourceFailed(f"Export with name {output.export} is already exported by stack {owner.name}")
        for output in stack.outputs:
            if not output.export:
                continue
            users = self.importers(output.export)
            if users and output.export not in new:
                raise ResourceFailed(f"Cannot delete export {output.export} as it is in use by {' and '.join(users)}")
            if users and new[output.export] != output.value:
                raise ResourceFailed(f"Cannot update export {output.export} as it is in use by {' and '.join(users)}")


def _created_order(stack: Stack) -> list[ResourceRecord]:
    """The stack's resources, each after all that it needs."""
    ordered: dict[str, ResourceRecord] = {}
    left = dict(stack.resources)
    while left:
        ready = [name for name, record in left.items() if not (record.needs & left.keys()) - {name}]
        for name in ready or list(left):
            ordered[name] = left.pop(name)
    return list(ordered.values())
