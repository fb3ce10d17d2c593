"""The embedded AWS as a process: it starts, answers, ends with its parent, and lets nothing of the caller through."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from emulation.aws import EmbeddedAws, EmbeddedAwsError
from tests.support.embedded_aws_stacks import wait_for

ROOT = Path(__file__).resolve().parents[2]
REAL_LOOKING = {
    "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    "AWS_SESSION_TOKEN": "a-token",
    "AWS_PROFILE": "production",
    "AWS_DEFAULT_PROFILE": "production",
    "AWS_ENDPOINT_URL_S3": "https://s3.eu-central-1.amazonaws.com",
    "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true",
    "AWS_ROLE_ARN": "arn:aws:iam::999999999999:role/production",
    "AWS_WEB_IDENTITY_TOKEN_FILE": "/var/run/token",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://169.254.170.23/v1/credentials",
    "AWS_REGION": "us-gov-west-1",
    "CDK_DEFAULT_ACCOUNT": "999999999999",
    "HTTP_PROXY": "http://127.0.0.1:9",
    "http_proxy": "http://127.0.0.1:9",
    "NO_PROXY": "registry.example",
    "PATH": os.environ["PATH"],
}
# A child as users write it: nothing is passed to boto3, all comes from the environment and the home folder.
ASKS = """
import boto3
print(boto3.client("sts").get_caller_identity()["Account"], boto3.Session().get_credentials().access_key)
print(boto3.client("s3").list_buckets()["Buckets"], boto3.Session().region_name)
"""


@pytest.fixture(scope="module")
def aws() -> Iterator[EmbeddedAws]:
    with EmbeddedAws() as running:
        yield running


@pytest.fixture
def caller(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A caller with credentials, a profile in the home folder, endpoints and a proxy that all lead elsewhere."""
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws" / "credentials").write_text(
        "[default]\naws_access_key_id = AKIAHOMEFOLDER000000\naws_secret_access_key = secret\n"
        "[production]\naws_access_key_id = AKIAHOMEFOLDER000001\naws_secret_access_key = secret\n"
    )
    (tmp_path / ".aws" / "config").write_text(
        "[default]\nregion = us-east-2\nservices = real\n"
        "[services real]\ns3 =\n  endpoint_url = https://s3.us-east-2.amazonaws.com\n"
    )
    monkeypatch.setenv("HOME", str(tmp_path))
    for name, value in REAL_LOOKING.items():
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("caller")
def test_a_child_process_reaches_only_the_embedded_account(aws: EmbeddedAws) -> None:
    environment = aws.environment()
    asked = subprocess.run([sys.executable, "-c", ASKS], env=environment, capture_output=True, text=True, timeout=60)
    assert asked.returncode == 0, asked.stderr
    assert asked.stdout.splitlines() == ["123456789012 EMULATEDNOTAREALKEY0", "[] eu-central-1"]


@pytest.mark.usefixtures("caller")
def test_nothing_of_the_callers_settings_is_in_the_environment(aws: EmbeddedAws) -> None:
    environment = aws.environment()
    leaked = {
        name
        for name, value in REAL_LOOKING.items()
        if name.startswith(("AWS_", "CDK_")) and environment.get(name) == value
    }
    assert leaked == set()
    assert {name for name in environment if name.startswith("AWS_ENDPOINT_URL")} == {"AWS_ENDPOINT_URL"}
    assert "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS" not in environment
    assert environment["AWS_ENDPOINT_URL"] == aws.endpoint
    assert environment["no_proxy"] == "registry.example,localhost,127.0.0.1,::1"
    assert not Path(environment["AWS_CONFIG_FILE"]).exists()
    assert not Path(environment["AWS_SHARED_CREDENTIALS_FILE"]).exists()


@pytest.mark.usefixtures("caller")
def test_our_own_clients_ignore_the_caller_too(aws: EmbeddedAws) -> None:
    assert aws.client("sts").get_caller_identity()["Account"] == aws.account_id
    assert aws.client("s3").meta.endpoint_url == aws.endpoint


def test_a_base_environment_is_extended_not_replaced(aws: EmbeddedAws) -> None:
    environment = aws.environment({"LANG": "C", "AWS_VAULT": "production"})
    assert environment["LANG"] == "C"
    assert "AWS_VAULT" not in environment
    assert "LANG" not in aws.exports()


def test_without_a_container_engine_the_cdk_command_line_reaches_no_registry(aws: EmbeddedAws) -> None:
    environment = aws.environment()
    engine = environment["CDK_DOCKER"]
    image = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/repository:tag"
    pushed = subprocess.run([engine, "push", image], env=environment, capture_output=True, text=True, timeout=60)
    assert pushed.returncode == 0
    assert "neither built nor pushed" in pushed.stderr
    assert aws.images_not_pushed() == [image]
    refused = subprocess.run([engine, "run", "image"], env=environment, capture_output=True, text=True, timeout=60)
    assert refused.returncode == 1


def test_stopping_leaves_no_process_and_no_folder() -> None:
    aws = EmbeddedAws().start()
    process, folder = aws.pid, aws.private_folder
    with pytest.raises(EmbeddedAwsError, match="already running"):
        aws.start()
    aws.stop()
    assert not _alive(process)
    assert not folder.exists()
    with pytest.raises(EmbeddedAwsError, match="not running"):
        _ = aws.endpoint


PARENT = """
import time
from emulation.aws import EmbeddedAws
aws = EmbeddedAws().start()
print(aws.pid, aws.private_folder, flush=True)
time.sleep(600)
"""


def test_the_server_ends_when_its_parent_is_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT], cwd=ROOT, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        server, folder = parent.stdout.readline().split()
        parent.send_signal(signal.SIGKILL)
    wait_for(f"server {server} to end after its parent", lambda: not _alive(int(server)))
    assert not Path(folder).exists()


def test_a_port_that_is_taken_is_told(aws: EmbeddedAws) -> None:
    taken = int(aws.endpoint.rsplit(":", 1)[1])
    with pytest.raises(EmbeddedAwsError, match=r"(?s)announce its port.*(in use|Address)"):
        EmbeddedAws(port=taken).start()


def test_people_can_start_it_and_copy_the_exports() -> None:
    command = [sys.executable, "-m", "emulation.aws"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        lines = [server.stdout.readline() for _ in range(6)]
        server.send_signal(signal.SIGINT)
        lines += server.stdout.readlines()
        assert server.wait(30) == 0
    assert "http://localhost:" in lines[0]
    assert any(line.startswith("export AWS_ENDPOINT_URL=http://localhost:") for line in lines)


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return "Z" not in Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0]
