"""Every syntactic rule of the AWS specification, on documents whose signature and certificates are right."""

from typing import Any

import cbor2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spark_enclave.attestation import inspect, refusals
from tests.enclave.conftest import NOW, PCRS, Enclave, make_enclave

SIMULATED = make_enclave()


def pcrs_with(index: object, *, without: int | None = None) -> dict[object, bytes]:
    """Registers of which one has an index that is none."""
    return {**{number: value for number, value in PCRS.items() if number != without}, index: bytes(48)}


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        *[({name: ...}, refusals.FieldMissing) for name in ("module_id", "digest", "timestamp", "pcrs", "certificate")],
        *[({name: None}, refusals.FieldMissing) for name in ("module_id", "digest", "timestamp", "pcrs", "cabundle")],
        ({"cabundle": ...}, refusals.FieldMissing),
        ({"certificate": None}, refusals.FieldMissing),
        ({"extra": 1}, refusals.FieldUnknown),
        ({7: 1}, refusals.FieldUnknown),
        ({b"nonce": b"x" * 32}, refusals.FieldUnknown),
        ({"module_id": ""}, refusals.ModuleIdRefused),
        ({"module_id": b"i-1"}, refusals.ModuleIdRefused),
        ({"digest": "SHA256"}, refusals.DigestRefused),
        ({"digest": "sha384"}, refusals.DigestRefused),
        ({"digest": b"SHA384"}, refusals.DigestRefused),
        ({"timestamp": 0}, refusals.TimestampRefused),
        ({"timestamp": -1}, refusals.TimestampRefused),
        ({"timestamp": True}, refusals.TimestampRefused),
        ({"timestamp": 1.5}, refusals.TimestampRefused),
        ({"timestamp": 2**64 - 1}, refusals.TimestampRefused),
        ({"pcrs": {}}, refusals.PcrsRefused),
        ({"pcrs": []}, refusals.PcrsRefused),
        ({"pcrs": {index: bytes(48) for index in range(33)}}, refusals.PcrsRefused),
        ({"pcrs": {**PCRS, 32: bytes(48)}}, refusals.PcrsRefused),
        ({"pcrs": pcrs_with(-1)}, refusals.PcrsRefused),
        ({"pcrs": pcrs_with("3")}, refusals.PcrsRefused),
        ({"pcrs": pcrs_with(3.0)}, refusals.PcrsRefused),
        ({"pcrs": pcrs_with(True, without=1)}, refusals.PcrsRefused),
        *[({"pcrs": {**PCRS, 3: bytes(length)}}, refusals.PcrsRefused) for length in (0, 31, 33, 47, 49, 63, 65)],
        ({"pcrs": {**PCRS, 3: "x" * 48}}, refusals.PcrsRefused),
        ({"pcrs": {**PCRS, 3: None}}, refusals.PcrsRefused),
        ({"certificate": b""}, refusals.CertificateFieldRefused),
        ({"certificate": bytes(1025)}, refusals.CertificateFieldRefused),
        ({"certificate": "text"}, refusals.CertificateFieldRefused),
        ({"cabundle": []}, refusals.CabundleRefused),
        ({"cabundle": b"x"}, refusals.CabundleRefused),
        ({"cabundle": {0: b"x"}}, refusals.CabundleRefused),
        ({"cabundle": [b""]}, refusals.CabundleRefused),
        ({"cabundle": [bytes(1025)]}, refusals.CabundleRefused),
        ({"cabundle": ["text"]}, refusals.CabundleRefused),
        ({"cabundle": [None]}, refusals.CabundleRefused),
        ({"public_key": b""}, refusals.PublicKeyRefused),
        ({"public_key": bytes(1025)}, refusals.PublicKeyRefused),
        ({"public_key": "text"}, refusals.PublicKeyRefused),
        ({"user_data": bytes(513)}, refusals.UserDataRefused),
        ({"user_data": [1]}, refusals.UserDataRefused),
        ({"nonce": bytes(513)}, refusals.NonceRefused),
        ({"nonce": 5}, refusals.NonceRefused),
    ],
)
def test_a_rule_that_is_broken_has_its_own_refusal(
    enclave: Enclave, changes: dict[Any, Any], refusal: type[refusals.AttestationRefused]
) -> None:
    fields = {name: value for name, value in {**enclave.fields(), **changes}.items() if value is not ...}
    with pytest.raises(refusal) as refused:
        enclave.verify(enclave.sign(cbor2.dumps(fields)))
    assert type(refused.value) is refusal


def test_optional_fields_may_be_null_or_left_out(enclave: Enclave) -> None:
    for absent in (None, ...):
        document = enclave.document(public_key=absent, user_data=absent, nonce=absent)
        seen = inspect(document, trust=enclave.trust, at=NOW)
        assert (seen.public_key, seen.user_data, seen.nonce) == (None, None, None)


def test_the_largest_optional_fields_are_accepted(enclave: Enclave) -> None:
    document = enclave.document(public_key=bytes(1024), user_data=bytes(512), nonce=bytes(512))
    assert inspect(document, trust=enclave.trust, at=NOW).public_key == bytes(1024)


def test_an_indefinite_payload_is_accepted_as_it_was_signed(enclave: Enclave) -> None:
    payload = cbor2.dumps(enclave.fields(), indefinite_containers=True)
    assert payload[0] == 0xBF
    assert enclave.verify(enclave.sign(payload)).measurement.id == "image-1"


def test_a_payload_is_never_encoded_again_before_it_is_verified(enclave: Enclave) -> None:
    """Same fields, other bytes: each verifies as signed, and neither under the other's signature."""
    definite = cbor2.dumps(enclave.fields())
    indefinite = cbor2.dumps(enclave.fields(), indefinite_containers=True)
    reordered = cbor2.dumps(dict(reversed(enclave.fields().items())))
    for signed in (definite, indefinite, reordered):
        enclave.verify(enclave.sign(signed))
        for shown in (definite, indefinite, reordered):
            if shown != signed:
                head = enclave.sign(shown)[:-96]
                with pytest.raises(refusals.SignatureInvalid):
                    enclave.verify(head + enclave.sign(signed)[-96:])


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.integers(1, 31), st.binary(min_size=48, max_size=48), max_size=31))
def test_any_number_of_registers_is_accepted(others: dict[int, bytes]) -> None:
    pcrs = {**others, **{index: PCRS[index] for index in (0, 1, 2)}}
    seen = inspect(SIMULATED.document(pcrs=pcrs), trust=SIMULATED.trust, at=NOW)
    assert dict(seen.pcrs) == pcrs
    assert list(seen.pcrs) == sorted(pcrs)


@settings(max_examples=60, deadline=None)
@given(
    public_key=st.none() | st.binary(min_size=1, max_size=1024),
    user_data=st.none() | st.binary(max_size=512),
    nonce=st.none() | st.binary(max_size=512),
    module_id=st.text(min_size=1, max_size=60),
    indefinite=st.booleans(),
)
def test_whatever_the_rules_allow_is_accepted(indefinite: bool, **fields: Any) -> None:
    payload = cbor2.dumps({**SIMULATED.fields(), **fields}, indefinite_containers=indefinite)
    seen = inspect(SIMULATED.sign(payload), trust=SIMULATED.trust, at=NOW)
    assert (seen.public_key, seen.user_data, seen.nonce) == (fields["public_key"], fields["user_data"], fields["nonce"])
    assert all(line.isprintable() for line in seen.describe().split("\n"))


def test_a_key_that_stands_twice_is_refused(enclave: Enclave) -> None:
    payload = cbor2.dumps(enclave.fields())
    twice = bytes([payload[0] + 1]) + payload[1:] + cbor2.dumps("nonce") + cbor2.dumps(b"another")
    with pytest.raises(refusals.DuplicateKey):
        enclave.verify(enclave.sign(twice))
    indefinite = cbor2.dumps(enclave.fields(), indefinite_containers=True)
    with pytest.raises(refusals.DuplicateKey):
        enclave.verify(enclave.sign(indefinite[:-1] + cbor2.dumps("nonce") + cbor2.dumps(b"another") + b"\xff"))


def test_a_register_that_stands_twice_is_refused(enclave: Enclave) -> None:
    pcrs = b"\xa4" + b"".join(cbor2.dumps(index) + cbor2.dumps(PCRS[index]) for index in (0, 1, 2, 0))
    payload = cbor2.dumps({**enclave.fields(), "pcrs": "here"}).replace(cbor2.dumps("here"), pcrs)
    with pytest.raises(refusals.DuplicateKey):
        enclave.verify(enclave.sign(payload))


def test_a_register_that_stands_twice_under_two_encodings_of_its_index_is_refused(enclave: Enclave) -> None:
    indexes = (b"\x00", b"\x01", b"\x02", b"\x18\x00")
    pcrs = b"\xa4" + b"".join(index + cbor2.dumps(PCRS[0]) for index in indexes)
    payload = cbor2.dumps({**enclave.fields(), "pcrs": "here"}).replace(cbor2.dumps("here"), pcrs)
    with pytest.raises(refusals.DuplicateKey):
        enclave.verify(enclave.sign(payload))


@pytest.mark.parametrize("tag", [0, 1, 2, 3, 4, 5, 18, 24, 25, 28, 29, 30, 35, 37, 100, 256, 258, 260, 55799, 2**63])
def test_no_tag_is_interpreted(enclave: Enclave, tag: int) -> None:
    for field in ("timestamp", "nonce", "module_id"):
        tagged = cbor2.CBORTag(tag, enclave.fields()[field])
        with pytest.raises(refusals.TagRefused):
            enclave.verify(enclave.sign(cbor2.dumps({**enclave.fields(), field: tagged})))


@pytest.mark.parametrize(
    ("payload", "refusal"),
    [
        (b"\xa1\x61", refusals.PayloadMalformed),
        (b"\xff", refusals.PayloadMalformed),
        (b"\x80", refusals.PayloadMalformed),
        (b"\xf6", refusals.PayloadMalformed),
        (b"\x81" * 5000 + b"\x00", refusals.PayloadMalformed),
        (b"\xa1\x61a\x81\x81\x81\x00", refusals.PayloadMalformed),
        (b"\xbb\xff\xff\xff\xff\xff\xff\xff\xff", refusals.PayloadMalformed),
        (b"\x5b\x7f\xff\xff\xff\xff\xff\xff\xff", refusals.PayloadMalformed),
        (b"\x9b\x00\x00\x00\x00\xff\xff\xff\xff", refusals.PayloadMalformed),
        (b"\xa1\x62\xff\xff\x00", refusals.PayloadMalformed),
        (b"\xa0\x00", refusals.TrailingBytes),
        (b"\xc5\x82\x1b\x7f\xff\xff\xff\xff\xff\xff\xff\x01", refusals.TagRefused),
    ],
)
def test_a_payload_that_is_no_payload_is_refused(
    enclave: Enclave, payload: bytes, refusal: type[refusals.AttestationRefused]
) -> None:
    with pytest.raises(refusal):
        enclave.verify(enclave.sign(payload))


def test_a_payload_of_more_than_sixteen_kilobytes_is_refused(enclave: Enclave) -> None:
    with pytest.raises(refusals.PayloadTooLarge):
        enclave.verify(enclave.sign(bytes(16_385)))


PROTECTED = b"\x44\xa1\x01\x38\x22"


@pytest.mark.parametrize(
    ("protected", "refusal"),
    [
        ({1: -7}, refusals.AlgorithmRefused),
        ({1: -36}, refusals.AlgorithmRefused),
        ({1: -37}, refusals.AlgorithmRefused),
        ({1: -8}, refusals.AlgorithmRefused),
        ({1: 5}, refusals.AlgorithmRefused),
        ({1: 0}, refusals.AlgorithmRefused),
        ({1: "ES384"}, refusals.AlgorithmRefused),
        ({1: None}, refusals.AlgorithmRefused),
        ({1: -35.0}, refusals.AlgorithmRefused),
        ({}, refusals.EnvelopeMalformed),
        ({"1": -35}, refusals.EnvelopeMalformed),
        ({True: -35}, refusals.EnvelopeMalformed),
        ({1: -35, 2: [99], 99: 1}, refusals.PayloadMalformed),
        ({1: -35, 4: b"kid"}, refusals.EnvelopeMalformed),
        ([1, -35], refusals.EnvelopeMalformed),
    ],
)
def test_only_es384_and_nothing_else_may_stand_in_the_protected_header(
    enclave: Enclave, protected: object, refusal: type[refusals.AttestationRefused]
) -> None:
    document = enclave.attest().replace(PROTECTED, cbor2.dumps(cbor2.dumps(protected)), 1)
    with pytest.raises(refusal):
        enclave.verify(document)


def envelopes(document: bytes) -> dict[str, bytes]:
    """The same parts in other wrappings: none is what a hypervisor sends."""
    protected, unprotected, payload, signature = cbor2.loads(document)
    body, long_length = document[1:], len(payload).to_bytes(8, "big")
    in_payload = document.index(cbor2.dumps(payload))
    return {
        "tagged": b"\xd2" + document,
        "tagged as CBOR": b"\xd9\xd9\xf7" + document,
        "indefinite array": b"\x9f" + body + b"\xff",
        "long array head": b"\x98\x04" + body,
        "five parts": b"\x85" + body + b"\xf6",
        "three parts": cbor2.dumps([protected, unprotected, payload]),
        "detached payload": cbor2.dumps([protected, unprotected, None, signature]),
        "text payload": cbor2.dumps([protected, unprotected, payload.hex(), signature]),
        "unprotected with a key id": cbor2.dumps([protected, {4: b"kid"}, payload, signature]),
        "unprotected with an algorithm": cbor2.dumps([protected, {1: -7}, payload, signature]),
        "indefinite unprotected": document.replace(b"\xa0\x59", b"\xbf\xff\x59", 1),
        "unprotected as null": cbor2.dumps([protected, None, payload, signature]),
        "long protected head": b"\x84\x58\x04" + document[2:],
        "payload in pieces": document[:in_payload] + b"\x5f" + cbor2.dumps(payload) + b"\xff" + document[-98:],
        "long payload head": document[:in_payload] + b"\x5b" + long_length + payload + document[-98:],
        "byte after the end": document + b"\x00",
        "document twice": document * 2,
        "short signature": cbor2.dumps([protected, {}, payload, signature[:95]]),
        "long signature": cbor2.dumps([protected, {}, payload, signature + b"\0"]),
        "DER signature": cbor2.dumps([protected, {}, payload, b"\x30\x64" + signature]),
        "map": cbor2.dumps({0: protected, 1: {}, 2: payload, 3: signature}),
        "empty": b"",
    }


@pytest.mark.parametrize("wrapping", envelopes(SIMULATED.attest()))
def test_there_is_one_envelope_only(wrapping: str) -> None:
    with pytest.raises((refusals.EnvelopeMalformed, refusals.TrailingBytes)):
        SIMULATED.verify(envelopes(SIMULATED.attest())[wrapping])
