"""Accepts a cdk-nag finding on one construct, with the reason that makes it true.

There is no function for a whole stack or application: each acknowledgment is one decision about one resource.
"""

from aws_cdk import Acknowledgment, Stack, Stage, Validations
from constructs import IConstruct

#: A shorter reason explains nothing.
MIN_REASON_LENGTH = 40


class UnreasonedAcknowledgmentError(ValueError):
    """A finding was to be accepted without saying why, or for more than one resource."""


def acknowledge(construct: IConstruct, finding: str, reason: str) -> None:
    """Accept one cdk-nag finding on one construct.

    ``finding`` is a rule id, granular where the rule is: ``AwsSolutions-S1``, ``AwsSolutions-IAM5[Resource::*]``.
    Raises UnreasonedAcknowledgmentError where the reason is shorter than 40 characters, the finding is a
    pattern, or the construct is a stack or an application.
    """
    where = construct.node.path or "the application"
    if isinstance(construct, (Stack, Stage)):
        raise UnreasonedAcknowledgmentError(f"{finding} on {where}: acknowledge it on the one resource it is about")
    if "[*]" in finding or not finding.startswith("AwsSolutions-"):
        raise UnreasonedAcknowledgmentError(f"{finding} on {where}: name the finding exactly, as cdk-nag prints it")
    if len(reason.strip()) < MIN_REASON_LENGTH:
        raise UnreasonedAcknowledgmentError(
            f"{finding} on {where}: give a reason of at least {MIN_REASON_LENGTH} characters"
        )
    Validations.of(construct).acknowledge(Acknowledgment(id=finding, reason=reason))
