"""What stands in the way of a deployment is said before anything is changed, with what to do about it."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from botocore.exceptions import WaiterError

from emulation.aws import EmbeddedAws
from tests.support.command_line import CommandLine


@pytest.fixture(scope="module")
def aws() -> Iterator[EmbeddedAws]:
    with EmbeddedAws() as running:
        yield running


@pytest.fixture
def account(aws: EmbeddedAws, sparkvault: CommandLine, monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    """The command line, with credentials of the emulated account."""
    for name, value in aws.exports().items():
        monkeypatch.setenv(name, value)
    return sparkvault


def stacks(aws: EmbeddedAws) -> dict[str, str]:
    return {
        stack["StackName"]: stack["StackStatus"] for stack in aws.client("cloudformation").describe_stacks()["Stacks"]
    }


def test_without_a_bootstrap_the_command_that_makes_it_is_named(account: CommandLine, aws: EmbeddedAws) -> None:
    answer = account.run("deploy", "--yes", "--without-images")
    assert answer.code == 1
    assert "the CDK is not bootstrapped in account 123456789012, region eu-central-1" in answer.err
    assert "npx cdk bootstrap aws://123456789012/eu-central-1" in answer.err
    assert stacks(aws) == {}


def test_credentials_of_another_account_are_refused(account: CommandLine, tmp_path: Path) -> None:
    config = tmp_path / "other.json"
    config.write_text(json.dumps({"account": "210987654321"}))
    answer = account.run("diff", "--config", str(config))
    assert answer.code == 2
    assert "the credentials are of account 123456789012, and the configuration is for 210987654321" in answer.err


def test_a_bootstrap_that_is_too_old_is_refused(account: CommandLine, aws: EmbeddedAws) -> None:
    _bootstrap_version(aws, "3")
    answer = account.run("deploy", "--yes", "--without-images")
    assert answer.code == 1
    assert "the CDK's bootstrap is version 3, older than 6" in answer.err


def test_building_images_without_an_engine_is_refused(account: CommandLine, aws: EmbeddedAws) -> None:
    _bootstrap_version(aws, "30")
    answer = account.run("deploy", "--yes")
    assert answer.code == 1
    assert "no Docker engine is reachable" in answer.err
    assert "--without-images" in answer.err


def test_a_stack_that_was_rolled_back_is_named_with_the_reason_and_what_to_do(
    account: CommandLine, aws: EmbeddedAws
) -> None:
    _bootstrap_version(aws, "30")
    formation = aws.client("cloudformation")
    broken = {"Resources": {"Broken": {"Type": "AWS::Nothing::There", "Properties": {}}}}
    formation.create_stack(StackName="sparkvault-network", TemplateBody=json.dumps(broken))
    with pytest.raises(WaiterError, match="ROLLBACK_COMPLETE"):
        formation.get_waiter("stack_create_complete").wait(
            StackName="sparkvault-network", WaiterConfig={"Delay": 1, "MaxAttempts": 30}
        )
    answer = account.run("deploy", "--yes", "--without-images")
    assert answer.code == 1
    assert "stack sparkvault-network is in ROLLBACK_COMPLETE: Broken (AWS::Nothing::There)" in answer.err
    assert "sparkvault deploy --replace-failed" in answer.err
    assert stacks(aws) == {"sparkvault-network": "ROLLBACK_COMPLETE"}


def _bootstrap_version(aws: EmbeddedAws, version: str) -> None:
    aws.client("ssm").put_parameter(
        Name="/cdk-bootstrap/hnb659fds/version", Value=version, Type="String", Overwrite=True
    )
