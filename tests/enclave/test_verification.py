"""What a client accepts from an enclave, and every way in which it does not."""

import json
from datetime import timedelta
from typing import Any

import cbor2
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP384R1, generate_private_key

from emulation.nsm import Registers
from emulation.nsm.device import sign_document
from spark_enclave.attestation import (
    Freshness,
    InspectedAttestation,
    SimulatedRootRefused,
    TrustAnchor,
    VerifiedAttestation,
    inspect,
    refusals,
)
from spark_enclave.attestation.cose_sign1 import MAX_DOCUMENT_BYTES
from tests.enclave.conftest import NONCE, NOW, PCRS, USER_DATA, Enclave, make_enclave, measurement, policy_of

#: Order of the group of P-384 (SEC 2, section 2.5.1).
P384_ORDER = int("f" * 48 + "c7634d81f4372ddf581a0db248b0a77aecec196accc52973", 16)


def test_a_document_of_the_simulator_is_verified_by_a_client_that_trusts_its_root(enclave: Enclave) -> None:
    verified = enclave.verify(enclave.attest())
    assert isinstance(verified, VerifiedAttestation)
    assert verified.simulated
    assert verified.measurement.id == "image-1"
    assert verified.nonce == NONCE
    assert verified.user_data == USER_DATA
    assert verified.public_key == b"public key"
    assert verified.made == NOW
    assert verified.pcrs[0] == PCRS[0]


def test_a_client_without_the_option_refuses_a_simulated_document(enclave: Enclave) -> None:
    with pytest.raises(refusals.UntrustedRoot, match="simulation"):
        enclave.verify(enclave.attest(), trust=TrustAnchor.aws())


def test_trusting_one_simulation_is_not_trusting_another(enclave: Enclave) -> None:
    with pytest.raises(refusals.UntrustedRoot):
        enclave.verify(make_enclave().attest())


def test_whatever_comes_of_a_simulated_document_says_simulated(enclave: Enclave) -> None:
    verified = enclave.verify(enclave.attest())
    assert verified.describe().startswith("SIMULATED")
    assert verified.to_json()["simulated"] is True
    assert inspect(enclave.attest(), trust=enclave.trust, at=NOW).describe().startswith("SIMULATED")


def test_a_verified_document_is_described_with_nothing_left_unchecked(enclave: Enclave) -> None:
    text = enclave.verify(enclave.attest()).describe()
    for said in ("image-1", "PCR0, PCR1, PCR2, PCR8 are equal", "Answers the nonce", "Binds the session", "fresh"):
        assert said in text
    assert "NOT CHECKED" not in text


def test_an_inspected_document_says_what_was_not_checked(enclave: Enclave) -> None:
    seen = inspect(enclave.attest(), trust=enclave.trust, at=NOW)
    assert type(seen) is InspectedAttestation
    assert seen.describe().count("NOT CHECKED") == 4
    report = json.loads(json.dumps(seen.to_json()))
    assert report["verified"] is False
    assert report["checked"] == {"measurement": False, "nonce": False, "user_data": False, "freshness": False}
    assert report["pcrs"]["PCR0"] == PCRS[0].hex()


def test_an_enclave_in_debug_mode_is_refused_even_when_only_looked_at() -> None:
    debug = make_enclave(Registers.debug_mode())
    with pytest.raises(refusals.DebugModeRefused):
        inspect(debug.attest(), trust=debug.trust, at=NOW)


@pytest.mark.parametrize("index", [0, 1, 2])
def test_one_measured_register_of_zeros_is_debug_mode(enclave: Enclave, index: int) -> None:
    with pytest.raises(refusals.DebugModeRefused, match=f"PCR{index}"):
        enclave.verify(enclave.document(pcrs={**PCRS, index: bytes(48)}))


def test_a_document_without_pcr0_shows_nothing_and_is_refused(enclave: Enclave) -> None:
    with pytest.raises(refusals.DebugModeRefused, match="no PCR0"):
        enclave.verify(enclave.document(pcrs={8: PCRS[8]}))


@pytest.mark.parametrize("index", [0, 1, 2, 8])
def test_one_other_register_is_another_image(enclave: Enclave, index: int) -> None:
    with pytest.raises(refusals.MeasurementUnknown):
        enclave.verify(enclave.document(pcrs={**PCRS, index: b"\x99" * 48}))


@pytest.mark.parametrize("index", [1, 2, 8])
def test_a_missing_register_is_another_image(enclave: Enclave, index: int) -> None:
    pcrs = {number: value for number, value in PCRS.items() if number != index}
    with pytest.raises(refusals.MeasurementUnknown):
        enclave.verify(enclave.document(pcrs=pcrs))


def test_a_revoked_image_is_refused_even_when_signed_anew(enclave: Enclave) -> None:
    policy = policy_of(measurement(status="revoked"))
    with pytest.raises(refusals.MeasurementRevoked, match="image-1"):
        enclave.verify(enclave.attest(), policy=policy)
    with pytest.raises(refusals.MeasurementRevoked):
        enclave.verify(enclave.document(pcrs={**PCRS, 8: b"\x77" * 48}), policy=policy)


def test_the_next_image_may_run_before_it_is_the_current_one(enclave: Enclave) -> None:
    assert enclave.verify(enclave.attest(), policy=policy_of(measurement(status="next"))).measurement.status == "next"


def test_an_empty_policy_allows_nothing(enclave: Enclave) -> None:
    with pytest.raises(refusals.MeasurementUnknown):
        enclave.verify(enclave.attest(), policy=policy_of())


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        ({"nonce": None}, refusals.NonceMissing),
        ({"nonce": ...}, refusals.NonceMissing),
        ({"nonce": b""}, refusals.NonceMismatch),
        ({"nonce": NONCE[:-1]}, refusals.NonceMismatch),
        ({"nonce": NONCE + b"\0"}, refusals.NonceMismatch),
        ({"nonce": bytes(32)}, refusals.NonceMismatch),
        ({"user_data": None}, refusals.UserDataMissing),
        ({"user_data": b""}, refusals.UserDataMismatch),
        ({"user_data": USER_DATA + b"\0"}, refusals.UserDataMismatch),
    ],
)
def test_a_document_for_another_question_or_session_is_refused(
    enclave: Enclave, changes: dict[str, Any], refusal: type[refusals.AttestationRefused]
) -> None:
    with pytest.raises(refusal):
        enclave.verify(enclave.document(**changes))


def test_a_replayed_document_does_not_answer_the_next_nonce(enclave: Enclave) -> None:
    recorded = enclave.attest()
    enclave.verify(recorded)
    with pytest.raises(refusals.NonceMismatch):
        enclave.verify(recorded, nonce=bytes(reversed(NONCE)))


def test_a_document_ages(enclave: Enclave) -> None:
    document = enclave.attest()
    enclave.verify(document, at=NOW + timedelta(minutes=5))
    with pytest.raises(refusals.DocumentStale, match="301 s ago"):
        enclave.verify(document, at=NOW + timedelta(minutes=5, seconds=1))


def test_clocks_may_disagree_a_little(enclave: Enclave) -> None:
    document = enclave.attest()
    enclave.verify(document, at=NOW - timedelta(seconds=60))
    with pytest.raises(refusals.CertificateNotYetValid):
        enclave.verify(document, at=NOW - timedelta(seconds=61))
    with pytest.raises(refusals.CertificateNotYetValid):
        enclave.verify(document, at=NOW - timedelta(seconds=4), freshness=Freshness(clock_skew=timedelta(0)))


def test_a_document_of_the_future_is_refused_though_its_certificates_are_valid(enclave: Enclave) -> None:
    later = int((NOW + timedelta(minutes=30)).timestamp() * 1000)
    with pytest.raises(refusals.DocumentFromTheFuture, match="1800 s ahead"):
        enclave.verify(enclave.document(timestamp=later))


@pytest.mark.parametrize(
    "limits", [{"max_age": timedelta(hours=4)}, {"max_age": timedelta(0)}, {"clock_skew": timedelta(hours=1)}]
)
def test_freshness_cannot_be_switched_off(limits: dict[str, timedelta]) -> None:
    with pytest.raises(ValueError, match="must be"):
        Freshness(**limits)


def test_a_signature_by_another_key_is_refused(enclave: Enclave) -> None:
    forged = sign_document(cbor2.dumps(enclave.fields()), generate_private_key(SECP384R1()))
    with pytest.raises(refusals.SignatureInvalid):
        enclave.verify(forged)


def test_a_signature_of_zeros_is_refused(enclave: Enclave) -> None:
    for r, s in ((0, 0), (0, 1), (1, 0), (P384_ORDER, P384_ORDER), (1, P384_ORDER)):
        with pytest.raises(refusals.SignatureInvalid):
            enclave.verify(enclave.attest()[:-96] + r.to_bytes(48, "big") + s.to_bytes(48, "big"))


def test_both_forms_of_an_ecdsa_signature_are_one_statement(enclave: Enclave) -> None:
    """(r, s) and (r, n - s) both verify, and hypervisors use both; what names a document must not depend on it."""
    document = enclave.attest()
    other = document[:-48] + (P384_ORDER - int.from_bytes(document[-48:], "big")).to_bytes(48, "big")
    assert other != document
    assert enclave.verify(other).statement_sha384 == enclave.verify(document).statement_sha384


def test_a_document_larger_than_any_is_refused_before_it_is_parsed(enclave: Enclave) -> None:
    with pytest.raises(refusals.DocumentTooLarge):
        enclave.verify(b"\xff" * (MAX_DOCUMENT_BYTES + 1))


@pytest.mark.parametrize("nonce", [b"", b"short"])
def test_a_client_cannot_ask_with_a_nonce_that_is_none(enclave: Enclave, nonce: bytes) -> None:
    with pytest.raises(ValueError, match="at least 16 bytes"):
        enclave.verify(enclave.attest(), nonce=nonce)


def test_a_client_cannot_ask_without_a_session(enclave: Enclave) -> None:
    with pytest.raises(ValueError, match="user_data"):
        enclave.verify(enclave.attest(), user_data=b"")


def test_a_client_cannot_judge_at_a_time_without_a_zone(enclave: Enclave) -> None:
    with pytest.raises(ValueError, match="time zone"):
        enclave.verify(enclave.attest(), at=NOW.replace(tzinfo=None))


def test_text_from_a_document_cannot_play_with_the_terminal(enclave: Enclave) -> None:
    text = enclave.verify(enclave.document(module_id="i-1\x1b[2J\nSigned by AWS")).describe()
    assert "\x1b" not in text
    assert "\nSigned by AWS" not in text


@pytest.mark.parametrize(
    "pem", ["", "no PEM", b"\xff\xfe", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
)
def test_what_is_no_certificate_cannot_be_trusted(pem: str | bytes) -> None:
    with pytest.raises(SimulatedRootRefused):
        TrustAnchor.simulated(pem)


def test_two_roots_at_once_cannot_be_trusted(enclave: Enclave) -> None:
    with pytest.raises(SimulatedRootRefused, match="2 certificates"):
        TrustAnchor.simulated(enclave.pki.root_pem * 2)


def test_every_refusal_is_a_sentence_with_a_remedy() -> None:
    kinds = [kind for kind in vars(refusals).values() if isinstance(kind, type)]
    kinds = [kind for kind in kinds if issubclass(kind, refusals.AttestationRefused)]
    assert len(kinds) > 40
    for kind in kinds:
        assert kind.__doc__, kind
        message = str(kind("This was found."))
        assert message.startswith("This was found. "), kind
        assert message.endswith("."), kind
