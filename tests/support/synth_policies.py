"""Every policy statement of a template, whatever resource carries it, with who it is about."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from tests.support.synth_readable import text

#: What a role may do (identity), who may become it (trust), who may use a resource (key, endpoint, resource).
Kind = Literal["identity", "trust", "key", "endpoint", "resource"]

_DOCUMENTS: dict[str, tuple[tuple[str, Kind], ...]] = {
    "AWS::IAM::Role": (("AssumeRolePolicyDocument", "trust"),),
    "AWS::IAM::Policy": (("PolicyDocument", "identity"),),
    "AWS::IAM::ManagedPolicy": (("PolicyDocument", "identity"),),
    "AWS::IAM::RolePolicy": (("PolicyDocument", "identity"),),
    "AWS::KMS::Key": (("KeyPolicy", "key"),),
    "AWS::EC2::VPCEndpoint": (("PolicyDocument", "endpoint"),),
    "AWS::S3::BucketPolicy": (("PolicyDocument", "resource"),),
    "AWS::SQS::QueuePolicy": (("PolicyDocument", "resource"),),
    "AWS::SNS::TopicPolicy": (("PolicyDocument", "resource"),),
    "AWS::SecretsManager::ResourcePolicy": (("ResourcePolicy", "resource"),),
    "AWS::ECR::Repository": (("RepositoryPolicyText", "resource"),),
    "AWS::Logs::ResourcePolicy": (("PolicyDocument", "resource"),),
    "AWS::DynamoDB::Table": (("ResourcePolicy", "resource"),),
}


@dataclass(frozen=True)
class Statement:
    """One statement of one policy."""

    stack: str
    logical_id: str
    kind: Kind
    body: dict[str, Any]

    @property
    def where(self) -> str:
        """Where it stands, for a failing test's message."""
        return f"{self.stack}/{self.logical_id}/{self.body.get('Sid', '')}"

    @property
    def allows(self) -> bool:
        """Whether it allows, not denies."""
        return bool(self.body["Effect"] == "Allow")

    @property
    def actions(self) -> list[str]:
        """Its actions."""
        return as_list(self.body.get("Action", []))

    @property
    def resources(self) -> list[str]:
        """Its resources, with references inline."""
        return [text(resource) for resource in as_list(self.body.get("Resource", []))]

    @property
    def condition(self) -> dict[str, dict[str, Any]]:
        """Its conditions by operator."""
        return dict(self.body.get("Condition", {}))

    def condition_keys(self) -> set[str]:
        """Every condition key it names."""
        return {key for operands in self.condition.values() for key in operands}


def statements(templates: dict[str, dict[str, Any]], *kinds: Kind) -> Iterator[Statement]:
    """All statements of all templates; of the given kinds, if any are given."""
    for stack, template in templates.items():
        for logical_id, resource in template["Resources"].items():
            for kind, document in _policies(resource):
                if kinds and kind not in kinds:
                    continue
                for body in as_list(document["Statement"]):
                    yield Statement(stack, logical_id, kind, body)


def _policies(resource: dict[str, Any]) -> Iterator[tuple[Kind, dict[str, Any]]]:
    properties = resource.get("Properties", {})
    for name, kind in _DOCUMENTS.get(resource["Type"], ()):
        if name in properties:
            document = properties[name]
            yield kind, document.get("PolicyDocument", document)
    if resource["Type"] == "AWS::IAM::Role":
        for inline in properties.get("Policies", []):
            yield "identity", inline["PolicyDocument"]


def as_list(value: Any) -> list[Any]:
    """IAM's one-or-many values as a list."""
    return value if isinstance(value, list) else [value]
