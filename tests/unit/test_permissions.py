"""References are printed as cdk-nag prints them, or an acknowledgment would never match its finding."""

from typing import Any

import pytest

from spark_constructs.permissions import flattened


@pytest.mark.parametrize(
    ("value", "printed"),
    [
        ("arn:aws:s3:::b/*", "arn:aws:s3:::b/*"),
        ("session/${aws:userid}-*", "session/<aws:userid>-*"),
        ({"Ref": "AWS::Region"}, "<AWS::Region>"),
        ({"Fn::GetAtt": ["Key", "Arn"]}, "<Key.Arn>"),
        ({"Fn::Sub": "b-${AWS::Region}"}, "b-<AWS::Region>"),
        ({"Fn::ImportValue": "stack:Name"}, "stack:Name"),
        (
            {"Fn::Join": [":", ["arn", {"Ref": "AWS::Partition"}, {"Fn::GetAtt": ["A", "B"]}]]},
            "arn:<AWS::Partition>:<A.B>",
        ),
    ],
)
def test_a_value_is_printed_as_cdk_nag_does(value: Any, printed: str) -> None:
    assert flattened(value) == printed


def test_what_cannot_be_printed_is_refused() -> None:
    with pytest.raises(TypeError, match="Fn::If"):
        flattened({"Fn::If": ["A", "b", "c"]})
