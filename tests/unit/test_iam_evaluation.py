"""The evaluation that other tests rely on decides as IAM does."""

from typing import Any

import pytest

from emulation.aws.iam_evaluation import Decision, MalformedPolicyError, PolicyDocument, Request, evaluate
from tests.support.concrete_policies import concrete

OBJECT = "arn:aws:s3:::bucket/jobs/1/spec.json"


def statement(effect: str = "Allow", **elements: Any) -> dict[str, Any]:
    return {"Effect": effect, "Action": "s3:GetObject", "Resource": "arn:aws:s3:::bucket/*", **elements}


def decide(
    *statements: dict[str, Any], action: str = "s3:GetObject", resource: str = OBJECT, **kwargs: Any
) -> Decision:
    return evaluate([{"Statement": list(statements)}], Request(action, resource, kwargs.get("context", {})))


def test_nothing_is_allowed_without_a_statement() -> None:
    assert decide() is Decision.IMPLICITLY_DENIED


def test_a_deny_wins_over_every_allow() -> None:
    assert decide(statement(), statement("Deny")) is Decision.EXPLICITLY_DENIED
    assert decide(statement("Deny"), statement()) is Decision.EXPLICITLY_DENIED


def test_policies_add_up() -> None:
    request = Request("s3:GetObject", OBJECT)
    policies: list[PolicyDocument] = [{"Statement": [statement(Action="s3:PutObject")]}, {"Statement": statement()}]
    assert evaluate(policies, request) is Decision.ALLOWED


@pytest.mark.parametrize("action", ["s3:GetObject", "S3:GETOBJECT", "s3:Get*", "s3:G?tObject", "*"])
def test_actions_match_without_regard_to_case_and_with_wildcards(action: str) -> None:
    if action.startswith("S3"):
        assert decide(statement(Action="s3:getobject"), action="s3:GetObject") is Decision.ALLOWED
    else:
        assert decide(statement(Action=action)) is Decision.ALLOWED


def test_not_action_and_not_resource_match_everything_else() -> None:
    others = statement()
    del others["Action"], others["Resource"]
    assert decide({**others, "NotAction": "s3:PutObject", "Resource": "*"}) is Decision.ALLOWED
    assert decide({**others, "NotAction": "s3:Get*", "Resource": "*"}) is Decision.IMPLICITLY_DENIED
    assert decide({**others, "Action": "*", "NotResource": "arn:aws:s3:::other/*"}) is Decision.ALLOWED
    assert decide({**others, "Action": "*", "NotResource": "arn:aws:s3:::bucket/*"}) is Decision.IMPLICITLY_DENIED


@pytest.mark.parametrize(
    ("pattern", "matches"),
    [
        ("arn:aws:s3:::bucket/jobs/*", True),
        ("arn:aws:s3:::bucket/jobs/?/spec.json", True),
        ("arn:aws:s3:::BUCKET/*", False),
        ("arn:aws:s3:::buck", False),
        ("arn:*:s3:*:*:bucket/*", True),
        ("arn:aws:*:bucket/*:x:y", False),
        ("*", True),
    ],
)
def test_resources_match_segment_by_segment(pattern: str, matches: bool) -> None:
    assert (decide(statement(Resource=pattern)) is Decision.ALLOWED) is matches


@pytest.mark.parametrize(
    ("condition", "context", "holds"),
    [
        ({"StringEquals": {"k": "a"}}, {"k": "a"}, True),
        ({"StringEquals": {"k": ["a", "b"]}}, {"K": "b"}, True),
        ({"StringEquals": {"k": "a"}}, {"k": "A"}, False),
        ({"StringEquals": {"k": "a*"}}, {"k": "ab"}, False),
        ({"StringEquals": {"k": "a"}}, {}, False),
        ({"StringEqualsIfExists": {"k": "a"}}, {}, True),
        ({"StringEqualsIfExists": {"k": "a"}}, {"k": "b"}, False),
        ({"StringNotEquals": {"k": ["a", "b"]}}, {"k": "b"}, False),
        ({"StringNotEquals": {"k": "a"}}, {}, True),
        ({"StringLike": {"k": "jobs/*"}}, {"k": "jobs/1/"}, True),
        ({"StringNotLike": {"k": "jobs/*"}}, {"k": "jobs/1/"}, False),
        ({"StringLike": {"k": "${aws:userid}-*"}}, {"k": "me-1", "aws:userid": "me"}, True),
        ({"StringLike": {"k": "${aws:userid}-*"}}, {"k": "me-1", "aws:userid": "*"}, False),
        ({"StringLike": {"k": "${aws:userid}"}}, {"k": "me"}, False),
        ({"StringEquals": {"k": "${$}{x}"}}, {"k": "${x}"}, True),
        ({"ArnLike": {"k": "arn:aws:iam::*:role/x*"}}, {"k": "arn:aws:iam::1:role/xy"}, True),
        ({"ArnLike": {"k": "arn:aws:iam::*:role/x*"}}, {"k": "arn:aws:iam::1:2:role/xy"}, False),
        ({"ArnNotEquals": {"k": "arn:aws:iam::1:role/x"}}, {"k": "arn:aws:iam::1:role/x"}, False),
        ({"Bool": {"k": "true"}}, {"k": True}, True),
        ({"Bool": {"k": True}}, {"k": "false"}, False),
        ({"Bool": {"k": "false"}}, {}, False),
        ({"BoolIfExists": {"k": "true"}}, {}, True),
        ({"Null": {"k": "true"}}, {}, True),
        ({"Null": {"k": "true"}}, {"k": "x"}, False),
        ({"Null": {"k": "false"}}, {"k": "x"}, True),
        ({"NumericLessThan": {"k": "5"}}, {"k": 4}, True),
        ({"NumericGreaterThanEquals": {"k": "5"}}, {"k": 4}, False),
        ({"DateLessThan": {"k": "2026-01-01T00:00:00+00:00"}}, {"k": "2025-12-31T00:00:00+00:00"}, True),
        ({"IpAddress": {"k": "10.0.0.0/8"}}, {"k": "10.2.3.4"}, True),
        ({"NotIpAddress": {"k": "10.0.0.0/8"}}, {"k": "10.2.3.4"}, False),
        ({"ForAllValues:StringEquals": {"k": ["a", "b"]}}, {"k": ["a", "c"]}, False),
        ({"ForAllValues:StringEquals": {"k": ["a", "b"]}}, {}, True),
        ({"ForAnyValue:StringLike": {"k": "a*"}}, {"k": ["b", "ab"]}, True),
        ({"ForAnyValue:StringLike": {"k": "a*"}}, {}, False),
        ({"StringEquals": {"k": "a", "l": "b"}}, {"k": "a", "l": "c"}, False),
        ({"StringEquals": {"k": "a"}, "Bool": {"l": "true"}}, {"k": "a", "l": False}, False),
    ],
)
def test_conditions_hold_as_their_operators_say(
    condition: dict[str, Any], context: dict[str, Any], holds: bool
) -> None:
    assert (decide(statement(Condition=condition), context=context) is Decision.ALLOWED) is holds


def test_a_variable_in_a_resource_without_a_value_matches_nothing() -> None:
    own = statement(Resource="arn:aws:s3:::bucket/${aws:userid}/*")
    resource = "arn:aws:s3:::bucket/me/x"
    assert decide(own, resource=resource, context={"aws:userid": "me"}) is Decision.ALLOWED
    assert decide(own, resource=resource, context={"aws:userid": "you"}) is Decision.IMPLICITLY_DENIED
    assert decide(own, resource=resource, context={"aws:userid": "*"}) is Decision.IMPLICITLY_DENIED
    assert decide(own, resource=resource) is Decision.IMPLICITLY_DENIED


def test_a_boundary_takes_away_and_never_gives() -> None:
    request, allow, deny = (
        Request("s3:GetObject", OBJECT),
        {"Statement": [statement()]},
        {"Statement": [statement("Deny")]},
    )
    assert evaluate([allow], request, boundary=[allow]) is Decision.ALLOWED
    assert evaluate([allow], request, boundary=[]) is Decision.IMPLICITLY_DENIED
    assert evaluate([], request, boundary=[allow]) is Decision.IMPLICITLY_DENIED
    assert evaluate([allow], request, boundary=[deny]) is Decision.EXPLICITLY_DENIED


@pytest.mark.parametrize(
    "broken",
    [
        {"Effect": "Allow", "Action": "*"},
        {"Effect": "Allow", "Resource": "*"},
        {"Action": "*", "Resource": "*"},
        statement(NotAction="*"),
        statement(Principal="*"),
        statement(Action="GetObject"),
        statement(Resource="bucket"),
        statement(Condition={"StringMatches": {"k": "a"}}),
    ],
)
def test_what_aws_would_refuse_is_refused(broken: dict[str, Any]) -> None:
    with pytest.raises(MalformedPolicyError):
        decide(broken)


def test_several_values_need_a_quantifier() -> None:
    with pytest.raises(MalformedPolicyError, match="several values"):
        decide(statement(Condition={"StringEquals": {"k": "a"}}), context={"k": ["a", "b"]})


def test_references_of_a_template_are_filled_in_and_variables_of_iam_stay() -> None:
    join = {"Fn::Join": ["", ["arn:", {"Ref": "AWS::Partition"}, ":s3:::", {"Ref": "Bucket"}, "/${aws:userid}/*"]]}
    assert concrete({"Resource": join}, {"AWS::Partition": "aws", "Bucket": "b"}) == {
        "Resource": "arn:aws:s3:::b/${aws:userid}/*"
    }
    with pytest.raises(MalformedPolicyError, match="Bucket"):
        concrete(join, {"AWS::Partition": "aws"})
