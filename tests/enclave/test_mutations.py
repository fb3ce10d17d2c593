"""More than ten thousand damaged and forged documents: each refused with its reason, none in more than 100 ms."""

import collections
import random
import time
import warnings
from collections.abc import Iterator
from datetime import datetime

import cbor2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spark_enclave.attestation import AttestationRefused, TrustAnchor, inspect
from tests.enclave import document_mutations as mutations
from tests.enclave.conftest import NOW, Enclave, make_enclave
from tests.enclave.document_mutations import Mutation
from tests.enclave.real_documents import MOMENTS, real_document

#: What the certificate library warns of is refused afterwards; the warnings say nothing new here.
pytestmark = pytest.mark.filterwarnings("ignore:Parsed a serial number", "ignore:Attribute's length")

LONGEST_SECONDS = 0.1
SIMULATED = make_enclave()


def refuse_all(
    cases: Iterator[Mutation], original: bytes, trust: TrustAnchor, at: datetime
) -> collections.Counter[str]:
    """How many of each kind were refused; the times are the processor's, so that a busy machine does not count."""
    counted: collections.Counter[str] = collections.Counter()
    slowest = 0.0
    for kind, document in cases:
        if document == original:
            continue
        begin = time.thread_time()
        with pytest.raises(AttestationRefused):
            inspect(document, trust=trust, at=at)
        slowest = max(slowest, time.thread_time() - begin)
        counted[kind] += 1
    assert slowest < LONGEST_SECONDS
    return counted


def everything(document: bytes, other: bytes, flips: int, edits: int) -> Iterator[Mutation]:
    rng = random.Random(20261121)  # noqa: S311 - the same mutations in every run, no secret
    yield from mutations.bit_flips(document, rng, flips)
    yield from mutations.truncations(document, 3)
    yield from mutations.byte_edits(document, rng, edits)
    yield from mutations.splices(document, other, rng, 200)
    yield from mutations.certificate_swaps(document)
    yield from mutations.attackers_documents(document)
    yield from mutations.encodings(document)
    yield from mutations.huge_lengths(document)


def test_every_mutation_of_a_simulated_document_is_refused(enclave: Enclave) -> None:
    document, other = enclave.attest(), enclave.nsm.attest(nonce=b"another nonce", user_data=b"others", public_key=b"k")
    inspect(document, trust=enclave.trust, at=NOW)
    counted = refuse_all(everything(document, other, 5000, 600), document, enclave.trust, NOW)
    assert counted.total() >= 10_000, counted
    assert counted.keys() >= {
        "bit flip",
        "truncation",
        "splice",
        "leaf swapped",
        "bundle in another order",
        "own key, field doubled",
        "other algorithm named",
        "other curve",
        "payload encoded again",
        "huge length",
        "huge length inside",
    }


def test_every_mutation_of_a_real_document_is_refused() -> None:
    document, at = real_document("production"), MOMENTS["production"]
    inspect(document, at=at)
    cases = everything(document, real_document("debug-mode-2"), 1500, 150)
    assert refuse_all(cases, document, TrustAnchor.aws(), at).total() >= 5_000


def test_every_damaged_certificate_is_refused_though_the_document_is_signed(enclave: Enclave) -> None:
    rng = random.Random(20261121)  # noqa: S311 - the same mutations in every run, no secret
    cases = mutations.damaged_certificates(enclave.fields(), enclave.leaf.key, rng, 1000)
    assert refuse_all(cases, b"", enclave.trust, NOW).total() == 1000


def test_every_single_byte_of_the_signed_part_matters(enclave: Enclave) -> None:
    """No byte can be changed unnoticed: each position of the document once, to a value that it did not have."""
    document = enclave.attest()
    cases = (
        ("byte", document[:position] + bytes([document[position] ^ 0x5A]) + document[position + 1 :])
        for position in range(0, len(document), 2)
    )
    assert refuse_all(cases, document, enclave.trust, NOW)["byte"] == (len(document) + 1) // 2


def test_a_certificate_that_the_library_warns_of_is_refused_where_warnings_are_errors(enclave: Enclave) -> None:
    serial = enclave.leaf.certificate.index(b"\xa0\x03\x02\x01\x02\x02") + 7
    negative = bytearray(enclave.leaf.certificate)
    negative[serial] |= 0x80
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(AttestationRefused):
            enclave.verify(enclave.document(certificate=bytes(negative)))


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_random_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(AttestationRefused):
        inspect(data, trust=SIMULATED.trust, at=NOW)


cbor_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**64), 2**64 - 1)
    | st.floats()
    | st.binary(max_size=80)
    | st.text(max_size=80),
    lambda inner: (
        st.lists(inner, max_size=5) | st.dictionaries(st.integers() | st.text(max_size=12), inner, max_size=5)
    ),
    max_leaves=20,
)


@settings(max_examples=150, deadline=None)
@given(value=cbor_values, name=st.sampled_from(sorted(SIMULATED.fields())))
def test_any_value_in_any_field_is_refused_or_means_what_it_says(value: object, name: str) -> None:
    """Signed by the right key: either the AWS rules refuse the value, or it stands unchanged in the result."""
    try:
        seen = inspect(SIMULATED.document(**{name: value}), trust=SIMULATED.trust, at=NOW)
    except AttestationRefused:
        return
    assert name in ("public_key", "user_data", "nonce", "module_id", "timestamp")
    if name == "timestamp":
        assert seen.made.timestamp() == pytest.approx(float(str(value)) / 1000)
    else:
        assert getattr(seen, name) == value


@settings(max_examples=150, deadline=None)
@given(cbor_values)
def test_any_payload_but_a_document_is_refused(value: object) -> None:
    with pytest.raises(AttestationRefused):
        inspect(SIMULATED.sign(cbor2.dumps(value)), trust=SIMULATED.trust, at=NOW)
