"""What the engine remembers: stacks, their resources, events, outputs and change sets."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

_last_event = datetime.fromtimestamp(0, UTC)
_one_event_at_a_time = threading.Lock()


def now() -> datetime:
    """The time as the API gives it."""
    return datetime.now(UTC)


def _event_time() -> datetime:
    """A time of its own for every event: clients sort by it, to the millisecond."""
    global _last_event
    with _one_event_at_a_time:
        _last_event = max(now(), _last_event + timedelta(milliseconds=1))
        return _last_event


@dataclass
class ResourceRecord:
    """A resource that exists (or existed): what was asked for and what it became."""

    logical_id: str
    type: str
    definition: Mapping[str, Any]
    properties: dict[str, Any]
    needs: set[str]
    physical_id: str = ""
    attributes: dict[str, Any] = field(default_factory=dict)
    status: str = "CREATE_IN_PROGRESS"
    reason: str | None = None
    changed: datetime = field(default_factory=now)


@dataclass(frozen=True)
class Event:
    """One line of a stack's history."""

    stack_id: str
    stack_name: str
    logical_id: str
    physical_id: str
    type: str
    status: str
    reason: str | None
    properties: Mapping[str, Any] | None
    token: str | None
    event_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    timestamp: datetime = field(default_factory=_event_time)

    def as_answer(self) -> dict[str, Any]:
        """The shape of DescribeStackEvents."""
        return {
            "StackId": self.stack_id,
            "StackName": self.stack_name,
            "EventId": self.event_id,
            "LogicalResourceId": self.logical_id,
            "PhysicalResourceId": self.physical_id,
            "ResourceType": self.type,
            "ResourceStatus": self.status,
            "ResourceStatusReason": self.reason,
            "ResourceProperties": None if self.properties is None else json.dumps(self.properties),
            "Timestamp": self.timestamp,
            "ClientRequestToken": self.token,
        }


@dataclass(frozen=True)
class Output:
    """An output of a stack, exported under `export` if that is set."""

    key: str
    value: str
    description: str | None
    export: str | None


@dataclass(frozen=True)
class Request:
    """What a caller wants a stack to be."""

    template_text: str
    template: dict[str, Any]
    parameters: dict[str, str]
    tags: dict[str, str]
    capabilities: tuple[str, ...] = ()
    role_arn: str | None = None
    notification_arns: tuple[str, ...] = ()
    token: str | None = None

    def asks_for_the_same(self, other: Request) -> bool:
        """Whether nothing would change."""
        return (self.template, self.parameters, self.tags) == (other.template, other.parameters, other.tags)


@dataclass
class Stack:
    """A stack with its resources and its history, oldest event first."""

    stack_id: str
    name: str
    request: Request
    status: str
    on_failure: str = "ROLLBACK"
    termination_protection: bool = False
    policy: str | None = None
    reason: str | None = None
    created: datetime = field(default_factory=now)
    updated: datetime | None = None
    deleted: datetime | None = None
    change_set_id: str | None = None
    parameters: dict[str, Any] = field(default_factory=dict)
    resources: dict[str, ResourceRecord] = field(default_factory=dict)
    outputs: list[Output] = field(default_factory=list)
    imports: set[str] = field(default_factory=set)
    events: list[Event] = field(default_factory=list)

    @property
    def busy(self) -> bool:
        """Whether an operation is under way."""
        return self.status.endswith("_IN_PROGRESS") and self.status != "REVIEW_IN_PROGRESS"

    def record(self, status: str, reason: str | None = None) -> None:
        """Set the stack's own status, with an event."""
        self.status, self.reason = status, reason
        self._append(self.name, self.stack_id, "AWS::CloudFormation::Stack", status, reason, None)

    def record_resource(self, resource: ResourceRecord, status: str, reason: str | None = None) -> None:
        """Set a resource's status, with an event."""
        resource.status, resource.reason, resource.changed = status, reason, now()
        self._append(resource.logical_id, resource.physical_id, resource.type, status, reason, resource.properties)

    def _append(self, logical: str, physical: str, kind: str, status: str, reason: str | None, properties: Any) -> None:
        token = self.request.token
        self.events.append(Event(self.stack_id, self.name, logical, physical, kind, status, reason, properties, token))


@dataclass
class ChangeSet:
    """A change that was asked for and not (yet) made."""

    change_set_id: str
    name: str
    kind: str
    stack: Stack
    request: Request
    description: str | None
    changes: list[dict[str, Any]]
    status: str
    execution_status: str
    reason: str | None = None
    on_stack_failure: str | None = None
    created: datetime = field(default_factory=now)
