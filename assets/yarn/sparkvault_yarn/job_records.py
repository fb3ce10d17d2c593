"""A job's record as people see it, from one state to the next."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any


def now() -> str:
    """The time as records have it."""
    return datetime.now(timezone.utc).isoformat()


def with_state(record: Mapping[str, Any], state: str, **more: Any) -> dict[str, Any]:
    """The record in another state."""
    return {**record, "state": state, **more}


def first_record(asked: Mapping[str, Any]) -> dict[str, Any]:
    """The record of a job that has none that can be read."""
    return {"spec": dict(asked), "state": "submitted"}
