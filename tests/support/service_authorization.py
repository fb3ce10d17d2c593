"""Which IAM actions there are, and which of them can be narrowed to resources: AWS's own list, as cfn-lint ships it.

Source: Service Authorization Reference, table "Actions", column "Resource types".
"""

import json
from functools import cache
from importlib.resources import files
from typing import Any


@cache
def _services() -> dict[str, Any]:
    text = files("cfnlint.data.AdditionalSpecs").joinpath("Policies.json").read_text(encoding="utf-8")
    services: dict[str, Any] = json.loads(text)
    return services


def exists(action: str) -> bool:
    """Whether AWS has such an action (``s3:GetObject``)."""
    service, _, name = action.partition(":")
    return name.lower() in _services().get(service, {}).get("Actions", {})


def resource_types(action: str) -> list[str]:
    """The types of resource that the action can be narrowed to; empty where it takes ``*`` alone."""
    service, _, name = action.partition(":")
    return list(_services()[service]["Actions"][name.lower()].get("Resources", []))
