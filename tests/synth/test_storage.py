"""Storage: the key's policy action by action, what the bucket refuses, what is kept and for how long."""

from typing import Any

import pytest

from spark_constructs.kms_key import ADMINISTRATION, USE
from spark_constructs.storage import ClusterStorage, ClusterStorageProps, UnknownLogGroupError
from tests.support.synth_app import Synthesised, Template, synthesise_alone, synthesised
from tests.support.synth_policies import Statement, statements
from tests.support.synth_readable import text
from tests.support.synth_variants import TENANT_KEY_ARN, VARIANTS


def _alone(**props: Any) -> Synthesised:
    return synthesise_alone(
        lambda stack: ClusterStorage(stack, "Storage", ClusterStorageProps(cluster="alone", **props))
    )


def _of_type(template: Template, kind: str) -> dict[str, dict[str, Any]]:
    return {name: each for name, each in template["Resources"].items() if each["Type"] == kind}


def _bucket(template: Template, name: str) -> dict[str, Any]:
    (found,) = (each for key, each in _of_type(template, "AWS::S3::Bucket").items() if name in key)
    return dict(found["Properties"])


class TestAlone:
    """In someone else's application, with required properties only."""

    def test_it_passes_cdk_nag(self) -> None:
        assert _alone().violations == []

    def test_it_retains_everything(self) -> None:
        kept = ("AWS::KMS::Key", "AWS::S3::Bucket", "AWS::Logs::LogGroup")
        policies = [
            each["DeletionPolicy"] for kind in kept for each in _of_type(_alone().template("Alone"), kind).values()
        ]
        assert policies == ["Retain"] * 4

    def test_an_unknown_log_group_is_refused(self) -> None:
        def build(stack: Any) -> None:
            storage = ClusterStorage(stack, "Storage", ClusterStorageProps(cluster="alone"))
            with pytest.raises(UnknownLogGroupError, match="no log group 'yarn'; there are swarm"):
                storage.log_group("yarn")

        synthesise_alone(build)


class TestKey:
    def _statements(self) -> dict[str, Statement]:
        template = synthesised("default").template("Storage")
        return {each.body["Sid"]: each for each in statements({"Storage": template}, "key")}

    def test_it_rotates_and_can_be_recovered_for_a_month(self) -> None:
        (key,) = _of_type(synthesised("default").template("Storage"), "AWS::KMS::Key").values()
        assert key["Properties"]["EnableKeyRotation"] is True
        assert key["Properties"]["PendingWindowInDays"] == 30

    def test_it_is_found_by_the_clusters_name(self) -> None:
        (alias,) = _of_type(synthesised("default").template("Storage"), "AWS::KMS::Alias").values()
        assert alias["Properties"]["AliasName"] == "alias/sparkvault"

    def test_who_administers_it_cannot_use_it(self) -> None:
        assert set(self._statements()["Administration"].actions) == set(ADMINISTRATION)
        assert set(ADMINISTRATION) & set(USE) == {"kms:DescribeKey"}
        assert "kms:CreateGrant" not in ADMINISTRATION

    def test_it_is_used_through_services_of_this_region_only(self) -> None:
        condition = self._statements()["UseThroughServices"].condition
        hosts = [text(host) for host in condition["StringEquals"]["kms:ViaService"]]
        assert hosts == [f"{service}.${{AWS::Region}}.amazonaws.com" for service in ("dynamodb", "ec2", "s3", "ssm")]

    def test_cloudwatch_uses_it_for_log_groups_of_this_cluster_only(self) -> None:
        statement = self._statements()["LogGroupsOfThisCluster"]
        assert text(statement.body["Principal"]["Service"]) == "logs.${AWS::Region}.amazonaws.com"
        arn = text(statement.condition["ArnLike"]["kms:EncryptionContext:aws:logs:arn"])
        assert arn.endswith(":log-group:/sparkvault/sparkvault/*")

    def test_every_log_group_of_the_application_is_under_that_prefix(self) -> None:
        for template in synthesised("default").templates.values():
            for each in _of_type(template, "AWS::Logs::LogGroup").values():
                assert each["Properties"]["LogGroupName"].startswith("/sparkvault/sparkvault/")

    def test_auto_scaling_starts_hosts_with_it_even_before_its_role_exists(self) -> None:
        """A key policy that names a role which is not there yet is refused; a condition is not."""
        for sid in ("VolumesOfLaunchedInstances", "GrantsForLaunchedInstances"):
            statement = self._statements()[sid]
            assert statement.body["Principal"] == {"AWS": "*"}
            roles = [text(role) for role in statement.condition["ArnEquals"]["aws:PrincipalArn"]]
            assert len(roles) == 2
            for role in roles:
                assert role.startswith("arn:${AWS::Partition}:iam::${AWS::AccountId}:role/aws-service-role/")
                assert "*" not in role

    def test_a_given_key_is_used_in_its_place(self) -> None:
        template = synthesised("existing").template("Storage")
        assert _of_type(template, "AWS::KMS::Key") == {}
        (rule,) = _bucket(template, "Jobs")["BucketEncryption"]["ServerSideEncryptionConfiguration"]
        assert rule["ServerSideEncryptionByDefault"]["KMSMasterKeyID"] == VARIANTS["existing"]["kms_key_arn"]


class TestJobBucket:
    def _denied(self, variant: str) -> dict[str, Statement]:
        template = synthesised(variant).template("Storage")
        found = statements({"Storage": template}, "resource")
        return {each.body["Sid"]: each for each in found if not each.allows and "Sid" in each.body}

    def test_uploads_under_another_encryption_are_denied_and_those_that_say_nothing_are_not(self) -> None:
        denied = self._denied("default")["OnlyKmsEncryption"]
        assert denied.actions == ["s3:PutObject"]
        assert denied.condition == {
            "StringNotEquals": {"s3:x-amz-server-side-encryption": ["aws:kms"]},
            "Null": {"s3:x-amz-server-side-encryption": "false"},
        }

    def test_uploads_under_another_key_are_denied_but_for_tenants_own(self) -> None:
        header = "s3:x-amz-server-side-encryption-aws-kms-key-id"
        allowed = self._denied("frankfurt")["OnlyKnownKeys"].condition["StringNotEquals"][header]
        assert "StorageKey" in text(allowed[0])
        assert allowed[1:] == [TENANT_KEY_ARN]

    def test_files_of_jobs_expire_and_overwritten_ones_go_after_a_week(self) -> None:
        rules = {
            rule["Id"]: rule
            for rule in _bucket(synthesised("default").template("Storage"), "Jobs")["LifecycleConfiguration"]["Rules"]
        }
        assert (rules["expire-jobs"]["Prefix"], rules["expire-jobs"]["ExpirationInDays"]) == ("jobs/", 30)
        assert rules["clean-up"]["NoncurrentVersionExpiration"]["NoncurrentDays"] == 7
        assert rules["clean-up"]["AbortIncompleteMultipartUpload"]["DaysAfterInitiation"] == 1

    def test_it_is_versioned_and_nobody_else_can_own_an_object(self) -> None:
        for name in ("Jobs", "AccessLogs"):
            bucket = _bucket(synthesised("default").template("Storage"), name)
            assert bucket["VersioningConfiguration"] == {"Status": "Enabled"}
            assert bucket["OwnershipControls"] == {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}

    def test_its_accesses_are_logged_and_only_s3_for_this_bucket_may_write_them(self) -> None:
        template = synthesised("frankfurt").template("Storage")
        logging = _bucket(template, "Jobs")["LoggingConfiguration"]
        assert "AccessLogs" in text(logging["DestinationBucketName"])
        (allowed,) = (each for each in statements({"Storage": template}, "resource") if each.allows)
        assert allowed.body["Principal"] == {"Service": "logging.s3.amazonaws.com"}
        source = text(allowed.condition["ArnLike"]["aws:SourceArn"])
        assert source == "arn:aws:s3:::analytics-jobs-111122223333-eu-central-1"
        assert _bucket(template, "Jobs")["BucketName"] == "analytics-jobs-111122223333-eu-central-1"


def test_what_the_command_line_needs_is_among_the_outputs() -> None:
    outputs = synthesised("default").template("Storage")["Outputs"]
    assert {"KeyArn", "JobBucketName", "AccessLogBucketName", "SwarmLogGroupName"} <= set(outputs)
