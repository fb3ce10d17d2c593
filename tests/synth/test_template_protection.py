"""Data and hosts are protected in every template of the application: keys, TLS, metadata service, open ports."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.synth_app import Synthesised, synthesised
from tests.support.synth_policies import as_list, statements
from tests.support.synth_readable import text

#: The only resource at rest that is not under the cluster's key: S3 delivers access logs to no other bucket.
ENCRYPTED_BY_S3 = {("Storage", "AccessLogs")}

#: Where each type of resource says which key it is encrypted under.
KEY_OF: dict[str, tuple[str, ...]] = {
    "AWS::Logs::LogGroup": ("KmsKeyId",),
    "AWS::DynamoDB::Table": ("SSESpecification", "KMSMasterKeyId"),
    "AWS::SNS::Topic": ("KmsMasterKeyId",),
    "AWS::SQS::Queue": ("KmsMasterKeyId",),
    "AWS::SecretsManager::Secret": ("KmsKeyId",),
    "AWS::ECR::Repository": ("EncryptionConfiguration", "KmsKey"),
    "AWS::EFS::FileSystem": ("KmsKeyId",),
    "AWS::EC2::Volume": ("KmsKeyId",),
    "AWS::Kinesis::Stream": ("StreamEncryption", "KeyId"),
    "AWS::KinesisFirehose::DeliveryStream": (
        "DeliveryStreamEncryptionConfigurationInput",
        "KeyARN",
    ),
}


def _resources(of: Synthesised, *types: str) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for stack, template in of.templates.items():
        for logical_id, resource in template["Resources"].items():
            if resource["Type"] in types:
                yield stack, logical_id, resource.get("Properties", {})


def _is_a_customer_key(value: Any) -> bool:
    """Our key in this or another stack, or a given one: never an alias of AWS's."""
    shown = text(value) if value is not None else ""
    return "StorageKey" in shown or (shown.startswith("arn:") and ":key/" in shown)


def test_everything_at_rest_is_under_the_clusters_key(application: Synthesised) -> None:
    checked = 0
    for stack, logical_id, properties in _resources(application, *KEY_OF):
        resource_type = application.templates[stack]["Resources"][logical_id]["Type"]
        value: Any = properties
        for part in KEY_OF[resource_type]:
            value = value.get(part, {})
        assert _is_a_customer_key(value), f"{stack}/{logical_id}"
        checked += 1
    assert checked


def test_every_bucket_is_under_the_clusters_key_but_the_one_of_access_logs(application: Synthesised) -> None:
    exceptions = set()
    for stack, logical_id, properties in _resources(application, "AWS::S3::Bucket"):
        (rule,) = properties["BucketEncryption"]["ServerSideEncryptionConfiguration"]
        default = rule["ServerSideEncryptionByDefault"]
        if default["SSEAlgorithm"] == "AES256":
            exceptions.add((stack, next(name for _, name in ENCRYPTED_BY_S3 if name in logical_id)))
            continue
        assert default["SSEAlgorithm"] == "aws:kms", logical_id
        assert _is_a_customer_key(default["KMSMasterKeyID"]), logical_id
        assert rule["BucketKeyEnabled"] is True, logical_id
    assert exceptions == ENCRYPTED_BY_S3


def test_every_volume_of_a_host_is_under_the_clusters_key(application_with_any_hosts: Synthesised) -> None:
    volumes = [
        (logical_id, mapping["Ebs"])
        for _, logical_id, properties in _resources(application_with_any_hosts, "AWS::EC2::LaunchTemplate")
        for mapping in properties["LaunchTemplateData"]["BlockDeviceMappings"]
        if "Ebs" in mapping
    ]
    assert volumes
    for logical_id, volume in volumes:
        assert volume["Encrypted"] is True, logical_id
        assert _is_a_customer_key(volume["KmsKeyId"]), logical_id
        assert volume["VolumeType"] == "gp3", logical_id


def test_no_bucket_is_public(application: Synthesised) -> None:
    for _, logical_id, properties in _resources(application, "AWS::S3::Bucket"):
        assert set(properties["PublicAccessBlockConfiguration"].values()) == {True}, logical_id
        assert "AccessControl" not in properties, logical_id


def test_every_bucket_takes_modern_tls_only(application: Synthesised) -> None:
    buckets = {(stack, logical_id) for stack, logical_id, _ in _resources(application, "AWS::S3::Bucket")}
    assert buckets
    for stack, logical_id in buckets:
        denied = [
            each.condition
            for each in statements(application.templates, "resource")
            if not each.allows
            and each.stack == stack
            and each.actions == ["s3:*"]
            and {f"${{{logical_id}.Arn}}", f"${{{logical_id}.Arn}}/*"} == set(each.resources)
        ]
        assert {"Bool": {"aws:SecureTransport": "false"}} in denied, logical_id
        assert {"NumericLessThan": {"s3:TlsVersion": 1.2}} in denied, logical_id


def test_no_ingress_names_an_address_range(application: Synthesised) -> None:
    open_rules = []
    for stack, logical_id, rule in _ingress(application):
        if "CidrIp" in rule or "CidrIpv6" in rule:
            open_rules.append((stack, logical_id, rule))
    assert open_rules == []


def test_ingress_is_from_security_groups(application: Synthesised) -> None:
    rules = list(_ingress(application))
    assert rules
    for stack, logical_id, rule in rules:
        assert "SourceSecurityGroupId" in rule or "SourcePrefixListId" in rule, f"{stack}/{logical_id}"


def _ingress(of: Synthesised) -> Iterator[tuple[str, str, dict[str, Any]]]:
    yield from _resources(of, "AWS::EC2::SecurityGroupIngress")
    for stack, logical_id, properties in _resources(of, "AWS::EC2::SecurityGroup"):
        for rule in properties.get("SecurityGroupIngress", []):
            yield stack, logical_id, rule


def test_no_security_group_is_left_with_aws_s_open_egress(application: Synthesised) -> None:
    """A group that says nothing about egress is given a rule to everywhere."""
    for stack, logical_id, properties in _resources(application, "AWS::EC2::SecurityGroup"):
        assert properties["SecurityGroupEgress"], f"{stack}/{logical_id}"
        for rule in properties["SecurityGroupEgress"]:
            assert rule.get("IpProtocol") != "-1", f"{stack}/{logical_id}"


def test_the_only_egress_to_any_address_is_https(application: Synthesised) -> None:
    for stack, logical_id, rule in _resources(application, "AWS::EC2::SecurityGroupEgress"):
        if rule.get("CidrIp") == "0.0.0.0/0":
            assert (rule["IpProtocol"], rule["FromPort"], rule["ToPort"]) == ("tcp", 443, 443), f"{stack}/{logical_id}"


def test_every_host_answers_metadata_version_2_only_and_no_container(application_with_any_hosts: Synthesised) -> None:
    templates = list(_resources(application_with_any_hosts, "AWS::EC2::LaunchTemplate"))
    assert templates
    for stack, logical_id, properties in templates:
        options = properties["LaunchTemplateData"]["MetadataOptions"]
        assert options["HttpTokens"] == "required", f"{stack}/{logical_id}"
        assert options["HttpPutResponseHopLimit"] == 1, f"{stack}/{logical_id}"


def test_no_host_has_a_public_address_or_an_ssh_key(application: Synthesised) -> None:
    for stack, logical_id, properties in _resources(application, "AWS::EC2::LaunchTemplate"):
        data = properties["LaunchTemplateData"]
        assert "KeyName" not in data, f"{stack}/{logical_id}"
        assert not any(each.get("AssociatePublicIpAddress") for each in data.get("NetworkInterfaces", []))
    for stack, logical_id, properties in _resources(application, "AWS::EC2::Subnet"):
        assert properties["MapPublicIpOnLaunch"] is False, f"{stack}/{logical_id}"


@pytest.mark.parametrize(
    ("variant", "policy"), [("default", "Retain"), ("frankfurt", "Retain"), ("existing", "Delete")]
)
def test_data_is_deleted_only_with_both_switches(variant: str, policy: str) -> None:
    kept = ("AWS::S3::Bucket", "AWS::KMS::Key", "AWS::Logs::LogGroup")
    of = synthesised(variant)
    found = {
        (stack, logical_id): resource["DeletionPolicy"]
        for stack, template in of.templates.items()
        for logical_id, resource in template["Resources"].items()
        if resource["Type"] in kept
    }
    assert len(found) >= 3
    assert set(found.values()) == {policy}


def test_nothing_empties_a_bucket_by_itself(application: Synthesised) -> None:
    assert "Custom::S3AutoDeleteObjects" not in json.dumps(application.templates)


def test_no_secret_is_written_into_a_template(application: Synthesised) -> None:
    for stack, logical_id, properties in _resources(application, "AWS::SecretsManager::Secret", "AWS::SSM::Parameter"):
        assert "SecretString" not in properties, f"{stack}/{logical_id}"
        assert properties.get("Type", "String") != "SecureString", f"{stack}/{logical_id}"


def test_statements_were_found_at_all(application: Synthesised) -> None:
    """The checks above walk what this finds: none of them may pass for want of anything to look at."""
    kinds = {each.kind for each in statements(application.templates)}
    assert {"identity", "trust", "endpoint", "resource"} <= kinds
    assert as_list("one") == ["one"]
