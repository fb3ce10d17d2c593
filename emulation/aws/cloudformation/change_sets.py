"""Change sets: what an update would do, kept until it is executed or thrown away."""

from __future__ import annotations

import uuid
from typing import Any

from emulation.aws.cloudformation.engine import Engine
from emulation.aws.cloudformation.errors import AlreadyExists, ChangeSetNotFound, ValidationError
from emulation.aws.cloudformation.records import ChangeSet, Request
from emulation.aws.cloudformation.references import creation_order, names_in
from emulation.aws.resources.provider import Provider
from emulation.aws.resources.registry import provider_for

NOTHING_CHANGED = (
    "The submitted information didn't contain changes. Submit different information to create a change set."
)


class ChangeSets:
    """The change sets of one region."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._sets: dict[str, ChangeSet] = {}

    def create(self, stack_name: str, name: str, kind: str, request: Request, **extra: Any) -> ChangeSet:
        """Prepare a change set; for `CREATE` the stack is `REVIEW_IN_PROGRESS` until it is executed."""
        creation_order(request.template)
        if kind == "CREATE":
            stack = self._engine.live(stack_name)
            if stack is not None and stack.status != "REVIEW_IN_PROGRESS":
                raise ValidationError(
                    f"Stack [{stack_name}] already exists and cannot be created again with the changeSet."
                )
            if stack is None:
                stack = self._engine.new_stack(stack_name, request, "REVIEW_IN_PROGRESS")
                stack.record("REVIEW_IN_PROGRESS", "User Initiated")
        elif kind == "UPDATE":
            stack = self._engine.find(stack_name)
            self._engine.refuse_update_of(stack)
        else:
            raise ValidationError(f"The embedded AWS has no change sets of type {kind}")
        if any(one.name == name and one.stack is stack for one in self._sets.values()):
            raise AlreadyExists(f"ChangeSet {name} already exists")
        same = kind == "UPDATE" and request.asks_for_the_same(stack.request)
        account = self._engine.account
        made = ChangeSet(
            change_set_id=f"arn:aws:cloudformation:{account.region}:{account.account_id}:changeSet/{name}/{uuid.uuid4()}",
            name=name,
            kind=kind,
            stack=stack,
            request=request,
            changes=_changes(stack.request if kind == "UPDATE" else None, request, stack.resources),
            status="FAILED" if same else "CREATE_COMPLETE",
            execution_status="UNAVAILABLE" if same else "AVAILABLE",
            reason=NOTHING_CHANGED if same else None,
            description=extra.get("description"),
            on_stack_failure=extra.get("on_stack_failure"),
        )
        self._sets[made.change_set_id] = made
        return made

    def find(self, name_or_id: str, stack_name: str | None) -> ChangeSet:
        """By ARN, or by name and stack; raises `ChangeSetNotFound`."""
        if name_or_id in self._sets:
            return self._sets[name_or_id]
        for one in self._sets.values():
            if one.name == name_or_id and stack_name in (one.stack.name, one.stack.stack_id):
                return one
        raise ChangeSetNotFound(f"ChangeSet [{name_or_id}] does not exist")

    def of(self, stack_name: str) -> list[ChangeSet]:
        """All change sets of a stack."""
        stack = self._engine.find(stack_name)
        return [one for one in self._sets.values() if one.stack is stack]

    def delete(self, name_or_id: str, stack_name: str | None) -> None:
        """Throw one away; one that is gone already is fine."""
        try:
            self._sets.pop(self.find(name_or_id, stack_name).change_set_id)
        except ChangeSetNotFound:
            return

    def execute(self, name_or_id: str, stack_name: str | None, *, disable_rollback: bool) -> None:
        """Begin to do what the change set says; the stack's other change sets are thrown away, as in CloudFormation."""
        chosen = self.find(name_or_id, stack_name)
        if chosen.execution_status != "AVAILABLE":
            raise ValidationError(
                f"ChangeSet [{chosen.change_set_id}] cannot be executed in its current status of [{chosen.status}]"
            )
        stack = chosen.stack
        stack.on_failure = "DO_NOTHING" if disable_rollback else chosen.on_stack_failure or "ROLLBACK"
        if chosen.kind == "CREATE":
            self._engine.begin_creation(stack, chosen.request)
        else:
            self._engine.begin_update(stack, chosen.request)
        stack.change_set_id = chosen.change_set_id
        chosen.execution_status = "EXECUTE_COMPLETE"
        self._sets = {key: one for key, one in self._sets.items() if one.stack is not stack or one is chosen}


def _changes(before: Request | None, after: Request, existing: Any) -> list[dict[str, Any]]:
    old = {} if before is None else before.template["Resources"]
    new = after.template["Resources"]
    parameters = {} if before is None else before.parameters
    altered = {name for name in {*parameters, *after.parameters} if parameters.get(name) != after.parameters.get(name)}
    changes = []
    for name in [*new, *(gone for gone in old if gone not in new)]:
        definition = new.get(name) or old[name]
        record = existing.get(name)
        change: dict[str, Any] = {"LogicalResourceId": name, "ResourceType": definition["Type"]}
        if record is not None:
            change["PhysicalResourceId"] = record.physical_id
        if name not in old:
            change["Action"] = "Add"
        elif name not in new:
            change["Action"] = "Remove"
        elif old[name] != new[name] or altered & set(names_in(new[name].get("Properties") or {})):
            replaced = type(provider_for(definition["Type"])).update is Provider.update
            change |= {
                "Action": "Modify",
                "Replacement": "True" if replaced else "Conditional",
                "Scope": ["Properties"],
            }
            change["Details"] = [
                {
                    "Target": {"Attribute": "Properties", "Name": key, "RequiresRecreation": "Conditionally"},
                    "Evaluation": "Static",
                    "ChangeSource": "DirectModification",
                }
                for key in sorted(_altered_properties(old[name], new[name]))
            ]
        else:
            continue
        changes.append({"Type": "Resource", "ResourceChange": change})
    return changes


def _altered_properties(old: dict[str, Any], new: dict[str, Any]) -> set[str]:
    before, after = old.get("Properties") or {}, new.get("Properties") or {}
    return {key for key in {*before, *after} if before.get(key) != after.get(key)}
