"""Parameter Store and Systems Manager documents."""

from __future__ import annotations

from typing import Any

from emulation.aws.resources.provider import (
    Context,
    Made,
    Properties,
    Provider,
    as_json,
    tag_list,
    tag_map,
    updatable,
    without,
)


class Parameter(Provider):
    """A parameter (CloudFormation makes no SecureString)."""

    type_name = "AWS::SSM::Parameter"

    def create(self, context: Context, properties: Properties) -> Made:
        """PutParameter."""
        name = properties.get("Name") or f"CFN-{context.logical_id}-{context.name(40)[-12:]}"
        wanted = without(properties, "Tags", "Name") | {"Name": name}
        if properties.get("Tags"):
            wanted["Tags"] = tag_list(properties)
        context.call("ssm", "put_parameter", wanted)
        return Made(name, {"Type": properties["Type"], "Value": properties["Value"]})

    def update(self, context: Context, made: Made, old: Properties, new: Properties) -> Made:
        """PutParameter again."""
        updatable(old, new, "Type", "Value", "Description", "Tier", "AllowedPattern", "Policies", "Tags")
        wanted = without(new, "Tags", "Name") | {"Name": made.physical_id, "Overwrite": True}
        context.call("ssm", "put_parameter", wanted)
        _retag(context, "Parameter", made.physical_id, old, new)
        return Made(made.physical_id, {"Type": new["Type"], "Value": new["Value"]})

    def delete(self, context: Context, made: Made, properties: Properties) -> None:
        """DeleteParameter."""
        context.try_delete("ssm", "delete_parameter", {"Name": made.physical_id})


class Document(Provider):
    """A document; with `UpdateMethod: NewVersion` a change becomes its new default version."""

    type_name = "AWS::SSM::Document"

    def create(self, context: Context, properties: Properties) -> Made:
        """CreateDocument."""
        name = properties.get("Name") or context.name(128)
        wanted: dict[str, Any] = without(properties, "Content", "Name", "UpdateMethod")
        wanted |= {"Name": name, "Content": as_json(properties["Content"])}
        wanted.setdefault("DocumentType", "Command")
        context.call("ssm", "create_document", wanted)
        return Made(name)

    def update(self, context: Context, made: Made, old: Properties, new: Properties) -> Made:
        """UpdateDocument, if the template allows new versions."""
        if new.get("UpdateMethod") == "NewVersion":
            updatable(old, new, "Content", "UpdateMethod", "VersionName", "Tags", "Attachments")
        else:
            updatable(old, new, "UpdateMethod", "Tags")
        name = made.physical_id
        if old["Content"] != new["Content"]:
            wanted = {"Name": name, "Content": as_json(new["Content"]), "DocumentVersion": "$LATEST"}
            if "DocumentFormat" in new:
                wanted["DocumentFormat"] = new["DocumentFormat"]
            version = context.call("ssm", "update_document", wanted)["DocumentDescription"]["DocumentVersion"]
            context.call("ssm", "update_document_default_version", {"Name": name, "DocumentVersion": version})
        _retag(context, "Document", name, old, new)
        return made

    def delete(self, context: Context, made: Made, properties: Properties) -> None:
        """DeleteDocument."""
        context.try_delete("ssm", "delete_document", {"Name": made.physical_id})


def _retag(context: Context, kind: str, name: str, old: Properties, new: Properties) -> None:
    place = {"ResourceType": kind, "ResourceId": name}
    before, after = tag_map(old), tag_map(new)
    gone = [key for key in before if key not in after]
    if gone:
        context.call("ssm", "remove_tags_from_resource", place | {"TagKeys": gone})
    if after and after != before:
        context.call("ssm", "add_tags_to_resource", place | {"Tags": tag_list(new)})
