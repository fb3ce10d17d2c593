"""Launch templates and placement groups."""

from __future__ import annotations

from typing import Any

from emulation.aws.resources.ec2_tags import retag, tagged
from emulation.aws.resources.provider import Context, Made, Properties, Provider, updatable


class LaunchTemplate(Provider):
    """A launch template; each change is a new version, which also becomes the default as in CloudFormation."""

    type_name = "AWS::EC2::LaunchTemplate"

    def create(self, context: Context, properties: Properties) -> Made:
        """CreateLaunchTemplate."""
        tags = {"Tags": _tags(properties)}
        wanted: dict[str, Any] = {
            "LaunchTemplateName": properties.get("LaunchTemplateName") or context.name(128),
            "LaunchTemplateData": properties["LaunchTemplateData"],
            "TagSpecifications": tagged(context, "launch-template", tags),
        }
        if "VersionDescription" in properties:
            wanted["VersionDescription"] = properties["VersionDescription"]
        template = context.call("ec2", "create_launch_template", wanted)["LaunchTemplate"]
        return _made(template["LaunchTemplateId"], 1)

    def update(self, context: Context, made: Made, old: Properties, new: Properties) -> Made:
        """CreateLaunchTemplateVersion."""
        updatable(old, new, "LaunchTemplateData", "TagSpecifications", "VersionDescription")
        retag(context, made.physical_id, {"Tags": _tags(old)}, {"Tags": _tags(new)})
        if old["LaunchTemplateData"] == new["LaunchTemplateData"]:
            return made
        wanted = {"LaunchTemplateId": made.physical_id, "LaunchTemplateData": new["LaunchTemplateData"]}
        if "VersionDescription" in new:
            wanted["VersionDescription"] = new["VersionDescription"]
        version = context.call("ec2", "create_launch_template_version", wanted)["LaunchTemplateVersion"][
            "VersionNumber"
        ]
        default = {"LaunchTemplateId": made.physical_id, "DefaultVersion": str(version)}
        context.call("ec2", "modify_launch_template", default)
        return _made(made.physical_id, version)

    def delete(self, context: Context, made: Made, properties: Properties) -> None:
        """DeleteLaunchTemplate."""
        context.try_delete("ec2", "delete_launch_template", {"LaunchTemplateId": made.physical_id})


def _made(template_id: str, version: int) -> Made:
    number = str(version)
    return Made(
        template_id,
        {"LaunchTemplateId": template_id, "LatestVersionNumber": number, "DefaultVersionNumber": number},
    )


def _tags(properties: Properties) -> list[dict[str, str]]:
    specifications = properties.get("TagSpecifications") or []
    return [tag for one in specifications if one["ResourceType"] == "launch-template" for tag in one["Tags"]]


class PlacementGroup(Provider):
    """A placement group. moto has none: it is on the stack's record only."""

    type_name = "AWS::EC2::PlacementGroup"

    def create(self, context: Context, properties: Properties) -> Made:
        """Choose a name."""
        name = properties.get("GroupName") or context.name(255)
        return Made(name, {"GroupName": name})

    def delete(self, context: Context, made: Made, properties: Properties) -> None:
        """Nothing to delete."""
