"""Reading a template: JSON, or YAML with CloudFormation's short forms."""

from __future__ import annotations

import json
from typing import Any

import yaml

from emulation.aws.cloudformation.errors import ValidationError


class _TemplateLoader(yaml.SafeLoader):
    """Safe YAML in which `2012-10-17` stays text and `!Ref`, `!Sub`, `!GetAtt` … become their long forms."""


def _short_form(loader: yaml.Loader, suffix: str, node: yaml.Node) -> dict[str, Any]:
    value: Any
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    elif isinstance(node, yaml.MappingNode):
        value = loader.construct_mapping(node, deep=True)
    if suffix in ("Ref", "Condition"):
        return {suffix: value}
    if suffix == "GetAtt" and isinstance(value, str):
        value = value.split(".", 1)
    return {f"Fn::{suffix}": value}


_TemplateLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_TemplateLoader.add_multi_constructor("!", _short_form)


def read_template(text: str) -> dict[str, Any]:
    """The template as a mapping with at least one resource; raises `ValidationError` if it is none."""
    try:
        document = json.loads(text) if text.lstrip().startswith("{") else yaml.load(text, _TemplateLoader)  # noqa: S506
    except (ValueError, yaml.YAMLError) as error:
        raise ValidationError(f"Template format error: JSON or YAML not well-formed. ({error})") from error
    if not isinstance(document, dict) or not document.get("Resources"):
        raise ValidationError("Template format error: At least one Resources member must be defined.")
    for name, resource in document["Resources"].items():
        if not isinstance(resource, dict) or not isinstance(resource.get("Type"), str):
            raise ValidationError(
                f"Template format error: [/Resources/{name}] Every Resources object must contain a Type."
            )
    if "Transform" in document:
        raise ValidationError("The embedded AWS has no transforms (macros, AWS::Serverless, AWS::Include).")
    return document
