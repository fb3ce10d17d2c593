"""Fits CloudFormation properties to an API's input: spelling, scalar types, and no unknown members."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from botocore.model import ListShape, MapShape, Shape, StructureShape

from emulation.aws.cloudformation.errors import ResourceFailed


def fit(shape: Shape | None, value: Any, path: str = "") -> Any:
    """`value` as `shape` wants it.

    Templates carry numbers and booleans as text where a reference produced them, and write `ContainerDefinitions` where
    some APIs say `containerDefinitions`. A member that the API does not have raises `ResourceFailed`.
    """
    if isinstance(shape, StructureShape):
        if not isinstance(value, Mapping):
            raise ResourceFailed(f"Model validation failed (#{path}: expected type: JSONObject, found: {value!r})")
        fitted: dict[str, Any] = {}
        for name, inner in value.items():
            member = _member(shape, name)
            if member is None:
                raise ResourceFailed(f"Encountered unsupported property {f'{path}/{name}'.lstrip('/')}")
            fitted[member] = fit(shape.members[member], inner, f"{path}/{name}")
        return fitted
    if isinstance(shape, ListShape):
        items = value if isinstance(value, list) else [value]
        return [fit(shape.member, item, f"{path}/{index}") for index, item in enumerate(items)]
    if isinstance(shape, MapShape):
        return {str(key): fit(shape.value, inner, f"{path}/{key}") for key, inner in value.items()}
    return _scalar(shape, value, path)


def _member(shape: StructureShape, name: str) -> str | None:
    if name in shape.members:
        return name
    lowered = name.lower()
    return next((member for member in shape.members if member.lower() == lowered), None)


def _scalar(shape: Shape | None, value: Any, path: str) -> Any:
    kind = shape.type_name if shape is not None else ""
    try:
        if kind in ("integer", "long"):
            return int(value)
        if kind in ("float", "double"):
            return float(value)
    except (TypeError, ValueError) as error:
        raise ResourceFailed(f"Model validation failed (#{path}: expected type: Number, found: {value!r})") from error
    if kind == "boolean" and isinstance(value, str):
        if value.lower() not in ("true", "false"):
            raise ResourceFailed(f"Model validation failed (#{path}: expected type: Boolean, found: {value!r})")
        return value.lower() == "true"
    if kind == "string" and not isinstance(value, str):
        if isinstance(value, bool):
            return str(value).lower()
        return json.dumps(value) if isinstance(value, dict | list) else str(value)
    return value
