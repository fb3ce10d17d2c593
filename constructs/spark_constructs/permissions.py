"""What a role or policy may do, each wildcard with the reason why it cannot be narrower beside it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from aws_cdk import Stack
from aws_cdk import aws_iam as iam
from constructs import IConstruct

from spark_constructs.acknowledgments import acknowledge

#: Rule of cdk-nag that wants a reason for every wildcard.
WILDCARD_RULE = "AwsSolutions-IAM5"

#: Why an action that takes no resource is allowed on ``*``.
NO_RESOURCE = "The action has no resource to name: AWS checks it against every resource or none."


class UnreasonedWildcardError(ValueError):
    """A permission with a wildcard that nobody gave a reason for."""


@dataclass(frozen=True)
class Permission:
    """One statement of a policy.

    ``wildcard`` says why a ``*`` in the resources cannot be narrower; actions are always written out.
    """

    sid: str
    actions: tuple[str, ...]
    resources: tuple[str, ...] = ()
    not_resources: tuple[str, ...] = ()
    conditions: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    allow: bool = True
    wildcard: str | None = None

    def statement(self) -> iam.PolicyStatement:
        """The statement as the CDK takes it."""
        return iam.PolicyStatement(
            sid=self.sid,
            effect=iam.Effect.ALLOW if self.allow else iam.Effect.DENY,
            actions=list(self.actions),
            resources=list(self.resources) or None,
            not_resources=list(self.not_resources) or None,
            conditions={operator: dict(values) for operator, values in self.conditions.items()} or None,
        )


def acknowledge_wildcards(construct: IConstruct, permissions: Iterable[Permission]) -> None:
    """Accept cdk-nag's finding for each wildcard resource of these permissions, on this construct, with its reason.

    Raises UnreasonedWildcardError where a permission has a wildcard and no reason, or a wildcard in an action.
    """
    reasons: dict[str, list[str]] = {}
    for permission in permissions:
        if not permission.allow:
            continue
        if any("*" in action for action in permission.actions):
            raise UnreasonedWildcardError(f"{permission.sid}: write the actions out")
        for resource in permission.resources:
            flat = flattened(Stack.of(construct).resolve(resource))
            if "*" not in flat:
                continue
            if permission.wildcard is None:
                raise UnreasonedWildcardError(f"{permission.sid}: say why {flat} cannot be narrower")
            reasons.setdefault(flat, []).append(f"{permission.sid}: {permission.wildcard}")
    for resource, why in reasons.items():
        acknowledge(construct, f"{WILDCARD_RULE}[Resource::{resource}]", " ".join(why))


def flattened(value: object) -> str:
    """A resolved CloudFormation value as cdk-nag prints it: references in angle brackets."""
    if isinstance(value, str):
        return value.replace("${", "<").replace("}", ">")
    if isinstance(value, dict) and len(value) == 1:
        (function, argument) = next(iter(value.items()))
        if function == "Fn::Join":
            delimiter, items = argument
            return str(delimiter).join(flattened(item) for item in items)
        if function in ("Fn::Sub", "Fn::ImportValue"):
            return flattened(argument)
        if function == "Fn::GetAtt":
            return "<" + ".".join(flattened(part) for part in argument) + ">"
        if function == "Ref":
            return f"<{flattened(argument)}>"
    raise TypeError(f"cannot tell how cdk-nag prints {value!r}")
