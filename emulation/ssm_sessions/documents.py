"""Documents as Systems Manager reads them: parameters are validated before any host hears of them.

Source: Systems Manager user guide, "Data elements and parameters" and "Session document schema".
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from emulation.ssm_sessions.errors import SsmError

_REFERENCE = re.compile(r"\{\{\s*(?P<name>[A-Za-z0-9_]+)\s*\}\}")


@dataclass(frozen=True)
class ShellStep:
    """A step aws:runShellScript with its parameters filled in."""

    name: str
    script: str
    timeout_seconds: float


@dataclass(frozen=True)
class SessionPlan:
    """What a session document asks for: ``InteractiveCommands`` with a command line, or ``Port``."""

    kind: str
    properties: Mapping[str, Any]


def command_steps(content: str, given: Mapping[str, Sequence[str]]) -> list[ShellStep]:
    """The steps of a command document (schema 2.2). Raises SsmError."""
    document = json.loads(content)
    if document.get("schemaVersion") != "2.2":
        raise SsmError("InvalidDocument", "a command document of schema 2.2 is needed here")
    values = parameters(document.get("parameters", {}), given)
    steps = []
    for step in document["mainSteps"]:
        if step["action"] != "aws:runShellScript":
            raise SsmError("UnsupportedPlatformType", f"{step['action']} is not emulated")
        inputs = step["inputs"]
        lines = [filled(line, values) for line in inputs["runCommand"]]
        steps.append(ShellStep(step["name"], "\n".join(lines), float(inputs.get("timeoutSeconds", 3600))))
    return steps


def session_plan(content: str, given: Mapping[str, Sequence[str]]) -> SessionPlan:
    """What a session document (schema 1.0) asks for. Raises SsmError."""
    document = json.loads(content)
    if document.get("schemaVersion") != "1.0":
        raise SsmError("InvalidDocument", "a session document of schema 1.0 is needed here")
    values = parameters(document.get("parameters", {}), given)
    kind, properties = document["sessionType"], document.get("properties", {})
    if kind == "Port":
        return SessionPlan(kind, {key: filled(value, values) for key, value in properties.items()})
    if kind == "InteractiveCommands":
        linux = properties["linux"]
        return SessionPlan(
            kind,
            {"commands": filled(linux["commands"], values), "runAsElevated": bool(linux.get("runAsElevated", False))},
        )
    raise SsmError("InvalidDocument", f"sessions of type {kind} are not emulated")


def parameters(declared: Mapping[str, Any], given: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """The values of a document's parameters. Raises SsmError for one that is unknown, missing or not allowed."""
    unknown = sorted(set(given) - set(declared))
    if unknown:
        raise SsmError("InvalidParameters", f"Parameter {unknown[0]} is not defined in the document")
    values = {}
    for name, declaration in declared.items():
        if declaration["type"] != "String":
            raise SsmError("InvalidParameters", f"parameters of type {declaration['type']} are not emulated")
        if name in given:
            if not isinstance(given[name], list) or len(given[name]) != 1 or not isinstance(given[name][0], str):
                raise SsmError("InvalidParameters", f"Parameter {name} takes one value")
            value = given[name][0]
        elif "default" in declaration:
            value = declaration["default"]
        else:
            raise SsmError("InvalidParameters", f"Parameter {name} is missing")
        pattern, allowed = declaration.get("allowedPattern"), declaration.get("allowedValues")
        # `$` in Python also matches before a last line feed; SSM's pattern is Java's.
        if pattern is not None and not re.search(re.sub(r"\$$", r"\\Z", pattern), value):
            raise SsmError("InvalidParameters", f"Parameter {name} does not match the allowed pattern {pattern}")
        if allowed is not None and value not in allowed:
            raise SsmError("InvalidParameters", f"Parameter {name} is none of {', '.join(allowed)}")
        values[name] = value
    return values


def filled(text: str, values: Mapping[str, str]) -> str:
    """The text with ``{{ name }}`` replaced, as it is: SSM quotes nothing."""
    return _REFERENCE.sub(lambda found: values.get(found["name"], found[0]), text)
