"""Tags of EC2 resources, at creation and afterwards."""

from __future__ import annotations

from typing import Any

from emulation.aws.resources.provider import Context, Properties, tag_list, tag_map


def tagged(context: Context, kind: str, properties: Properties) -> list[dict[str, Any]]:
    """`TagSpecifications` for a creation of `kind`, with the tags that CloudFormation itself adds."""
    own = [
        {"Key": "aws:cloudformation:stack-name", "Value": context.stack_name},
        {"Key": "aws:cloudformation:stack-id", "Value": context.stack_id},
        {"Key": "aws:cloudformation:logical-id", "Value": context.logical_id},
    ]
    return [{"ResourceType": kind, "Tags": tag_list(properties) + own}]


def retag(context: Context, resource_id: str, old: Properties, new: Properties) -> None:
    """Bring the tags of an existing resource up to date."""
    before, after = tag_map(old), tag_map(new)
    gone = [{"Key": key} for key in before if key not in after]
    changed = [{"Key": key, "Value": value} for key, value in after.items() if before.get(key) != value]
    if gone:
        context.call("ec2", "delete_tags", {"Resources": [resource_id], "Tags": gone})
    if changed:
        context.call("ec2", "create_tags", {"Resources": [resource_id], "Tags": changed})
