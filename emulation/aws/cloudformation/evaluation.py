"""Intrinsic functions, conditions and dynamic references of one template in one stack."""

from __future__ import annotations

import base64
import ipaddress
import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from emulation.aws.cloudformation.errors import ValidationError
from emulation.aws.cloudformation.references import SUBSTITUTION

NO_VALUE = object()  # AWS::NoValue: the property is left out
_DYNAMIC = re.compile(r"\{\{resolve:(ssm|ssm-secure|secretsmanager):([^}]+)\}\}")


class Surroundings(Protocol):
    """What evaluation asks of the account."""

    def zones(self, region: str) -> list[str]:
        """Names of the availability zones."""

    def stored_parameter(self, name: str) -> str:
        """A value of Parameter Store."""

    def secret(self, reference: str) -> str:
        """The value behind `{{resolve:secretsmanager:reference}}`."""

    def exported(self, name: str) -> str:
        """The value of an export."""


class Evaluation:
    """Evaluates parts of `template`; `resource` answers `(logical id, attribute or None)` for Ref and GetAtt."""

    def __init__(
        self,
        template: Mapping[str, Any],
        parameters: Mapping[str, Any],
        pseudo: Mapping[str, Any],
        surroundings: Surroundings,
        resource: Callable[[str, str | None], Any],
    ) -> None:
        self._template = template
        self._names = {**parameters, **pseudo, "AWS::NoValue": NO_VALUE}
        self._region = str(pseudo["AWS::Region"])
        self._surroundings = surroundings
        self._resource = resource
        self._conditions: dict[str, bool] = {}

    def condition(self, name: str) -> bool:
        """Whether the named condition holds."""
        if name not in self._conditions:
            definitions = self._template.get("Conditions") or {}
            if name not in definitions:
                raise ValidationError(f"Template format error: Unresolved condition dependency {name}")
            self._conditions[name] = self._truth(definitions[name])
        return self._conditions[name]

    def applies(self, item: Mapping[str, Any]) -> bool:
        """Whether a resource or an output is there, by its own `Condition`."""
        return "Condition" not in item or self.condition(item["Condition"])

    def value(self, node: Any) -> Any:
        """`node` with every function evaluated; members that are `AWS::NoValue` are left out."""
        if isinstance(node, str):
            return _DYNAMIC.sub(self._dynamic, node)
        if isinstance(node, list):
            return [item for item in map(self.value, node) if item is not NO_VALUE]
        if not isinstance(node, dict):
            return node
        if len(node) == 1:
            (name, argument), *_ = node.items()
            if name == "Ref":
                return self._reference(argument)
            if name.startswith("Fn::"):
                return self._function(name.removeprefix("Fn::"), argument)
        evaluated = {key: self.value(inner) for key, inner in node.items()}
        return {key: inner for key, inner in evaluated.items() if inner is not NO_VALUE}

    # -------------------------------------------------------------- internals
    def _truth(self, node: Any) -> bool:
        if isinstance(node, dict) and len(node) == 1:
            (name, argument), *_ = node.items()
            if name == "Condition":
                return self.condition(argument)
            if name == "Fn::Equals":
                left, right = (self.value(item) for item in argument)
                return bool(str(left) == str(right))
            if name == "Fn::Not":
                return not self._truth(argument[0])
            if name == "Fn::And":
                return all(self._truth(item) for item in argument)
            if name == "Fn::Or":
                return any(self._truth(item) for item in argument)
        raise ValidationError(f"Template error: {json.dumps(node)} is not a condition")

    def _reference(self, name: str) -> Any:
        return self._names[name] if name in self._names else self._resource(name, None)

    def _attribute(self, target: Any) -> Any:
        name, attribute = target.split(".", 1) if isinstance(target, str) else (target[0], self.value(target[1]))
        return self._resource(name, attribute)

    def _function(self, name: str, argument: Any) -> Any:
        if name == "GetAtt":
            return self._attribute(argument)
        if name == "If":
            return self.value(argument[1] if self.condition(argument[0]) else argument[2])
        if name == "Sub":
            return self._substitute(argument)
        if name in ("Equals", "Not", "And", "Or"):
            return self._truth({f"Fn::{name}": argument})
        functions: dict[str, Callable[[Any], Any]] = {
            "Base64": lambda text: base64.b64encode(text.encode()).decode(),
            "Cidr": _cidr,
            "FindInMap": self._find,
            "GetAZs": lambda region: self._surroundings.zones(region or self._region),
            "ImportValue": self._surroundings.exported,
            "Join": lambda both: both[0].join(str(item) for item in both[1]),
            "Select": _select,
            "Split": lambda both: both[1].split(both[0]),
            "ToJsonString": lambda inner: json.dumps(inner, separators=(",", ":")),
            "Length": len,
        }
        if name not in functions:
            raise ValidationError(f"Template error: the embedded AWS has no function Fn::{name}")
        return functions[name](self.value(argument))

    def _find(self, path: list[Any]) -> Any:
        found: Any = self._template.get("Mappings") or {}
        for step in path[:3]:
            if str(step) not in found:
                if len(path) > 3 and "DefaultValue" in path[3]:
                    return path[3]["DefaultValue"]
                raise ValidationError(f"Template error: Unable to get mapping for {'::'.join(map(str, path[:3]))}")
            found = found[str(step)]
        return found

    def _substitute(self, argument: Any) -> str:
        text, own = (argument[0], self.value(argument[1])) if isinstance(argument, list) else (argument, {})

        def replacement(match: re.Match[str]) -> str:
            name = match.group(1).strip()
            if name in own:
                return str(own[name])
            return str(self._attribute(name) if "." in name else self._reference(name))

        return SUBSTITUTION.sub(replacement, text).replace("${!", "${")

    def _dynamic(self, match: re.Match[str]) -> str:
        kind, reference = match.groups()
        if kind == "secretsmanager":
            return self._surroundings.secret(reference)
        return self._surroundings.stored_parameter(reference)


def _select(both: Any) -> Any:
    index, items = int(both[0]), both[1]
    if not 0 <= index < len(items):
        raise ValidationError("Template error: Fn::Select cannot select nonexistent value at index " + str(index))
    return items[index]


def _cidr(arguments: Any) -> list[str]:
    block, count, bits = ipaddress.ip_network(arguments[0]), int(arguments[1]), int(arguments[2])
    subnets = block.subnets(new_prefix=block.max_prefixlen - bits)
    return [str(next(subnets)) for _ in range(count)]
