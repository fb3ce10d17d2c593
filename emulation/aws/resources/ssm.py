"""Parameter Store and Systems Manager documents."""

from __future__ import annotations

from typing import Any

from emulation.aws.cloudformation.errors import ResourceFailed
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
            version = _version_with(context, name, as_json(new["Content"]), new.get("DocumentFormat"))
            context.call("ssm", "update_document_default_version", {"Name": name, "DocumentVersion": version})
        _retag(context, "Document", name, old, new)
        return made

    def delete(self, context: Context, made: Made, properties: Properties) -> None:
        """DeleteDocument."""
        context.try_delete("ssm", "delete_document", {"Name": made.physical_id})


def _version_with(context: Context, name: str, content: str, form: str | None) -> str:
    """The version of a document that has `content`: a new one, or an old one, which SSM refuses to make twice."""
    wanted = {"Name": name, "Content": content, "DocumentVersion": "$LATEST"}
    if form is not None:
        wanted["DocumentFormat"] = form
    try:
        return str(context.call("ssm", "update_document", wanted)["DocumentDescription"]["DocumentVersion"])
    except ResourceFailed as failure:
        if "DuplicateDocumentContent" not in str(failure):
            raise
    latest = int(context.call("ssm", "describe_document", {"Name": name})["Document"]["LatestVersion"])
    for version in map(str, range(1, latest + 1)):
        kept = context.call("ssm", "get_document", {"Name": name, "DocumentVersion": version})["Content"]
        if kept == content:
            return version
    raise ResourceFailed(f"No version of {name} has the content that was asked for")


def _retag(context: Context, kind: str, name: str, old: Properties, new: Properties) -> None:
    place = {"ResourceType": kind, "ResourceId": name}
    before, after = tag_map(old), tag_map(new)
    gone = [key for key in before if key not in after]
    if gone:
        context.call("ssm", "remove_tags_from_resource", place | {"TagKeys": gone})
    if after and after != before:
        context.call("ssm", "add_tags_to_resource", place | {"Tags": tag_list(new)})
