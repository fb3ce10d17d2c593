"""What a reviewer reads when a template changes: one file per stack, in __snapshots__."""

import pytest
from syrupy.assertion import SnapshotAssertion

from tests.support.synth_app import synthesised
from tests.support.synth_readable import readable, text, user_data_lines

#: Stack → the configuration under which it is reviewed.
REVIEWED = {
    "Storage": "default",
    "Network": "default",
    "Images": "default",
    "Swarm": "default",
    "Fargate": "serverless",
    "Yarn": "hadoop",
}


@pytest.mark.parametrize("stack", REVIEWED)
def test_template_is_as_reviewed(stack: str, template_snapshot: SnapshotAssertion) -> None:
    assert readable(synthesised(REVIEWED[stack]).template(stack)) == template_snapshot(name=stack)


def test_every_stack_has_a_snapshot() -> None:
    assert {name for variant in set(REVIEWED.values()) for name in synthesised(variant).templates} == set(REVIEWED)


def test_references_read_as_in_a_text() -> None:
    value = {"Fn::Join": ["", ["arn:", {"Ref": "AWS::Partition"}, ":s3:::", {"Fn::GetAtt": ["Jobs", "Arn"]}, "/*"]]}
    assert text(value) == "arn:${AWS::Partition}:s3:::${Jobs.Arn}/*"


def test_hashes_and_accounts_do_not_churn() -> None:
    template = {"Resources": {"A": {"Key": "ab" * 32 + ".zip", "Arn": "arn:aws:iam::111122223333:role/x"}}}
    assert readable(template)["Resources"]["A"] == {"Key": "<asset>.zip", "Arn": "arn:aws:iam::<account>:role/x"}


def test_comments_in_a_boot_script_do_not_churn() -> None:
    before = "#!/bin/bash\n# old words\nset -e\n\n  # more\n  start\n"
    after = "#!/bin/bash\n# new words, and\n# more of them\nset -e\n  start\n"
    assert user_data_lines({"Fn::Base64": before}) == user_data_lines({"Fn::Base64": after})
    assert user_data_lines({"Fn::Base64": before}) == ["#!/bin/bash", "set -e", "  start"]
