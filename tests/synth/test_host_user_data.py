"""User data is thin, says who the host is, and holds nothing secret."""

import json

from spark_constructs.host_group_guards import EnclaveReservation
from spark_constructs.host_user_data import BUNDLE_FOLDER, MAX_USER_DATA_BYTES, HostIdentity, boot_commands
from tests.support.boot_sandbox import shellcheck

#: As long as names get: cluster 24 characters, region 16, bucket 63.
LONGEST = HostIdentity(
    cluster="c" * 24,
    role="manager",
    region="us-isof-south-11",
    stack="c" * 24 + "-swarm",
    resource="SwarmManagersGroupASG" + "0" * 8,
    group="c" * 24 + "-managers",
    drain_hook="c" * 24 + "-managers-drain",
    drain_timeout_seconds=7200,
    boot_timeout_seconds=900,
    log_group=f"/sparkvault/{'c' * 24}/swarm",
    parameters=f"/sparkvault/{'c' * 24}",
    job_bucket="b" * 63,
    enclaves=EnclaveReservation(count=4, cpus=10, memory_mib=65536),
)
URL = f"s3://cdk-hnb659fds-assets-111122223333-us-isof-south-11/{'0' * 64}.zip"


def script(identity: HostIdentity = LONGEST) -> str:
    return "\n".join(["#!/bin/bash", *boot_commands(identity, URL)])


def between(text: str, start: str, end: str) -> str:
    return text.split(start, 1)[1].split(end, 1)[0]


def test_it_stays_small_with_the_longest_names() -> None:
    assert len(script().encode()) < MAX_USER_DATA_BYTES


def test_it_says_who_the_host_is() -> None:
    who = json.loads(between(script(), "host.json <<'END'\n", "\nEND"))
    assert who["role"] == "manager"
    assert who["parameters"] == f"/sparkvault/{'c' * 24}"
    assert who["enclaves"] == {"count": 4, "cpus": 10, "memory_mib": 65536}


def test_it_shows_what_is_taken_from_the_host_for_all_its_enclaves() -> None:
    config = between(script(), "allocator.yaml <<'END'\n", "END")
    assert config == "---\nmemory_mib: 262144\ncpu_count: 40\n"


def test_without_enclaves_nothing_is_taken() -> None:
    identity = HostIdentity(**{**LONGEST.__dict__, "enclaves": None})
    assert "allocator.yaml" not in script(identity)
    assert json.loads(between(script(identity), "host.json <<'END'\n", "\nEND"))["enclaves"] is None


def test_the_shell_finds_nothing_to_object_to() -> None:
    # SC2086: the arguments in $LOG are to be split; names of log groups have no spaces.
    assert shellcheck("--shell=bash", "--exclude=SC2086", "-", script=script()) == ""


def test_the_bundle_is_that_of_this_repository() -> None:
    assert (BUNDLE_FOLDER / "boot" / "boot.sh").is_file()
