"""Decides as IAM does whether policies let a request through, so that tests ask who may do what, not how it is written.

Source: IAM user guide, "Policy evaluation logic", "JSON policy elements" and "Condition operators". It covers identity
policies and a permissions boundary in one account; what it does not know it refuses with MalformedPolicyError.
"""

import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Any

PolicyDocument = Mapping[str, Any]
ContextValue = str | bool | int | Sequence[str]

# Keys that a resource policy's statement has beside those of an identity policy.
_PRINCIPALS = {"Principal", "NotPrincipal"}
_ELEMENTS = {"Sid", "Effect", "Action", "NotAction", "Resource", "NotResource", "Condition"}
_VARIABLE = re.compile(r"\$\{([^},]+?)(?:\s*,\s*'([^']*)')?\}")
_ARN_SEGMENTS = 6


class MalformedPolicyError(ValueError):
    """A policy or request that AWS would refuse, or that this evaluation does not know."""


class Decision(Enum):
    """What became of a request."""

    ALLOWED = "allowed"
    IMPLICITLY_DENIED = "nothing allows it"
    EXPLICITLY_DENIED = "explicitly denied"


@dataclass(frozen=True)
class Request:
    """One check that AWS makes; a call on two resources, such as SendCommand, is two of them.

    ``context`` holds condition keys with their values; a list where a key has several values.
    """

    action: str
    resource: str
    context: Mapping[str, ContextValue] = field(default_factory=dict)


def evaluate(
    policies: Iterable[PolicyDocument], request: Request, boundary: Iterable[PolicyDocument] | None = None
) -> Decision:
    """The decision on a request of a principal with these identity policies, under this boundary if there is one."""
    decision = _decide(policies, request)
    if boundary is None or decision is Decision.EXPLICITLY_DENIED:
        return decision
    bounded = _decide(boundary, request)
    if bounded is Decision.EXPLICITLY_DENIED:
        return bounded
    return decision if bounded is Decision.ALLOWED else Decision.IMPLICITLY_DENIED


def evaluate_resource_policy(policy: PolicyDocument, principal_arn: str, request: Request) -> Decision:
    """What a resource's own policy says to that principal (``arn:aws:iam::111122223333:role/x``).

    ``{"AWS": "arn:…:root"}`` and an account's id mean every principal of the account here; that such a statement only
    lets the account's IAM policies decide is for the caller to look at (`names_principal`).
    """
    context = {**request.context, "aws:PrincipalArn": principal_arn}
    aimed = [each for each in _as_list(policy["Statement"]) if _is_aimed_at(each, principal_arn)]
    plain = [{key: value for key, value in each.items() if key not in _PRINCIPALS} for each in aimed]
    return _decide([{"Statement": plain}], Request(request.action, request.resource, context))


def names_principal(policy: PolicyDocument, principal_arn: str, request: Request) -> bool:
    """Whether a statement that allows the request names the principal itself or everyone, not just its account.

    Only then does the resource's policy suffice without an IAM policy of the principal's own.
    """
    direct = [
        each
        for each in _as_list(policy["Statement"])
        if each["Effect"] == "Deny" or {"*", principal_arn} & set(_named(each.get("Principal", {})))
    ]
    return evaluate_resource_policy({"Statement": direct}, principal_arn, request) is Decision.ALLOWED


def _is_aimed_at(statement: Mapping[str, Any], principal_arn: str) -> bool:
    if "NotPrincipal" in statement:
        raise MalformedPolicyError("NotPrincipal is not evaluated here")
    account = principal_arn.split(":")[4]
    named = set(_named(statement["Principal"]))
    return bool(named & {"*", principal_arn, account, f"arn:aws:iam::{account}:root"})


def _named(principal: Any) -> list[str]:
    if isinstance(principal, str):
        return [principal]
    return [str(each) for each in _as_list(principal.get("AWS", []))]


def is_allowed(policies: Iterable[PolicyDocument], *requests: Request) -> bool:
    """Whether every one of the requests is allowed."""
    documents = list(policies)
    return all(evaluate(documents, request) is Decision.ALLOWED for request in requests)


def _decide(policies: Iterable[PolicyDocument], request: Request) -> Decision:
    allowed = False
    for policy in policies:
        for statement in _as_list(policy["Statement"]):
            if not _applies(statement, request):
                continue
            if statement["Effect"] == "Deny":
                return Decision.EXPLICITLY_DENIED
            allowed = True
    return Decision.ALLOWED if allowed else Decision.IMPLICITLY_DENIED


def _applies(statement: Mapping[str, Any], request: Request) -> bool:
    _check(statement)
    # Both are looked at even where one decides, so that a malformed pattern never hides behind another.
    action = _action_matches(statement, request.action)
    resource = _resource_matches(statement, request)
    condition = all(
        _condition_holds(operator, key, values, request.context)
        for operator, block in statement.get("Condition", {}).items()
        for key, values in block.items()
    )
    return action and resource and condition


def _check(statement: Mapping[str, Any]) -> None:
    unknown = set(statement) - _ELEMENTS
    if unknown:
        raise MalformedPolicyError(f"unknown elements {sorted(unknown)} in {statement}")
    if statement.get("Effect") not in ("Allow", "Deny"):
        raise MalformedPolicyError(f"no effect in {statement}")
    for one, other in (("Action", "NotAction"), ("Resource", "NotResource")):
        if (one in statement) == (other in statement):
            raise MalformedPolicyError(f"exactly one of {one} and {other} must stand in {statement}")


def _action_matches(statement: Mapping[str, Any], action: str) -> bool:
    patterns = _as_list(statement.get("Action", statement.get("NotAction")))
    for pattern in patterns:
        if pattern != "*" and not re.fullmatch(r"[a-z0-9-]+:[A-Za-z0-9*?]+", pattern):
            raise MalformedPolicyError(f"{pattern} is not an action")
    found = any(_glob(pattern.lower(), action.lower()) for pattern in patterns)
    return found if "Action" in statement else not found


def _resource_matches(statement: Mapping[str, Any], request: Request) -> bool:
    patterns = _as_list(statement.get("Resource", statement.get("NotResource")))
    found = any(
        _arn_matches(substituted, request.resource)
        for pattern in patterns
        if (substituted := _substituted(pattern, request.context)) is not None
    )
    return found if "Resource" in statement else not found


def _arn_matches(pattern: str, resource: str) -> bool:
    """Segment by segment: a wildcard does not reach over a colon, but in the last segment."""
    if pattern == "*":
        return True
    wanted, given = pattern.split(":", _ARN_SEGMENTS - 1), resource.split(":", _ARN_SEGMENTS - 1)
    if len(wanted) != _ARN_SEGMENTS or wanted[0] != "arn":
        raise MalformedPolicyError(f"{pattern} is not an ARN")
    return len(given) == _ARN_SEGMENTS and all(_glob(*pair) for pair in zip(wanted, given, strict=True))


def _substituted(pattern: str, context: Mapping[str, ContextValue]) -> str | None:
    """The pattern with its policy variables, or None where one has no value: then it matches nothing."""
    values = {key.lower(): value for key, value in context.items()}
    missing = False

    def value_of(match: re.Match[str]) -> str:
        nonlocal missing
        name, default = match.group(1), match.group(2)
        if name in ("*", "?", "$"):
            return _LITERAL[name]
        value = values.get(name.lower(), default)
        if value is None:
            missing = True
            return ""
        # What a variable brings in is never a wildcard.
        return "".join(_LITERAL.get(character, character) for character in str(value))

    result = _VARIABLE.sub(value_of, pattern)
    return None if missing else result


# Characters that must not act as wildcards while patterns are matched.
_LITERAL = {"*": "\ue000", "?": "\ue001", "$": "\ue002"}
_UNLITERAL = {stand_in: character for character, stand_in in _LITERAL.items()}


def _glob(pattern: str, value: str) -> bool:
    expression = "".join(
        ".*" if character == "*" else "." if character == "?" else re.escape(_UNLITERAL.get(character, character))
        for character in pattern
    )
    return re.fullmatch(expression, value, re.DOTALL) is not None


def _plain(pattern: str) -> str:
    return "".join(_UNLITERAL.get(character, character) for character in pattern)


def _condition_holds(operator: str, key: str, values: Any, context: Mapping[str, ContextValue]) -> bool:
    wanted = [_bool_text(value) for value in _as_list(values)]
    given = next((value for name, value in context.items() if name.lower() == key.lower()), None)
    if operator == "Null":
        return wanted == ["true" if given is None else "false"]
    quantifier, _, rest = operator.rpartition(":")
    name = rest.removesuffix("IfExists")
    if name not in _OPERATORS or quantifier not in ("", "ForAllValues", "ForAnyValue"):
        raise MalformedPolicyError(f"condition operator {operator} is not known")
    negated, compare = _OPERATORS[name]
    if given is None:
        if quantifier:
            return quantifier == "ForAllValues"
        return negated or rest.endswith("IfExists")
    several = [_bool_text(value) for value in given] if isinstance(given, (list, tuple)) else [_bool_text(given)]
    if not quantifier and len(several) != 1:
        raise MalformedPolicyError(f"{key} has several values: {operator} needs ForAllValues or ForAnyValue")
    patterns = [pattern for each in wanted if (pattern := _substituted(each, context)) is not None]

    def holds(value: str) -> bool:
        return any(compare(pattern, value) for pattern in patterns) != negated

    return any(map(holds, several)) if quantifier == "ForAnyValue" else all(map(holds, several))


def _bool_text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _equal(pattern: str, value: str) -> bool:
    return _plain(pattern) == value


def _equal_ignoring_case(pattern: str, value: str) -> bool:
    return _plain(pattern).lower() == value.lower()


def _numeric(compare: Callable[[float, float], bool]) -> Callable[[str, str], bool]:
    return lambda pattern, value: compare(float(value), float(pattern))


def _date(compare: Callable[[datetime, datetime], bool]) -> Callable[[str, str], bool]:
    return lambda pattern, value: compare(datetime.fromisoformat(value), datetime.fromisoformat(pattern))


def _in_network(pattern: str, value: str) -> bool:
    return ipaddress.ip_address(value) in ipaddress.ip_network(pattern, strict=False)


#: By name: whether it is the negated form, and how the positive form compares policy and request.
_OPERATORS: dict[str, tuple[bool, Callable[[str, str], bool]]] = {
    "StringEquals": (False, _equal),
    "StringNotEquals": (True, _equal),
    "StringEqualsIgnoreCase": (False, _equal_ignoring_case),
    "StringNotEqualsIgnoreCase": (True, _equal_ignoring_case),
    "StringLike": (False, _glob),
    "StringNotLike": (True, _glob),
    # ArnEquals and ArnLike behave identically.
    "ArnEquals": (False, _arn_matches),
    "ArnLike": (False, _arn_matches),
    "ArnNotEquals": (True, _arn_matches),
    "ArnNotLike": (True, _arn_matches),
    "Bool": (False, _equal_ignoring_case),
    "NumericEquals": (False, _numeric(lambda value, limit: value == limit)),
    "NumericNotEquals": (True, _numeric(lambda value, limit: value == limit)),
    "NumericLessThan": (False, _numeric(lambda value, limit: value < limit)),
    "NumericLessThanEquals": (False, _numeric(lambda value, limit: value <= limit)),
    "NumericGreaterThan": (False, _numeric(lambda value, limit: value > limit)),
    "NumericGreaterThanEquals": (False, _numeric(lambda value, limit: value >= limit)),
    "DateLessThan": (False, _date(lambda value, limit: value < limit)),
    "DateGreaterThan": (False, _date(lambda value, limit: value > limit)),
    "IpAddress": (False, _in_network),
    "NotIpAddress": (True, _in_network),
}


def _as_list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else [value]
