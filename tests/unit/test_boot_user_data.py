"""User data, run as a host runs it: whatever happens, the stack gets its signal and the log its reason first."""

import json
import zipfile
from pathlib import Path

import pytest

from spark_constructs.host_user_data import HostIdentity, boot_commands
from tests.support.boot_sandbox import BootSandbox

INSTANCE = "i-0a1b2c3d4e5f60718"
IDENTITY = HostIdentity(
    cluster="analytics",
    role="worker",
    region="eu-central-1",
    stack="analytics-swarm",
    resource="SwarmWorkersGroup",
    group="analytics-workers",
    drain_hook="analytics-workers-drain",
    drain_timeout_seconds=600,
    boot_timeout_seconds=900,
    log_group="/sparkvault/analytics/swarm",
    parameters="/sparkvault/analytics",
    job_bucket="analytics-jobs",
)
SIGNAL = (
    "aws cloudformation signal-resource --stack-name analytics-swarm "
    f"--logical-resource-id SwarmWorkersGroup --unique-id {INSTANCE} --status "
)


@pytest.fixture
def host(tmp_path: Path) -> BootSandbox:
    """A host whose metadata service answers, and whose bundle does nothing."""
    sandbox = BootSandbox(tmp_path)
    sandbox.write("dev/console", "")
    sandbox.stand_in(
        "curl", f'case "$*" in *api/token) echo a-token;; *"token: a-token"*instance-id) echo {INSTANCE};; esac'
    )
    provide_bundle(sandbox, "exit 0")
    return sandbox


def provide_bundle(host: BootSandbox, boot_script: str) -> None:
    """Let the bucket hold a bundle with this boot script."""
    archive = host.root / "bundle.zip"
    with zipfile.ZipFile(archive, "w") as bundle:
        bundle.writestr("boot/boot.sh", host.inside(boot_script))
    host.stand_in("aws", f'if [ "$1" = s3 ]; then cp {archive} "${{@: -1}}"; fi')


def run(host: BootSandbox) -> int:
    lines = ["#!/bin/bash", *boot_commands(IDENTITY, "s3://assets/bundle.zip")]
    return host.run("bash", str(host.write("user-data", host.inside("\n".join(lines))))).returncode


def logged(host: BootSandbox) -> dict[str, str]:
    """The one event that was sent to the log group."""
    (sent,) = [call for call in host.calls if call.startswith("aws logs put-log-events")]
    assert f"--log-group-name /sparkvault/analytics/swarm --log-stream-name boot/{INSTANCE} " in sent
    (event,) = json.loads(host.read("run/sparkvault/events.json"))
    message: dict[str, str] = json.loads(event["message"])
    return message


def test_a_host_that_is_up_signals_success_and_stays(host: BootSandbox) -> None:
    assert run(host) == 0
    assert host.calls[-1] == SIGNAL + "SUCCESS"
    assert logged(host) == {"instance": INSTANCE, "boot": "SUCCESS", "reason": ""}
    assert not any(call.startswith("shutdown") for call in host.calls)


def test_the_host_knows_who_it_is_before_the_bundle_runs(host: BootSandbox) -> None:
    provide_bundle(host, "cp /etc/sparkvault/host.json /etc/seen.json")
    assert run(host) == 0
    assert json.loads(host.read("etc/seen.json"))["group"] == "analytics-workers"


def test_the_reason_of_a_failed_boot_is_logged_and_shown_before_the_signal(host: BootSandbox) -> None:
    reason = '200 MiB of enclave memory are reserved where "4096" MiB are wanted; it\'s $HOME `id`'
    host.write("the-reason", reason + "\n")
    provide_bundle(host, f"cp {host.root}/the-reason /run/sparkvault/boot-failure; exit 1")
    assert run(host) == 1
    assert logged(host) == {"instance": INSTANCE, "boot": "FAILURE", "reason": reason}
    assert host.read("dev/console") == f"sparkvault boot of {INSTANCE}: FAILURE {reason}\n"
    log = next(index for index, call in enumerate(host.calls) if call.startswith("aws logs put-log-events"))
    assert log < host.calls.index(SIGNAL + "FAILURE")


def test_a_host_that_failed_powers_off_so_that_its_group_replaces_it(host: BootSandbox) -> None:
    provide_bundle(host, "exit 1")
    assert run(host) == 1
    assert host.calls[-1] == "shutdown -P +15"


def test_a_boot_script_without_a_reason_still_signals(host: BootSandbox) -> None:
    provide_bundle(host, "exit 7")
    assert run(host) == 7
    assert SIGNAL + "FAILURE" in host.calls
    assert logged(host)["reason"] == "boot stopped without a reason"


def test_a_bundle_that_cannot_be_fetched_is_tried_again_and_then_the_reason(host: BootSandbox) -> None:
    host.stand_in("aws", "[ $1 != s3 ]")
    assert run(host) != 0
    assert sum(call.startswith("aws s3 cp") for call in host.calls) == 6
    assert SIGNAL + "FAILURE" in host.calls
    assert logged(host)["reason"] == "the bundle could not be fetched from s3://assets/bundle.zip"


def test_a_log_group_that_does_not_answer_does_not_hold_the_signal_back(host: BootSandbox) -> None:
    archive = host.root / "bundle.zip"
    host.stand_in("aws", f'case "$1" in s3) cp {archive} "${{@: -1}}";; logs) exit 255;; esac')
    assert run(host) == 0
    assert host.calls[-1] == SIGNAL + "SUCCESS"


def test_a_stack_that_waits_for_no_signal_does_not_fail_the_host(host: BootSandbox) -> None:
    archive = host.root / "bundle.zip"
    host.stand_in("aws", f'case "$1" in s3) cp {archive} "${{@: -1}}";; cloudformation) exit 254;; esac')
    assert run(host) == 0
    assert not any(call.startswith("shutdown") for call in host.calls)
