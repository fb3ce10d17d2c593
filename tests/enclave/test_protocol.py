"""The protocol without a network: vectors, one encoding per value, and everything that must not open."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spark_enclave.protocol import canonical_cbor, session_opening
from spark_enclave.protocol import enclave_pb2 as wire
from spark_enclave.protocol.binding import KEY_RELEASE, Binding
from spark_enclave.protocol.hybrid_key import HybridPrivateKey, seal_to
from spark_enclave.protocol.messages import Limits, Query, TableHeader, decode_request
from spark_enclave.protocol.refusals import (
    BindingRefused,
    ChunkChanged,
    ChunkOutOfPlace,
    MessageMalformed,
    ProtocolRefused,
    SealBroken,
    SignatureRefused,
)
from spark_enclave.protocol.result_chunks import ResultOpener, ResultSealer, TableVersion, Trailer, result_context
from spark_enclave.protocol.session_keys import Direction, Purpose, SessionKeys
from spark_enclave.server.chunk_wire import chunk_on_wire
from tests.enclave import protocol_vectors as vectors
from tests.enclave.generated_protocol import PROTOCOL, generate


def test_generated_code_is_current() -> None:
    for name, text in generate().items():
        assert (PROTOCOL / name).read_text(encoding="utf-8") == text, f"{name}: generate it anew"


def test_vectors_are_what_the_code_computes_and_what_the_page_shows() -> None:
    committed = vectors.committed()
    sealed = bytes.fromhex(committed["sealed_opening"])
    assert {"sealed_opening": sealed.hex(), **vectors.make(sealed)} == committed
    opening = session_opening.unseal(vectors.enclave_key(), vectors.info(), sealed)
    assert opening.secret == vectors.counted(0x40, 32)
    assert opening.client_key.hex() == committed["client_key"]
    assert vectors.on_page() == vectors.shown()


def keys(**changes: bytes) -> SessionKeys:
    given_ = {
        "secret": b"s" * 32,
        "opening_info": b"info",
        "sealed_opening": b"sealed",
        "server_random": b"r" * 32,
        "session_id": b"i" * 16,
    }
    return SessionKeys.agree(**{**given_, **changes})


def test_no_two_uses_share_a_key() -> None:
    purposes: list[Purpose] = ["accepted", "table", "query", "result", "ticket"]
    directions: list[Direction] = ["to-enclave", "to-client"]
    sessions = [keys(), keys(secret=b"t" * 32), keys(server_random=b"q" * 32), keys(session_id=b"j" * 16)]
    sessions += [keys(opening_info=b"other"), keys(sealed_opening=b"other")]
    made = [
        session.key(purpose, number, direction)
        for session, purpose, number, direction in itertools.product(sessions, purposes, range(5), directions)
    ]
    assert len(set(made)) == len(made)


def test_a_message_opens_only_in_its_place() -> None:
    sealed = keys().seal("query", 3, "to-enclave", b"SELECT 1")
    assert keys().unseal("query", 3, "to-enclave", sealed) == b"SELECT 1"
    for opener, purpose, number, direction in (
        (keys(session_id=b"j" * 16), "query", 3, "to-enclave"),
        (keys(), "table", 3, "to-enclave"),
        (keys(), "query", 4, "to-enclave"),
        (keys(), "query", 3, "to-client"),
    ):
        with pytest.raises(SealBroken):
            opener.unseal(purpose, number, direction, sealed)  # type: ignore[arg-type]


BOUND = {"nonce": b"n" * 32, "document": b"its document", "binding": vectors.binding().encode()}


def sealed_opening() -> bytes:
    info = session_opening.opening_info(**BOUND)
    return session_opening.seal(vectors.enclave_key().public_bytes, info, b"s" * 32, vectors.signing_key())


@pytest.mark.parametrize("changed", ["nonce", "document", "binding"])
def test_an_opening_is_bound_to_nonce_document_and_keys(changed: str) -> None:
    sealed = sealed_opening()
    session_opening.unseal(vectors.enclave_key(), session_opening.opening_info(**BOUND), sealed)
    info = session_opening.opening_info(**{**BOUND, changed: b"x" * 32})
    with pytest.raises(SealBroken):
        session_opening.unseal(vectors.enclave_key(), info, sealed)


def test_an_opening_for_another_boot_does_not_open() -> None:
    with pytest.raises(SealBroken):
        session_opening.unseal(HybridPrivateKey.generate(), session_opening.opening_info(**BOUND), sealed_opening())


def test_an_enclave_cannot_pass_an_opening_on() -> None:
    """The enclave that could read it seals body and signature to a second enclave: the signature names the first."""
    inside = vectors.enclave_key().open(sealed_opening(), session_opening.opening_info(**BOUND))
    second = HybridPrivateKey.generate()
    binding = Binding(b"b" * 16, b"its TLS key", second.public_bytes).encode()
    info = session_opening.opening_info(BOUND["nonce"], b"the second's document", binding)
    with pytest.raises(SignatureRefused):
        session_opening.unseal(second, info, seal_to(second.public_bytes, inside, info))


def test_a_binding_of_another_purpose_version_or_form_is_refused() -> None:
    binding = vectors.binding()
    assert Binding.decode(binding.encode()) == binding
    for_kms = Binding(binding.boot_id, binding.tls_key, binding.hpke_key, KEY_RELEASE)
    with pytest.raises(BindingRefused):
        Binding.decode(for_kms.encode())
    with pytest.raises(BindingRefused):
        Binding.decode(binding.encode().replace(b"gversion\x01", b"gversion\x02"))
    with pytest.raises(MessageMalformed):
        Binding.decode(binding.encode() + b"\x00")


@pytest.mark.parametrize(
    "encoding",
    [
        "a2616201616102",  # keys out of order
        "a2616101616102",  # the same key twice
        "1801",  # a number longer than needed
        "bf616101ff",  # an indefinite map
        "5f4101ff",  # an indefinite string
        "c11a00000000",  # a tag
        "c249010000000000000000",  # a big number
        "fb3ff0000000000000",  # a float
        "0101",  # bytes behind the end
        "5bffffffffffffffff",  # longer than memory
        "8181818181818101",  # too deep
        "",
    ],
)
def test_there_is_one_encoding_for_a_value(encoding: str) -> None:
    with pytest.raises(MessageMalformed):
        canonical_cbor.decode(bytes.fromhex(encoding), "message")


@given(st.binary(max_size=300))
def test_no_bytes_make_the_decoders_crash(data: bytes) -> None:
    for decode in (Binding.decode, decode_request, TableHeader.decode, Trailer.decode):
        try:
            decode(data)
        except ProtocolRefused:
            continue


def test_limits_that_no_enclave_allows_are_refused() -> None:
    for wrong in ({"rows": 0}, {"seconds": 10**6}, {"bytes": 2**62}):
        with pytest.raises(MessageMalformed):
            Limits(**wrong)
    assert decode_request(Query("SELECT 1").encode()) == Query("SELECT 1")


SEEN = {"t": TableVersion("sales", 3, b"m" * 48)}
QUERY = Query("SELECT 1").encode()


def sealed_result(session: SessionKeys | None = None, number: int = 2) -> list[tuple[int, bool, bytes]]:
    session = session or keys()
    sealer = ResultSealer(session, number, result_context(session.session_id, number, QUERY, SEEN))
    chunks = [(*sealer.seal(part), False) for part in (b"first", b"second", b"third")]
    chunks.append((*sealer.seal(Trailer("done", rows=3).encode(), end=True), True))
    return [(index, end, sealed) for index, sealed, end in chunks]


def opened(
    chunks: list[tuple[int, bool, bytes]],
    *,
    query: bytes = QUERY,
    seen: dict[str, TableVersion] = SEEN,
    number: int = 2,
) -> tuple[bytes, Trailer | None]:
    opener = ResultOpener(
        keys().key("result", number, "to-client"), result_context(keys().session_id, number, query, seen)
    )
    content = b"".join(opener.open(*chunk) for chunk in chunks)
    return content, opener.trailer


def test_a_result_opens_whole() -> None:
    assert opened(sealed_result()) == (b"firstsecondthird", Trailer("done", rows=3))


@given(st.integers(0, 2**40), st.booleans(), st.binary(max_size=300))
def test_a_chunk_on_the_wire_is_protobufs(index: int, end: bool, sealed: bytes) -> None:
    message = wire.ResultChunk(index=index, end=end, sealed=sealed or b"x")
    assert chunk_on_wire(index, end, sealed or b"x") == message.SerializeToString()


def test_a_truncated_result_never_says_that_it_is_whole() -> None:
    for length in range(4):
        assert opened(sealed_result()[:length])[1] is None


def test_reordered_repeated_and_missing_chunks_are_refused() -> None:
    first, second, third, end = sealed_result()
    for wrong in ([second], [first, third], [first, first], [second, first], [first, second, third, end, end]):
        with pytest.raises(ChunkOutOfPlace):
            opened(wrong)


def test_chunks_that_claim_another_place_are_refused() -> None:
    first, second, third, end = sealed_result()
    for wrong in (
        [(0, False, second[2])],  # swapped content
        [(0, True, first[2])],  # an early end
        [first, second, third, (3, False, end[2])],  # the end taken away
        [first, (1, True, end[2])],  # the end moved forward
    ):
        with pytest.raises(ChunkChanged):
            opened(wrong)


def test_foreign_chunks_are_refused() -> None:
    rolled_back = {"t": TableVersion("sales", 2, b"m" * 48)}
    for chunks, query, seen, number in (
        (sealed_result(keys(session_id=b"j" * 16)), QUERY, SEEN, 2),  # of another session
        (sealed_result(number=3), QUERY, SEEN, 2),  # of another query of this session
        (sealed_result(), Query("SELECT 2").encode(), SEEN, 2),  # an answer to another question
        (sealed_result(), QUERY, rolled_back, 2),  # of another version of the table
    ):
        with pytest.raises(ChunkChanged):
            opened(chunks, query=query, seen=seen, number=number)


@given(st.integers(0, 3), st.integers(0, 10_000), st.integers(1, 255))
def test_a_changed_bit_is_refused(chunk: int, place: int, flip: int) -> None:
    chunks = sealed_result()
    index, end, sealed = chunks[chunk]
    spoilt = bytearray(sealed)
    spoilt[place % len(spoilt)] ^= flip
    chunks[chunk] = (index, end, bytes(spoilt))
    with pytest.raises(ChunkChanged):
        opened(chunks)
