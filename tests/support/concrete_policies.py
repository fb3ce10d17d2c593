"""Policies out of templates as IAM would get them, so that `emulation.aws.iam_evaluation` can judge them."""

import re
from collections.abc import Mapping
from typing import Any

from emulation.aws.iam_evaluation import MalformedPolicyError
from tests.support.synth_readable import text

_REFERENCE = re.compile(r"\$\{([A-Za-z0-9]+(?:::[A-Za-z0-9]+)?(?:\.[A-Za-z0-9.]+)?)\}")


def concrete(value: Any, references: Mapping[str, str]) -> Any:
    """A policy out of a template with its CloudFormation references filled in (``AWS::Region``, ``Bucket.Arn``).

    IAM's own variables (``${aws:userid}``) stay. Raises MalformedPolicyError for a reference that is not given.
    """
    if isinstance(value, list):
        return [concrete(each, references) for each in value]
    if isinstance(value, dict):
        if len(value) == 1 and next(iter(value)) in ("Ref", "Fn::Join", "Fn::GetAtt", "Fn::Sub", "Fn::ImportValue"):
            return _filled(text(value), references)
        return {key: concrete(each, references) for key, each in value.items()}
    return value


def _filled(expression: str, references: Mapping[str, str]) -> str:
    def value_of(match: re.Match[str]) -> str:
        if match.group(1) not in references:
            raise MalformedPolicyError(f"no value is given for the reference {match.group(1)} in {expression}")
        return references[match.group(1)]

    return _REFERENCE.sub(value_of, expression)
