"""Types that are nothing but a record, on AWS too: the explicit list of what may do nothing."""

from __future__ import annotations

from emulation.aws.resources.provider import Context, Made, Properties, Provider


class CdkMetadata(Provider):
    """The CDK library's note of which constructs were used."""

    type_name = "AWS::CDK::Metadata"

    def create(self, context: Context, properties: Properties) -> Made:
        """Nothing is made."""
        return Made(context.name(100))

    def update(self, context: Context, made: Made, old: Properties, new: Properties) -> Made:
        """Nothing is changed."""
        return made

    def delete(self, context: Context, made: Made, properties: Properties) -> None:
        """Nothing is deleted."""


class WaitConditionHandle(CdkMetadata):
    """An address to signal to; in dependency graphs it stands for nothing."""

    type_name = "AWS::CloudFormation::WaitConditionHandle"


class WaitCondition(CdkMetadata):
    """Waits by its creation policy, as the engine does for every resource that has one."""

    type_name = "AWS::CloudFormation::WaitCondition"
