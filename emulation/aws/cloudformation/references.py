"""Which resources a template's resource refers to, and the order that follows from it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from emulation.aws.cloudformation.errors import ValidationError

SUBSTITUTION = re.compile(r"\$\{([^!${}][^{}]*)\}")


def names_in(value: Any) -> Iterator[str]:
    """Every logical name that `Ref`, `Fn::GetAtt` or `Fn::Sub` mention anywhere in `value`."""
    if isinstance(value, list):
        for item in value:
            yield from names_in(item)
    elif isinstance(value, dict):
        for key, inner in value.items():
            if key == "Ref" and isinstance(inner, str):
                yield inner
            elif key == "Fn::GetAtt":
                yield inner.split(".")[0] if isinstance(inner, str) else inner[0]
            elif key == "Fn::Sub":
                text, own = (inner[0], inner[1]) if isinstance(inner, list) else (inner, {})
                yield from names_in(own)
                yield from (name.split(".")[0].strip() for name in SUBSTITUTION.findall(text) if name not in own)
            else:
                yield from names_in(inner)


def dependencies(resource: Mapping[str, Any]) -> set[str]:
    """Logical names that `resource` needs first: references in its properties and its `DependsOn`."""
    explicit = resource.get("DependsOn") or []
    return {*names_in(resource.get("Properties") or {}), *([explicit] if isinstance(explicit, str) else explicit)}


def creation_order(template: Mapping[str, Any]) -> dict[str, set[str]]:
    """Resource → resources it needs, in an order that can be followed; raises `ValidationError` on gaps and circles."""
    resources = template["Resources"]
    known = {*resources, *(template.get("Parameters") or {})}
    needs: dict[str, set[str]] = {}
    for name, resource in resources.items():
        wanted = dependencies(resource)
        missing = sorted(item for item in wanted if item not in known and not item.startswith("AWS::"))
        if missing:
            raise ValidationError(
                f"Template format error: Unresolved resource dependencies [{', '.join(missing)}] "
                "in the Resources block of the template"
            )
        needs[name] = {item for item in wanted if item in resources}
    ordered: dict[str, set[str]] = {}
    while len(ordered) < len(needs):
        ready = [name for name in needs if name not in ordered and needs[name] <= ordered.keys()]
        if not ready:
            circle = ", ".join(name for name in needs if name not in ordered)
            raise ValidationError(f"Circular dependency between resources: [{circle}]")
        ordered.update({name: needs[name] for name in ready})
    return ordered
