"""What no rule set checks about permissions, over every template of the application, present and future."""

import re

from tests.support.synth_app import Synthesised, synthesised
from tests.support.synth_policies import Kind, Statement, as_list, statements
from tests.support.synth_variants import VARIANTS
from tests.support.unscoped_actions import UNSCOPED_ACTIONS

#: ARNs that end in `*` after the type of resource name every resource of it: `…:table/*`, `…:instance/*`. Not those of
#: S3, which begin with a bucket's name.
_EVERY_ONE = re.compile(r"^arn:[^:]*:(?!s3:)[^:]*:[^:]*:[^:]*:[a-z-]+[/:]\*$")

_REFERENCE = re.compile(r"\$\{[^}]*\}")


def _allowed(of: Synthesised, *kinds: Kind) -> list[Statement]:
    return [each for each in statements(of.templates, *kinds) if each.allows]


def test_no_statement_uses_not_action(application: Synthesised) -> None:
    wrong = [each.where for each in statements(application.templates) if each.allows and "NotAction" in each.body]
    assert wrong == []


def test_no_role_is_allowed_a_wildcard_action(application: Synthesised) -> None:
    granted = _allowed(application, "identity", "trust", "key", "resource")
    assert granted
    assert [(each.where, action) for each in granted for action in each.actions if "*" in action] == []


def test_every_resource_is_named_unless_aws_offers_no_narrower_permission(application: Synthesised) -> None:
    wrong = [
        (each.where, action)
        for each in _allowed(application, "identity")
        for action in each.actions
        if "*" in each.resources and action not in UNSCOPED_ACTIONS
    ]
    assert wrong == []


def test_no_statement_allows_all_resources_but_some(application: Synthesised) -> None:
    wrong = [each.where for each in _allowed(application, "identity") if "NotResource" in each.body]
    assert wrong == []


def test_a_resource_that_means_every_one_of_its_type_comes_with_a_condition(application: Synthesised) -> None:
    wrong = [
        (each.where, resource)
        for each in _allowed(application, "identity")
        for resource in each.resources
        if _EVERY_ONE.match(_REFERENCE.sub("x", resource)) and not each.condition
    ]
    assert wrong == []


def test_reviewed_actions_have_a_reason() -> None:
    assert all(len(reason) >= 20 for reason in UNSCOPED_ACTIONS.values())
    assert not any("*" in action for action in UNSCOPED_ACTIONS)


def test_no_action_is_reviewed_in_advance() -> None:
    used = {
        action
        for variant in VARIANTS
        for each in _allowed(synthesised(variant), "identity")
        for action in each.actions
        if "*" in each.resources
    }
    assert set(UNSCOPED_ACTIONS) - used == set()


def test_who_may_use_a_resource_is_never_anyone(application: Synthesised) -> None:
    """Principal `*` stands only with a condition that says which account, role or endpoint it may be."""
    narrowing = {"aws:PrincipalAccount", "aws:PrincipalArn", "aws:SourceArn", "aws:SourceAccount"}
    wrong = [
        each.where
        for each in _allowed(application, "trust", "key", "resource")
        if _anyone(each) and not each.condition_keys() & narrowing
    ]
    assert wrong == []


def test_endpoints_serve_this_account_alone(application: Synthesised) -> None:
    """But for the public sources of packages and layers, read only, and signals, which carry no credentials."""
    for each in _allowed(application, "endpoint"):
        if "aws:PrincipalAccount" in each.condition_keys():
            continue
        assert each.actions in (["s3:GetObject"], ["cloudformation:SignalResource"]), each.where
        assert "*" not in each.resources, each.where


def test_pass_role_says_to_which_service(application: Synthesised) -> None:
    for each in _allowed(application, "identity"):
        if "iam:PassRole" in each.actions:
            assert "iam:PassedToService" in each.condition_keys(), each.where
            assert "*" not in each.resources, each.where


def test_nobody_holds_the_whole_of_the_key(application: Synthesised) -> None:
    """Administration decrypts nothing; use is bound to services, log groups or the roles that launch instances."""
    use = {"kms:Decrypt", "kms:Encrypt", "kms:GenerateDataKey", "kms:ReEncryptFrom", "kms:CreateGrant"}
    for each in _allowed(application, "key"):
        if use & set(each.actions):
            bound = {"kms:ViaService", "aws:PrincipalArn"}
            of_one_use = {key for key in each.condition_keys() if key.startswith("kms:EncryptionContext:")}
            assert each.condition_keys() & bound or of_one_use, each.where
        if "kms:CreateGrant" in each.actions:
            for_disks = each.condition.get("ForAllValues:StringEquals") == {"kms:GrantOperations": ["Decrypt"]}
            for_a_service = each.condition.get("Bool") == {"kms:GrantIsForAWSResource": "true"}
            assert for_disks or for_a_service, each.where


def test_services_that_write_for_us_must_do_so_for_our_account(application: Synthesised) -> None:
    """Against the confused deputy: S3, SNS and the like act only for resources of this account."""
    for each in _allowed(application, "resource"):
        if isinstance(each.body["Principal"], dict) and "Service" in each.body["Principal"]:
            assert each.condition_keys() & {"aws:SourceAccount", "aws:SourceArn", "aws:SourceOrgID"}, each.where


def _anyone(statement: Statement) -> bool:
    principal = statement.body["Principal"]
    return principal == "*" or (isinstance(principal, dict) and "*" in as_list(principal.get("AWS", [])))
