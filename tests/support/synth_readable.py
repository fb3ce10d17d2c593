"""Templates as a reviewer reads them: references inline, user data as lines, nothing that changes without a reason."""

import re
from collections.abc import Mapping
from typing import Any

_ASSET_HASH = re.compile(r"\b[0-9a-f]{64}\b")
_ACCOUNT = re.compile(r"(?<![0-9A-Za-z])[0-9]{12}(?![0-9A-Za-z])")

#: What the CDK adds to every template, and says nothing about ours.
_BOILERPLATE = (("Parameters", "BootstrapVersion"), ("Rules", "CheckBootstrapVersion"), ("Resources", "CDKMetadata"))


def readable(template: Mapping[str, Any]) -> dict[str, Any]:
    """The template, normalised for a snapshot.

    References read as in ``Fn::Sub`` (``${Bucket.Arn}``), user data is one text without comments, asset hashes
    and account numbers are replaced, the CDK's own parameters, rules and metadata are left out.
    """
    result: dict[str, Any] = {}
    for section, content in template.items():
        kept = (
            {key: value for key, value in content.items() if (section, key) not in _BOILERPLATE}
            if isinstance(content, dict)
            else content
        )
        if kept:
            result[section] = _normalised(kept)
    return result


def text(value: Any) -> str:
    """A CloudFormation string expression as one string, with references as ``${Name}`` or ``${Name.Attribute}``."""
    if isinstance(value, str):
        return value
    if isinstance(value, (bool, int, float)):
        return str(value)
    if isinstance(value, dict) and len(value) == 1:
        function, argument = next(iter(value.items()))
        if function == "Ref":
            return f"${{{argument}}}"
        if function == "Fn::GetAtt":
            return f"${{{argument if isinstance(argument, str) else '.'.join(map(text, argument))}}}"
        if function == "Fn::ImportValue":
            return f"${{import {text(argument)}}}"
        if function == "Fn::Sub" and isinstance(argument, str):
            return argument
        if function == "Fn::Base64":
            return text(argument)
        if function == "Fn::Join" and isinstance(argument[1], list):
            return str(argument[0]).join(map(text, argument[1]))
        if function in ("Fn::Select", "Fn::Split", "Fn::GetAZs"):
            return f"${{{function.removeprefix('Fn::')} {_inline(argument)}}}"
    raise TypeError(f"not a string expression: {value!r}")


def user_data_lines(value: Any) -> list[str]:
    """User data as lines without indentation changes, blank lines or comments (the first line's `#!` stays)."""
    lines = text(value).splitlines()
    return [
        line for number, line in enumerate(lines) if line.strip() and (number == 0 or not line.lstrip().startswith("#"))
    ]


def _inline(argument: Any) -> str:
    if isinstance(argument, list):
        return ", ".join(_inline(part) for part in argument)
    return text(argument) or "''"


def _normalised(value: Any, key: str = "") -> Any:
    if key == "UserData":
        return "".join(f"{_without_hashes(line)}\n" for line in user_data_lines(value))
    if isinstance(value, dict):
        if len(value) == 1 and next(iter(value)).startswith(("Fn::", "Ref")):
            try:
                return _without_hashes(text(value))
            except TypeError:
                pass  # a function that yields no string, such as a condition: shown as it is
        return {_without_hashes(name): _normalised(inner, name) for name, inner in value.items()}
    if isinstance(value, list):
        return [_normalised(inner) for inner in value]
    return _without_hashes(value) if isinstance(value, str) else value


def _without_hashes(line: str) -> str:
    return _ACCOUNT.sub("<account>", _ASSET_HASH.sub("<asset>", line))
