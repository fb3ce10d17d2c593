"""measurements.json, the lock file of trust: what it may say, and that it means what it says."""

import json
from pathlib import Path
from typing import Any

import pytest

from spark_enclave.attestation import MeasurementPolicy, MeasurementPolicyError, refusals
from tests.enclave.conftest import PCRS, measurement, policy_of


def entry_with(**pcrs: str | None) -> dict[str, Any]:
    entry = measurement()
    entry["pcrs"] = {name: value for name, value in {**entry["pcrs"], **pcrs}.items() if value is not None}
    return entry


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ([entry_with(PCR0=None)], "PCR0 missing"),
        ([entry_with(PCR1=None, PCR2=None)], "PCR1, PCR2 missing"),
        ([entry_with(PCR0=None, PCR1=None, PCR2=None)], "an image is known by PCR0, PCR1 and PCR2 together"),
        ([entry_with(PCR0="0" * 96)], "PCR0 is all zero: that is an enclave in debug mode"),
        ([entry_with(PCR8="0" * 96)], "PCR8 is all zero"),
        ([entry_with(PCR0="ab")], "should match pattern"),
        ([entry_with(PCR0="zz" * 48)], "should match pattern"),
        ([entry_with(PCR32="ab" * 48)], "should match pattern"),
        ([measurement(status="trusted")], "'next', 'current' or 'revoked'"),
        ([measurement(platform="docker")], "'nitro-x86_64', 'nitro-aarch64' or 'vm-test'"),
        ([measurement(id="Two words")], "should match pattern"),
        ([measurement(comment="x")], "Extra inputs are not permitted"),
        ([measurement(), measurement()], "the id image-1 is used twice"),
        (
            [measurement(), measurement(id="old", status="revoked")],
            "image-1 is current, but old with its PCR0 is revoked",
        ),
        ({"measurements": []}, "valid tuple"),
    ],
)
def test_a_policy_that_is_wrong_says_why(entries: object, said: str) -> None:
    with pytest.raises(MeasurementPolicyError, match="measurement policy is wrong") as refused:
        MeasurementPolicy.from_json(json.dumps(entries))
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [("[", "not JSON"), ('[{"id": "a", "id": "b"}]', "the key 'id' stands twice"), (b"\xff", "not JSON")],
)
def test_a_policy_that_is_not_json_says_so(text: str | bytes, said: str) -> None:
    with pytest.raises(MeasurementPolicyError, match=said):
        MeasurementPolicy.from_json(text)


def test_a_policy_file_is_named_when_it_is_wrong(tmp_path: Path) -> None:
    file = tmp_path / "measurements.json"
    with pytest.raises(MeasurementPolicyError, match=r"measurements\.json cannot be read: No such file"):
        MeasurementPolicy.from_file(file)
    file.write_text("{}")
    with pytest.raises(MeasurementPolicyError, match=r"measurements\.json: The measurement policy is wrong"):
        MeasurementPolicy.from_file(file)
    file.write_text(json.dumps([measurement()]))
    assert MeasurementPolicy.from_file(file) == policy_of(measurement())


def test_hexadecimal_digits_may_be_capitals() -> None:
    assert policy_of(entry_with(PCR0="AB" * 48)).root[0].registers()[0] == b"\xab" * 48


def test_the_signing_certificate_alone_is_never_enough() -> None:
    signed_by_us = {8: PCRS[8], 0: b"\x01" * 48, 1: b"\x02" * 48, 2: b"\x03" * 48}
    with pytest.raises(refusals.MeasurementUnknown):
        policy_of(measurement()).match(signed_by_us, simulated=False)


def test_registers_of_two_entries_are_never_mixed() -> None:
    other = entry_with(PCR0="aa" * 48, PCR1="bb" * 48, PCR2="cc" * 48) | {"id": "image-2"}
    policy = policy_of(measurement(), other)
    assert (
        policy.match({0: b"\xaa" * 48, 1: b"\xbb" * 48, 2: b"\xcc" * 48, 8: PCRS[8]}, simulated=False).id == "image-2"
    )
    with pytest.raises(refusals.MeasurementUnknown):
        policy.match({**PCRS, 0: b"\xaa" * 48}, simulated=False)


def test_an_image_for_tests_is_refused_on_real_hardware() -> None:
    policy = policy_of(measurement(platform="vm-test"))
    assert policy.match(PCRS, simulated=True).platform == "vm-test"
    with pytest.raises(refusals.MeasurementForOtherPlatform, match="vm-test"):
        policy.match(PCRS, simulated=False)


def test_a_refusal_shows_what_the_enclave_measures_to() -> None:
    with pytest.raises(refusals.MeasurementUnknown, match=f"PCR0 {PCRS[0].hex()}"):
        policy_of().match(PCRS, simulated=True)
