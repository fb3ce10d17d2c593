"""What AWS signed is accepted at its time, and refused whenever it should be."""

from datetime import UTC, datetime, timedelta

import pytest

from spark_enclave.attestation import (
    AWS_ROOT_SHA256,
    Freshness,
    MeasurementPolicy,
    TrustAnchor,
    inspect,
    refusals,
    verify,
)
from tests.enclave.conftest import Enclave, policy_of
from tests.enclave.real_documents import MOMENTS, real_document

PCR0 = "f4d48b81a460c9916d1e685119074bf24660afd3e34fae9fca0a0d28d9d5599936332687e6f66fc890ac8cf150142d8b"


def policy_of_production() -> MeasurementPolicy:
    pcrs = inspect(real_document("production"), at=MOMENTS["production"]).pcrs
    return policy_of(
        {
            "id": "production",
            "platform": "nitro-x86_64",
            "status": "current",
            "pcrs": {f"PCR{index}": pcrs[index].hex() for index in (0, 1, 2, 8)},
        }
    )


def test_a_production_document_is_what_it_says_it_is() -> None:
    seen = inspect(real_document("production"), at=MOMENTS["production"])
    assert seen.pcrs[0].hex() == PCR0
    assert seen.pcrs[8].hex().startswith("8790eb3cce6c")
    assert list(seen.pcrs) == list(range(16))
    assert seen.made == datetime(2022, 10, 13, 8, 58, 2, 136000, tzinfo=UTC)
    assert seen.nonce is not None
    assert len(seen.nonce) == 256
    assert seen.public_key is None
    assert not seen.simulated
    assert seen.chain[0].sha256 == AWS_ROOT_SHA256
    assert len(seen.chain) == 5


def test_a_production_document_is_described_in_words_without_any_simulation() -> None:
    text = inspect(real_document("production"), at=MOMENTS["production"]).describe()
    assert "under the AWS Nitro Enclaves root 641a0321a3e244ef" in text
    assert "SIMULATED" not in text
    assert text.count("NOT CHECKED") == 4


def test_a_production_document_matches_its_own_measurements_and_nonce() -> None:
    document, at = real_document("production"), MOMENTS["production"]
    nonce = inspect(document, at=at).nonce
    seen = inspect(document, at=at, policy=policy_of_production(), nonce=nonce, freshness=Freshness())
    assert seen.measurement is not None
    assert seen.measurement.id == "production"
    assert "Answers the nonce that was sent." in seen.describe()


def test_a_production_document_that_binds_no_session_cannot_be_verified_for_one() -> None:
    document, at = real_document("production"), MOMENTS["production"]
    nonce = inspect(document, at=at).nonce
    assert nonce is not None
    with pytest.raises(refusals.UserDataMissing):
        verify(document, at=at, policy=policy_of_production(), nonce=nonce, user_data=b"keys")


def test_a_production_document_is_refused_for_another_nonce() -> None:
    with pytest.raises(refusals.NonceMismatch):
        inspect(real_document("production"), at=MOMENTS["production"], nonce=b"\x00" * 256)


def test_a_production_document_is_refused_for_another_image() -> None:
    other = policy_of_production().model_dump()
    other[0]["pcrs"]["PCR8"] = "ab" * 48
    with pytest.raises(refusals.MeasurementUnknown):
        inspect(real_document("production"), at=MOMENTS["production"], policy=policy_of(*other))


@pytest.mark.parametrize("name", ["debug-mode-1", "debug-mode-2"])
def test_a_document_of_debug_mode_is_always_refused(name: str) -> None:
    with pytest.raises(refusals.DebugModeRefused, match="PCR0, PCR1, PCR2 all zero"):
        inspect(real_document(name), at=MOMENTS[name])


@pytest.mark.parametrize("name", MOMENTS)
def test_every_real_document_is_refused_today(name: str) -> None:
    with pytest.raises(refusals.CertificateExpired):
        inspect(real_document(name))


@pytest.mark.parametrize("name", MOMENTS)
@pytest.mark.parametrize(
    ("moved", "refusal"),
    [
        (timedelta(hours=4), refusals.CertificateExpired),
        (timedelta(hours=-4), refusals.CertificateNotYetValid),
    ],
)
def test_every_real_document_is_refused_hours_away(
    name: str, moved: timedelta, refusal: type[refusals.AttestationRefused]
) -> None:
    with pytest.raises(refusal):
        inspect(real_document(name), at=MOMENTS[name] + moved)


@pytest.mark.parametrize("name", MOMENTS)
def test_a_real_document_is_refused_by_a_client_that_trusts_a_simulation(name: str, enclave: Enclave) -> None:
    with pytest.raises(refusals.UntrustedRoot):
        inspect(real_document(name), at=MOMENTS[name], trust=enclave.trust)


def test_the_aws_root_cannot_be_passed_off_as_a_simulation() -> None:
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    from spark_enclave.attestation import SimulatedRootRefused, cose_sign1, document

    root = document.parse(cose_sign1.parse(real_document("production")).payload).cabundle[0]
    pem = x509.load_der_x509_certificate(root).public_bytes(Encoding.PEM)
    with pytest.raises(SimulatedRootRefused, match="AWS root"):
        TrustAnchor.simulated(pem)
