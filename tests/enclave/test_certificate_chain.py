"""Every way in which the certificates between the trusted root and the signing key can be wrong."""

import itertools
from datetime import timedelta

import cbor2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from spark_enclave.attestation import inspect, refusals
from spark_enclave.attestation.certificate_chain import MAX_ISSUERS
from tests.enclave.conftest import NOW, Enclave, make_enclave
from tests.enclave.forged_chains import (
    INSTANCE,
    LEAF,
    REGIONAL,
    RIGHT,
    ROOT,
    ZONAL,
    ForgedChain,
    Plan,
    chain_of,
    spoiled,
)

ROLES = ("root", "regional", "zonal", "instance", "enclave's")
ISSUERS = range(4)
ALL = range(5)


def document(chain: ForgedChain, enclave: Enclave) -> bytes:
    *cabundle, certificate = chain.certificates
    return chain.sign(cbor2.dumps({**enclave.fields(), "certificate": certificate, "cabundle": cabundle}))


def refused(chain: ForgedChain, enclave: Enclave) -> refusals.AttestationRefused:
    with pytest.raises(refusals.AttestationRefused) as caught:
        inspect(document(chain, enclave), trust=chain.trust, at=NOW)
    return caught.value


def test_the_chain_that_the_others_are_spoiled_from_is_right(enclave: Enclave) -> None:
    chain = chain_of(RIGHT)
    seen = inspect(document(chain, enclave), trust=chain.trust, at=NOW)
    assert [certificate.subject for certificate in seen.chain] == [f"CN={plan.name}" for plan in RIGHT]


@pytest.mark.parametrize("index", ALL)
def test_a_certificate_that_expired_is_named(index: int, enclave: Enclave) -> None:
    refusal = refused(spoiled(index, end=NOW - timedelta(seconds=1)), enclave)
    assert type(refusal) is refusals.CertificateExpired
    assert f"The {ROLES[index]} certificate expired 2026-11-21 11:59:59 UTC" in str(refusal)


@pytest.mark.parametrize("index", ALL)
def test_a_certificate_that_is_not_yet_valid_is_named(index: int, enclave: Enclave) -> None:
    refusal = refused(spoiled(index, begin=NOW + timedelta(seconds=1)), enclave)
    assert type(refusal) is refusals.CertificateNotYetValid
    assert ROLES[index] in str(refusal)


@pytest.mark.parametrize("index", ISSUERS)
@pytest.mark.parametrize(
    "changes",
    [
        {"ca": False, "path_length": None, "key_cert_sign": False},
        {"key_cert_sign": False},
        {"basic_constraints": False},
        {"basic_constraints_critical": False},
        {"key_usage": False},
    ],
)
def test_an_issuer_that_may_not_issue_is_refused(index: int, changes: dict[str, object], enclave: Enclave) -> None:
    refusal = refused(spoiled(index, **changes), enclave)
    assert type(refusal) is refusals.CertificateUsageRefused
    assert ROLES[index] in str(refusal)


@pytest.mark.parametrize(
    "changes",
    [
        {"ca": True, "key_cert_sign": True},
        {"ca": True, "path_length": 0},
        {"key_cert_sign": True},
        {"digital_signature": False},
        {"basic_constraints": False},
        {"key_usage": False},
    ],
)
def test_a_leaf_that_issues_or_may_not_sign_is_refused(changes: dict[str, object], enclave: Enclave) -> None:
    assert type(refused(spoiled(4, **changes), enclave)) is refusals.CertificateUsageRefused


@pytest.mark.parametrize(("index", "path_length"), [(0, 2), (1, 1), (2, 0)])
def test_a_path_length_that_is_too_short_is_refused(index: int, path_length: int, enclave: Enclave) -> None:
    refusal = refused(spoiled(index, path_length=path_length), enclave)
    assert type(refusal) is refusals.CertificatePathTooLong
    assert ROLES[index] in str(refusal)


def test_an_instance_cannot_issue_issuers(enclave: Enclave) -> None:
    """Whoever holds an instance's key must not become a certificate authority for other enclaves."""
    chain = chain_of([ROOT, REGIONAL, ZONAL, INSTANCE, Plan("rogue issuer"), LEAF])
    assert type(refused(chain, enclave)) is refusals.CertificatePathTooLong


def test_an_enclave_cannot_issue_enclaves(enclave: Enclave) -> None:
    """The key in an enclave's own certificate signs another leaf: the check of basic constraints that is forgotten."""
    chain = chain_of([*RIGHT, Plan("rogue leaf", ca=False, key_cert_sign=False)])
    assert isinstance(refused(chain, enclave), refusals.CertificateUsageRefused | refusals.CertificatePathTooLong)


def test_more_issuers_than_we_look_at_are_refused(enclave: Enclave) -> None:
    chain = chain_of([ROOT, *(Plan(f"issuer {number}") for number in range(MAX_ISSUERS)), LEAF])
    assert type(refused(chain, enclave)) is refusals.CertificatePathTooLong


@pytest.mark.parametrize("index", range(1, 5))
def test_a_certificate_that_nobody_issued_is_refused(index: int, enclave: Enclave) -> None:
    refusal = refused(spoiled(index, signed_by_itself=True), enclave)
    assert type(refusal) is refusals.CertificateSignatureInvalid
    assert ROLES[index] in str(refusal)


@pytest.mark.parametrize("index", range(1, 5))
def test_a_certificate_of_another_issuers_name_is_refused(index: int, enclave: Enclave) -> None:
    refusal = refused(spoiled(index, issuer_name="somebody else"), enclave)
    assert type(refusal) is refusals.CertificateSignatureInvalid


@pytest.mark.parametrize("index", ALL)
@pytest.mark.parametrize(
    "key",
    [
        ec.derive_private_key(5, ec.SECP256R1()),
        ec.derive_private_key(5, ec.SECP521R1()),
        ec.derive_private_key(5, ec.BrainpoolP384R1()),
        ed25519.Ed25519PrivateKey.from_private_bytes(bytes(32)),
        rsa.generate_private_key(65537, 2048),
    ],
    ids=["P-256", "P-521", "Brainpool P-384", "Ed25519", "RSA"],
)
def test_a_key_that_is_not_on_p384_is_refused(index: int, key: ec.EllipticCurvePrivateKey, enclave: Enclave) -> None:
    assert type(refused(spoiled(index, key=key), enclave)) is refusals.CertificateAlgorithmRefused


@pytest.mark.parametrize("index", ALL)
@pytest.mark.parametrize("digest", [hashes.SHA256, hashes.SHA512], ids=["SHA-256", "SHA-512"])
def test_a_certificate_signed_with_another_digest_is_refused(
    index: int, digest: type[hashes.SHA256], enclave: Enclave
) -> None:
    assert type(refused(spoiled(index, digest=digest), enclave)) is refusals.CertificateAlgorithmRefused


@pytest.mark.parametrize("index", ALL)
def test_a_critical_extension_that_nobody_knows_is_refused(index: int, enclave: Enclave) -> None:
    assert isinstance(refused(spoiled(index, unknown_critical_extension=True), enclave), refusals.ChainRefused)


@pytest.mark.parametrize("order", [(0, 2, 1, 3, 4), (0, 1, 3, 2, 4), (0, 1, 2, 4), (0, 4), (0, 1, 1, 2, 3, 4)])
def test_certificates_in_another_order_or_number_are_refused(order: tuple[int, ...], enclave: Enclave) -> None:
    right = chain_of(RIGHT)
    chain = ForgedChain(tuple(right.certificates[index] for index in order), right.leaf_key, right.trust)
    assert isinstance(refused(chain, enclave), refusals.ChainRefused)


def test_a_bundle_without_its_root_is_refused(enclave: Enclave) -> None:
    right = chain_of(RIGHT)
    assert type(refused(ForgedChain(right.certificates[1:], right.leaf_key, right.trust), enclave)) is (
        refusals.UntrustedRoot
    )


@pytest.mark.parametrize("index", range(1, 5))
def test_a_certificate_of_another_pki_with_the_same_names_is_refused(index: int, enclave: Enclave) -> None:
    right, other = chain_of(RIGHT), chain_of(RIGHT)
    mixed = ForgedChain((*right.certificates[:index], *other.certificates[index:]), other.leaf_key, right.trust)
    assert type(refused(mixed, enclave)) is refusals.CertificateSignatureInvalid


def test_another_enclaves_certificate_does_not_sign_for_this_one(enclave: Enclave) -> None:
    neighbour = enclave.pki.issue_leaf("i-0123456789abcdef0-enc0123456789abcdef")
    swapped = enclave.document(certificate=neighbour.certificate, cabundle=list(neighbour.cabundle))
    with pytest.raises(refusals.SignatureInvalid):
        enclave.verify(swapped)


@pytest.mark.parametrize("rest", [b"\x00", b"\x30\x00", bytes(64)])
def test_bytes_behind_a_certificate_are_refused(rest: bytes, enclave: Enclave) -> None:
    with pytest.raises(refusals.CertificateMalformed):
        enclave.verify(enclave.document(certificate=enclave.leaf.certificate + rest))


@pytest.mark.parametrize("junk", [b"\x30", b"\x30\x80\x00\x00", b"\x30\x84\xff\xff\xff\xff", bytes(1024), b"\xff" * 9])
def test_what_is_no_certificate_is_refused(junk: bytes, enclave: Enclave) -> None:
    with pytest.raises(refusals.CertificateMalformed):
        enclave.verify(enclave.document(certificate=junk))
    with pytest.raises(refusals.CertificateMalformed):
        enclave.verify(enclave.document(cabundle=[enclave.leaf.cabundle[0], junk]))


def test_a_certificate_has_one_encoding(enclave: Enclave) -> None:
    """The count of unused bits before the signature is not signed, and the library takes any that fits."""
    issued = (enclave.pki.issue_leaf(enclave.nsm.module_id) for _ in itertools.count())
    der = next(leaf.certificate for leaf in issued if not leaf.certificate[-1] & 1)
    unused_bits = len(der) - len(x509.load_der_x509_certificate(der).signature) - 1
    changed = der[:unused_bits] + b"\x01" + der[unused_bits + 1 :]
    assert x509.load_der_x509_certificate(changed).signature == x509.load_der_x509_certificate(der).signature
    with pytest.raises(refusals.CertificateMalformed, match="whole number of bytes"):
        enclave.verify(enclave.document(certificate=changed))


def test_a_certificate_of_version_1_is_refused(enclave: Enclave) -> None:
    """It has no extensions to say what it may be used for."""
    leaf, version = enclave.leaf.certificate, b"\xa0\x03\x02\x01\x02"
    assert leaf[:2] == leaf[4:6] == b"\x30\x82"
    assert leaf[8:13] == version
    body, signed = leaf[13:], int.from_bytes(leaf[6:8], "big") - 5
    whole = int.from_bytes(leaf[2:4], "big") - 5
    first = b"\x30\x82" + whole.to_bytes(2, "big") + b"\x30\x82" + signed.to_bytes(2, "big") + body
    with pytest.raises(refusals.CertificateMalformed, match="version 3"):
        enclave.verify(enclave.document(certificate=first))


def test_the_simulator_issues_a_new_chain_before_the_old_one_ends() -> None:
    times = [NOW]
    enclave = make_enclave(clock=lambda: times[0])
    first = enclave.verify(enclave.attest())
    times[0] = NOW + timedelta(hours=2, minutes=30)
    later = enclave.verify(enclave.attest(), at=times[0])
    assert first.chain[-1].sha256 != later.chain[-1].sha256
    assert later.chain[-1].not_after - times[0] == timedelta(hours=3)


def test_a_path_that_leaves_out_a_certificate_of_the_bundle_is_refused(enclave: Enclave) -> None:
    """Two issuers of one name and key: a path exists without one of them, so the judges do not mean the same."""
    twin = ec.generate_private_key(ec.SECP384R1())
    chain = chain_of([ROOT, Plan("twin", key=twin), Plan("twin", key=twin), LEAF])
    assert "not the path that the document says" in str(refused(chain, enclave))
