"""cdk-nag finds nothing that is not accepted, and everything accepted is one resource's, with a reason."""

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from aws_cdk import aws_s3 as s3

from spark_constructs.acknowledgments import MIN_REASON_LENGTH, UnreasonedAcknowledgmentError, acknowledge
from tests.support.synth_app import Synthesised, synthesise_alone

REASON = "A reason that is long enough to be one, for this test alone."


def _acknowledgments(of: Synthesised) -> Iterator[tuple[str, str, str]]:
    """Path of the construct, finding, reason."""
    for file in of.directory.glob("*.metadata.json"):
        for path, entries in json.loads(file.read_text()).items():
            for entry in entries:
                if entry["type"] == "aws:cdk:acknowledged-rules":
                    yield from ((path, finding, reason) for finding, reason in entry["data"].items())


def _resource_types(tree: dict[str, Any], path: str) -> Counter[str]:
    """How many CloudFormation resources of each type are in the construct at a path."""
    node = tree["tree"]
    for part in path.strip("/").split("/"):
        node = node["children"][part]
    found: Counter[str] = Counter()
    waiting = [node]
    while waiting:
        each = waiting.pop()
        kind = each.get("attributes", {}).get("aws:cdk:cloudformation:type")
        found.update([kind] if kind else [])
        waiting += each.get("children", {}).values()
    return found


def test_cdk_nag_finds_nothing_that_is_not_acknowledged(application: Synthesised) -> None:
    assert application.violations == []


def test_every_acknowledgment_is_about_one_resource(application: Synthesised) -> None:
    tree = json.loads((application.directory / "tree.json").read_text())
    acknowledgments = list(_acknowledgments(application))
    assert acknowledgments
    for path, finding, _ in acknowledgments:
        types = _resource_types(tree, path)
        assert types, f"{finding} on {path}: there is no resource"
        assert max(types.values()) == 1, f"{finding} on {path}: that is {types}"


def test_every_acknowledgment_has_a_reason(application: Synthesised) -> None:
    for path, finding, reason in _acknowledgments(application):
        assert len(reason) >= MIN_REASON_LENGTH, f"{finding} on {path}"


def test_a_finding_is_seen_until_it_is_acknowledged() -> None:
    def unlogged(acknowledged: bool) -> Synthesised:
        def build(stack: Any) -> None:
            bucket = s3.Bucket(stack, "Bucket", enforce_ssl=True)
            if acknowledged:
                acknowledge(bucket, "AwsSolutions-S1", REASON)

        return synthesise_alone(build)

    assert [line.split(" on ")[0] for line in unlogged(False).violations] == ["AwsSolutions-S1"]
    assert unlogged(True).violations == []


@pytest.mark.parametrize(
    ("finding", "reason", "complaint"),
    [
        ("AwsSolutions-S1", "because", "at least 40 characters"),
        ("AwsSolutions-IAM5[*]", REASON, "name the finding exactly"),
        ("S1", REASON, "name the finding exactly"),
    ],
)
def test_an_acknowledgment_without_substance_is_refused(finding: str, reason: str, complaint: str) -> None:
    def build(stack: Any) -> None:
        with pytest.raises(UnreasonedAcknowledgmentError, match=complaint):
            acknowledge(s3.Bucket(stack, "Bucket"), finding, reason)

    synthesise_alone(build)


def test_a_whole_stack_cannot_be_acknowledged() -> None:
    def build(stack: Any) -> None:
        with pytest.raises(UnreasonedAcknowledgmentError, match="on the one resource it is about"):
            acknowledge(stack, "AwsSolutions-S1", REASON)

    synthesise_alone(build)
