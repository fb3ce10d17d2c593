"""AWS's limits, over every template of the application: better found here than in mid-deployment."""

import json
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from spark_constructs import naming
from tests.support.synth_app import Synthesised
from tests.support.synth_policies import statements
from tests.support.synth_readable import text

#: Length that is reckoned with for a reference whose value only the deployment knows, such as an ARN.
REFERENCE_LENGTH = 90

_REFERENCE = re.compile(r"\$\{[^}]*\}")

#: Names that people give, by type: property and what AWS allows for it.
NAMES: dict[str, tuple[str, naming.NameLimit]] = {
    "AWS::IAM::Role": ("RoleName", naming.ROLE),
    "AWS::IAM::ManagedPolicy": ("ManagedPolicyName", naming.POLICY),
    "AWS::IAM::InstanceProfile": ("InstanceProfileName", naming.INSTANCE_PROFILE),
    "AWS::S3::Bucket": ("BucketName", naming.BUCKET),
    "AWS::DynamoDB::Table": ("TableName", naming.TABLE),
    "AWS::Logs::LogGroup": ("LogGroupName", naming.LOG_GROUP),
    "AWS::SSM::Parameter": ("Name", naming.PARAMETER),
    "AWS::SSM::Document": ("Name", naming.DOCUMENT),
    "AWS::KMS::Alias": ("AliasName", naming.KEY_ALIAS),
    "AWS::AutoScaling::AutoScalingGroup": ("AutoScalingGroupName", naming.AUTO_SCALING_GROUP),
    "AWS::AutoScaling::LifecycleHook": ("LifecycleHookName", naming.LIFECYCLE_HOOK),
    "AWS::EC2::LaunchTemplate": ("LaunchTemplateName", naming.LAUNCH_TEMPLATE),
    "AWS::EC2::SecurityGroup": ("GroupName", naming.SECURITY_GROUP),
}

# EC2 API reference, CreateSecurityGroup: GroupDescription and the rules' Description.
_SECURITY_GROUP_TEXT = re.compile(r"[A-Za-z0-9 ._\-:/()#,@\[\]+=&;{}!$*]{0,255}")


def _resources(of: Synthesised, *types: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for stack, template in of.templates.items():
        for logical_id, resource in template["Resources"].items():
            if not types or resource["Type"] in types:
                yield f"{stack}/{logical_id}", resource


def _size(document: Any) -> int:
    """Characters of a policy without white space, with references at their likely length."""
    return sum(len(part) for part in _strings(document)) + len(re.sub(r'"[^"]*"', '""', json.dumps(document)))


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        try:
            yield _known_length(value)
        except TypeError:
            for key, inner in value.items():
                yield key
                yield from _strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _strings(inner)
    else:
        yield str(value)


def _known_length(value: Any) -> str:
    def stand_in(match: re.Match[str]) -> str:
        lengths = {"${AWS::Partition}": 6, "${AWS::Region}": naming.MAX_REGION_LENGTH, "${AWS::AccountId}": 12}
        return "x" * lengths.get(match[0], REFERENCE_LENGTH)

    return _REFERENCE.sub(stand_in, text(value))


def test_names_are_what_aws_allows(application: Synthesised) -> None:
    checked = 0
    for where, resource in _resources(application, *NAMES):
        name, limit = NAMES[resource["Type"]]
        value = resource.get("Properties", {}).get(name)
        if value is not None:
            known = _known_length(value)
            assert limit.least <= len(known) <= limit.most, f"{where}: {text(value)}"
            assert re.fullmatch(limit.pattern, known), f"{where}: {text(value)}"
            checked += 1
    assert checked >= 3


def test_templates_stay_within_cloudformations_quotas(application: Synthesised) -> None:
    for stack, template in application.templates.items():
        assert len(template["Resources"]) <= 500, stack
        assert len(template.get("Outputs", {})) <= 200, stack
        assert len(template.get("Parameters", {})) <= 200, stack
        assert len(json.dumps(template)) <= 1_000_000, stack
        assert len(template["Description"]) <= 1024, stack


def test_every_output_is_described(application: Synthesised) -> None:
    described = 0
    for stack, template in application.templates.items():
        for name, output in template.get("Outputs", {}).items():
            # These carry a value from one of our stacks to another; the CDK makes them, and nobody reads them.
            if name.startswith("ExportsOutput"):
                continue
            assert len(output.get("Description", "")) >= 10, f"{stack}/{name}"
            assert re.fullmatch(r"[A-Z][A-Za-z0-9]+", name), f"{stack}/{name}"
            described += 1
    assert described >= 10


def test_security_groups_have_no_more_rules_than_aws_takes(application: Synthesised) -> None:
    rules: Counter[tuple[str, str]] = Counter()
    for _, resource in _resources(application, "AWS::EC2::SecurityGroupIngress", "AWS::EC2::SecurityGroupEgress"):
        rules[(resource["Type"], text(resource["Properties"]["GroupId"]))] += 1
    for where, resource in _resources(application, "AWS::EC2::SecurityGroup"):
        for side in ("Ingress", "Egress"):
            rules[(side, where)] += len(resource["Properties"].get(f"SecurityGroup{side}", []))
    assert rules
    # The last two are the CDK's own rule in a group without egress, beside those that refer to the group.
    assert max(rules.values()) <= 60 - 2


def test_descriptions_of_security_groups_are_what_ec2_takes(application: Synthesised) -> None:
    types = ("AWS::EC2::SecurityGroup", "AWS::EC2::SecurityGroupIngress", "AWS::EC2::SecurityGroupEgress")
    for where, resource in _resources(application, *types):
        properties = resource["Properties"]
        described = [properties.get("GroupDescription"), properties.get("Description")]
        described += [rule.get("Description") for rule in properties.get("SecurityGroupEgress", [])]
        for each in described:
            assert each is None or _SECURITY_GROUP_TEXT.fullmatch(each), f"{where}: {each}"


def test_policies_are_not_too_long(application: Synthesised) -> None:
    for where, resource in _resources(application, "AWS::IAM::ManagedPolicy"):
        assert _size(resource["Properties"]["PolicyDocument"]) <= 6144, where
    for where, resource in _resources(application, "AWS::S3::BucketPolicy", "AWS::EC2::VPCEndpoint"):
        assert _size(resource["Properties"].get("PolicyDocument", {})) <= 20_480, where
    for where, resource in _resources(application, "AWS::KMS::Key"):
        assert _size(resource["Properties"]["KeyPolicy"]) <= 32_768, where


def test_a_roles_policies_are_not_too_long_together(application: Synthesised) -> None:
    inline: Counter[str] = Counter()
    for where, resource in _resources(application, "AWS::IAM::Role"):
        stack, logical_id = where.split("/")
        properties = resource["Properties"]
        assert _size(properties["AssumeRolePolicyDocument"]) <= 2048, where
        assert len(properties.get("ManagedPolicyArns", [])) <= 10, where
        inline[f"{stack}/${{{logical_id}}}"] += sum(
            _size(policy["PolicyDocument"]) for policy in properties.get("Policies", [])
        )
    for where, resource in _resources(application, "AWS::IAM::Policy"):
        for role in resource["Properties"].get("Roles", []):
            inline[f"{where.split('/')[0]}/{text(role)}"] += _size(resource["Properties"]["PolicyDocument"])
    assert inline
    assert all(size <= 10_240 for size in inline.values()), inline


def test_user_data_is_not_too_long(application_with_hosts: Synthesised) -> None:
    checked = 0
    for where, resource in _resources(application_with_hosts, "AWS::EC2::LaunchTemplate"):
        user_data = resource["Properties"]["LaunchTemplateData"]["UserData"]
        assert len(_known_length(user_data).encode()) <= 16_384, where
        checked += 1
    assert checked >= 2


def test_parameters_are_not_too_long(application: Synthesised) -> None:
    for where, resource in _resources(application, "AWS::SSM::Parameter"):
        assert len(_known_length(resource["Properties"]["Value"])) <= 4096, where
        assert len(resource["Properties"].get("Description", "")) <= 1024, where


def test_policy_statements_are_named_so_that_cloudformation_takes_them(application: Synthesised) -> None:
    for each in statements(application.templates):
        assert re.fullmatch(r"[A-Za-z0-9]*", each.body.get("Sid", "")), each.where
