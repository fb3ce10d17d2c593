"""The values of a template's parameters: given, default, or looked up in Parameter Store."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from emulation.aws.cloudformation.errors import ValidationError


def resolve_parameters(
    template: Mapping[str, Any], given: Mapping[str, str], stored: Callable[[str], str]
) -> dict[str, Any]:
    """Parameter → value, lists split; `stored` reads Parameter Store. Raises `ValidationError`."""
    declared: Mapping[str, Any] = template.get("Parameters") or {}
    unknown = sorted(set(given) - set(declared))
    if unknown:
        raise ValidationError(f"Parameters: [{', '.join(unknown)}] do not exist in the template")
    missing = [name for name, rule in declared.items() if name not in given and "Default" not in rule]
    if missing:
        raise ValidationError(f"Parameters: [{', '.join(missing)}] must have values")
    values: dict[str, Any] = {}
    for name, rule in declared.items():
        text = str(given.get(name, rule.get("Default")))
        _check(name, text, rule)
        kind = str(rule.get("Type", "String"))
        if kind.startswith("AWS::SSM::Parameter::Value<"):
            text, kind = stored(text), kind.removeprefix("AWS::SSM::Parameter::Value<").removesuffix(">")
        is_list = kind == "CommaDelimitedList" or kind.startswith("List<")
        values[name] = [part.strip() for part in text.split(",")] if is_list else text
    return values


def _check(name: str, text: str, rule: Mapping[str, Any]) -> None:
    allowed = [str(value) for value in rule.get("AllowedValues") or []]
    if allowed and text not in allowed:
        raise ValidationError(f"Parameter '{name}' must be one of AllowedValues")
    pattern = rule.get("AllowedPattern")
    if pattern and not re.fullmatch(pattern, text):
        why = rule.get("ConstraintDescription") or f"Parameter {name} failed to satisfy constraint: {pattern}"
        raise ValidationError(f"Parameter '{name}' must match pattern {pattern}: {why}")
