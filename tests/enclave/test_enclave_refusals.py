"""What a running enclave and its client refuse: proxies, replays, tampered results and tables, malformed bytes."""

from __future__ import annotations

import ast
import os
import random
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent import futures
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest

from emulation.enclave import SimulatedEnclave
from spark_enclave.attestation import Freshness, MeasurementPolicy
from spark_enclave.attestation.refusals import (
    DebugModeRefused,
    DocumentStale,
    MeasurementUnknown,
    NonceMismatch,
    UntrustedRoot,
    UserDataMismatch,
)
from spark_enclave.client import EnclaveConnection, EnclaveSession, FolderStore, TableFolder, TableNotTaken, Trust
from spark_enclave.client.courier import carry
from spark_enclave.client.detached import DetachedQuery
from spark_enclave.protocol import enclave_pb2 as wire
from spark_enclave.protocol.binding import Binding
from spark_enclave.protocol.enclave_pb2_grpc import EnclaveServicer, add_EnclaveServicer_to_server
from spark_enclave.protocol.limits import MAX_MESSAGE_BYTES
from spark_enclave.protocol.refusals import (
    ChunkChanged,
    ChunkOutOfPlace,
    ProtocolRefused,
    TlsKeyNotBound,
)
from spark_enclave.server import __file__ as server_package
from spark_enclave.server.boot_identity import BootIdentity
from spark_enclave.tables import ClientKeys, TableRefused
from tests.enclave.running_enclave import Owner, session_with, simulated


@pytest.fixture(scope="module")
def enclave(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimulatedEnclave]:
    with simulated(tmp_path_factory.mktemp("enclave")) as running:
        yield running


@pytest.fixture(scope="module")
def owner(tmp_path_factory: pytest.TempPathFactory) -> Owner:
    return Owner(ClientKeys.new(), tmp_path_factory.mktemp("owner"))


@contextmanager
def tls_proxy(enclave: SimulatedEnclave, folder: Path) -> Iterator[str]:
    """A proxy that ends the client's TLS with a certificate of its own, and speaks TLS with the enclave."""
    identity = BootIdentity.generate()
    pem = folder / "proxy.pem"
    pem.write_bytes(identity.certificate_pem + identity.tls_key_pem)
    outside = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    outside.load_cert_chain(pem)
    outside.set_alpn_protocols(["h2"])
    inside = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    inside.check_hostname, inside.verify_mode = False, ssl.CERT_NONE
    inside.set_alpn_protocols(["h2"])
    listener = socket.create_server(("127.0.0.1", 0))

    def pump(source: ssl.SSLSocket, target: ssl.SSLSocket) -> None:
        try:
            while data := source.recv(65536):
                target.sendall(data)
        except OSError:
            pass
        finally:
            target.close()

    def serve() -> None:
        while True:
            try:
                plain, _ = listener.accept()
            except OSError:
                return
            try:
                client = outside.wrap_socket(plain, server_side=True)
                upstream = socket.socket(socket.AF_UNIX)
                upstream.connect(enclave.address.removeprefix("unix:"))
                server = inside.wrap_socket(upstream, server_hostname="x")
            except OSError:
                continue
            for pair in ((client, server), (server, client)):
                threading.Thread(target=pump, args=pair, daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield f"127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def test_a_proxy_that_ends_tls_is_found_out_before_anything_is_sent(enclave: SimulatedEnclave, tmp_path: Path) -> None:
    keys = ClientKeys.new()
    with (
        tls_proxy(enclave, tmp_path) as address,
        EnclaveConnection(address) as connection,
        pytest.raises(TlsKeyNotBound, match="stands between"),
    ):
        connection.open_session(enclave.trust(), keys.signing_key)


class HostileHost(EnclaveServicer):
    """Answers in the enclave's place with what it recorded or made up."""

    def __init__(self, reply: wire.AttestReply) -> None:
        self.reply = reply

    def Attest(self, request: wire.AttestRequest, context: Any) -> wire.AttestReply:
        return self.reply


@contextmanager
def hostile_host(reply: wire.AttestReply, identity: BootIdentity) -> Iterator[str]:
    server = grpc.server(futures.ThreadPoolExecutor(2))
    add_EnclaveServicer_to_server(HostileHost(reply), server)  # type: ignore[no-untyped-call]
    credentials = grpc.ssl_server_credentials([(identity.tls_key_pem, identity.certificate_pem)])
    port = server.add_secure_port("127.0.0.1:0", credentials)
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None)


def recorded(enclave: SimulatedEnclave) -> wire.AttestReply:
    with EnclaveConnection(enclave.address) as connection:
        reply: wire.AttestReply = connection._stub.Attest(wire.AttestRequest(nonce=os.urandom(32)), timeout=10)
        return reply


def test_a_replayed_document_answers_another_nonce(enclave: SimulatedEnclave) -> None:
    with (
        hostile_host(recorded(enclave), BootIdentity.generate()) as address,
        EnclaveConnection(address) as connection,
        pytest.raises(NonceMismatch),
    ):
        connection.attest(enclave.trust())


def test_keys_that_the_document_does_not_bind_are_refused(enclave: SimulatedEnclave) -> None:
    """The host keeps the enclave's document and puts its own keys into the structure beside it."""
    mine, real = BootIdentity.generate(), recorded(enclave)
    lie = Binding(Binding.decode(real.binding).boot_id, mine.binding.tls_key, mine.binding.hpke_key)

    class Relaying(HostileHost):
        def Attest(self, request: wire.AttestRequest, context: Any) -> wire.AttestReply:
            with EnclaveConnection(enclave.address) as inner:
                document = inner._stub.Attest(request, timeout=10).document
            return wire.AttestReply(document=document, binding=lie.encode())

    server = grpc.server(futures.ThreadPoolExecutor(2))
    add_EnclaveServicer_to_server(Relaying(real), server)  # type: ignore[no-untyped-call]
    port = server.add_secure_port(
        "127.0.0.1:0", grpc.ssl_server_credentials([(mine.tls_key_pem, mine.certificate_pem)])
    )
    server.start()
    try:
        with EnclaveConnection(f"127.0.0.1:{port}") as connection, pytest.raises(UserDataMismatch):
            connection.attest(enclave.trust())
    finally:
        server.stop(None)


def test_another_image_a_stale_document_and_a_simulation_without_the_option_are_refused(
    enclave: SimulatedEnclave,
) -> None:
    trust = enclave.trust()
    other = trust.policy.root[0].model_copy(update={"pcrs": {f"PCR{n}": "ab" * 48 for n in (0, 1, 2)}})
    instant = Freshness(max_age=timedelta(microseconds=1))
    with EnclaveConnection(enclave.address) as connection:
        with pytest.raises(MeasurementUnknown):
            connection.attest(Trust(MeasurementPolicy((other,)), trust.anchor))
        with pytest.raises(DocumentStale):
            connection.attest(Trust(trust.policy, trust.anchor, instant))
        with pytest.raises(UntrustedRoot):
            connection.attest(Trust(trust.policy))


def test_an_enclave_in_debug_mode_is_refused(enclave: SimulatedEnclave, tmp_path: Path) -> None:
    from spark_enclave.attestation import TrustAnchor

    debug = SimulatedEnclave(tmp_path / "e", worker=["/bin/false"], settings={"warm_spare": False}, debug_mode=True)
    with debug, EnclaveConnection(debug.address) as connection, pytest.raises(DebugModeRefused):
        connection.attest(Trust(enclave.trust().policy, TrustAnchor.simulated(debug.root.read_bytes())))


class Recorder:
    """Stands between a session and its stub and keeps what was sent."""

    def __init__(self, stub: Any) -> None:
        self.stub, self.sent = stub, {}  # type: ignore[var-annotated]

    def __getattr__(self, name: str) -> Any:
        def call(request: Any, **options: Any) -> Any:
            if not isinstance(request, Iterator):
                self.sent.setdefault(name, []).append(request)
            return getattr(self.stub, name)(request, **options)

        return call


def code_of(call: Any, *arguments: Any) -> grpc.StatusCode:
    return _outcome(call, *arguments)


def recording(enclave: SimulatedEnclave) -> tuple[EnclaveConnection, Recorder]:
    connection = EnclaveConnection(enclave.address)
    recorder = Recorder(connection._stub)
    connection._stub = recorder  # type: ignore[assignment]
    return connection, recorder


def test_what_was_sent_once_is_not_taken_again(enclave: SimulatedEnclave) -> None:
    connection, recorder = recording(enclave)
    stub, sent = recorder.stub, recorder.sent
    with connection, connection.open_session(enclave.trust(), ClientKeys.new().signing_key) as session:
        session.query("SELECT 1").to_table()
        assert code_of(stub.OpenSession, sent["OpenSession"][0]) == grpc.StatusCode.NOT_FOUND
        assert code_of(stub.Query, sent["Query"][0]) == grpc.StatusCode.FAILED_PRECONDITION
        assert code_of(stub.FetchResult, sent["FetchResult"][0]) == grpc.StatusCode.FAILED_PRECONDITION
        with session_with(enclave) as other:
            foreign = sent["Query"][0].message
            foreign.session_id = other._keys.session_id
            assert code_of(stub.Query, wire.QueryRequest(message=foreign)) == grpc.StatusCode.UNAUTHENTICATED
            assert other.query("SELECT 2 AS two").to_table().to_pylist() == [{"two": 2}]
        skipped = session._seal("query", b"")
        skipped.number += 1
        assert code_of(stub.Query, wire.QueryRequest(message=skipped)) == grpc.StatusCode.FAILED_PRECONDITION


def test_a_result_is_given_to_who_has_its_ticket_only(enclave: SimulatedEnclave) -> None:
    connection, recorder = recording(enclave)
    with connection, connection.open_session(enclave.trust(), ClientKeys.new().signing_key) as session:
        number, _ = session._ask(_query("SELECT 1"))
        for ticket in (b"", bytes(16)):
            request = wire.FetchResultRequest(session_id=session._keys.session_id, number=number, ticket=ticket)
            assert code_of(recorder.stub.FetchResult, request) == grpc.StatusCode.UNAUTHENTICATED


def _query(sql: str) -> Any:
    from spark_enclave.protocol.messages import Query

    return Query(sql)


@pytest.fixture(scope="module")
def stored(enclave: SimulatedEnclave, tmp_path_factory: pytest.TempPathFactory) -> tuple[DetachedQuery, Path]:
    """A result of several chunks in a store, as an operator of that store finds it."""
    folder = tmp_path_factory.mktemp("store")
    return _stored(enclave, folder, "SELECT i FROM range(500000) AS t(i)"), folder


def _stored(enclave: SimulatedEnclave, folder: Path, sql: str) -> DetachedQuery:
    with EnclaveConnection(enclave.address) as connection:
        detached = connection.open_session(enclave.trust(), ClientKeys.new().signing_key).query_detached(sql)
        carry(enclave.address, detached.for_courier(), FolderStore(folder))
    return detached


def _swap(folder: Path, one: int, other: int) -> None:
    first, second = (folder / f"chunk-{number:08d}" for number in (one, other))
    kept = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(kept)


def _flip(folder: Path) -> None:
    path = folder / "chunk-00000001"
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(data)


def _end_early(folder: Path) -> None:
    path = folder / "chunk-00000001"
    path.write_bytes(b"\x01" + path.read_bytes()[1:])


def _end_moved_forward(folder: Path) -> None:
    last = sorted(folder.iterdir())[-1]
    (folder / "chunk-00000001").write_bytes(last.read_bytes())


TAMPERINGS = {
    "swapped": lambda folder: _swap(folder, 0, 1),
    "duplicated": lambda folder: shutil.copy(folder / "chunk-00000000", folder / "chunk-00000001"),
    "changed": _flip,
    "ended early": _end_early,
    "end moved forward": _end_moved_forward,
    "emptied": lambda folder: (folder / "chunk-00000000").write_bytes(b"\x00"),
    "grown": lambda folder: (folder / "chunk-00000000").write_bytes(bytes(3 << 20)),
}


@pytest.mark.parametrize("tampering", TAMPERINGS.values(), ids=TAMPERINGS.keys())
def test_a_result_that_its_store_tampered_with_is_refused(
    stored: tuple[DetachedQuery, Path], tmp_path: Path, tampering: Any
) -> None:
    detached, folder = stored
    mine = Path(shutil.copytree(folder, tmp_path / "store"))
    assert detached.result(FolderStore(mine)).to_table().num_rows == 500_000
    tampering(mine)
    with pytest.raises((ChunkChanged, ChunkOutOfPlace)):
        detached.result(FolderStore(mine)).to_table()


def test_a_truncated_result_and_one_of_another_query_are_refused(
    enclave: SimulatedEnclave, stored: tuple[DetachedQuery, Path], tmp_path: Path
) -> None:
    detached, folder = stored
    cut = Path(shutil.copytree(folder, tmp_path / "cut"))
    sorted(cut.iterdir())[-1].unlink()
    with pytest.raises(Exception, match="no end of the result"):
        detached.result(FolderStore(cut)).to_table()
    foreign = tmp_path / "foreign"
    _stored(enclave, foreign, "SELECT i + 1 AS i FROM range(500000) AS t(i)")
    with pytest.raises(ChunkChanged):
        detached.result(FolderStore(foreign)).to_table()


def put(enclave: SimulatedEnclave, keys: ClientKeys, table: TableFolder) -> None:
    with session_with(enclave, keys) as session:
        session.put_table("t", table)


def spoilt(owner: Owner, tmp_path: Path, change: Any) -> TableFolder:
    """The owner's table with a file that its storage exchanged after the client had verified the manifest."""
    table = owner.table()
    folder = Path(shutil.copytree(table.folder, tmp_path / "spoilt"))
    path = folder / table.manifest.files[0].name
    path.write_bytes(change(path.read_bytes()))
    return TableFolder(folder, table.manifest, table.manifest_bytes, table.owner_key, 1, table.table_key)


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (lambda data: data[:-1], "file-length"),
        (lambda data: data + b"x", "file-length"),
        (lambda data: b"PAR1" + data[4:-4] + b"PAR1", "file-digest"),
        (lambda data: data[:50] + bytes([data[50] ^ 1]) + data[51:], "file-digest"),
    ],
    ids=["truncated", "continued", "plaintext in its place", "changed"],
)
def test_a_table_whose_files_are_not_those_of_its_manifest_is_refused(
    enclave: SimulatedEnclave, owner: Owner, tmp_path: Path, change: Any, rule: str
) -> None:
    with pytest.raises(TableNotTaken) as refused:
        put(enclave, owner.keys, spoilt(owner, tmp_path, change))
    assert refused.value.rule == rule


def test_a_table_rolled_back_is_refused_on_both_sides(enclave: SimulatedEnclave, owner: Owner) -> None:
    with pytest.raises(TableRefused, match="lowest"):
        owner.table(pin=2)
    old = owner.table()
    lie = TableFolder(old.folder, old.manifest, old.manifest_bytes, old.owner_key, 2, old.table_key)
    with pytest.raises(TableNotTaken) as refused:
        put(enclave, owner.keys, lie)
    assert refused.value.rule == "version"


def test_a_table_of_another_owner_needs_a_grant_and_a_wrong_key_opens_nothing(
    enclave: SimulatedEnclave, owner: Owner
) -> None:
    with pytest.raises(TableNotTaken) as refused:
        put(enclave, ClientKeys.new(), owner.table())
    assert refused.value.rule == "grant-missing"
    real = owner.table()
    with pytest.raises(TableNotTaken) as refused:
        put(
            enclave,
            owner.keys,
            TableFolder(real.folder, real.manifest, real.manifest_bytes, real.owner_key, 1, bytes(32)),
        )
    assert refused.value.rule == "key"


def test_a_client_that_sends_a_table_drop_by_drop_is_let_go(enclave: SimulatedEnclave, owner: Owner) -> None:
    with session_with(enclave, owner.keys) as session:
        table = owner.table()
        header = _header(session, table)

        def slowly() -> Iterator[wire.PutTableRequest]:
            yield wire.PutTableRequest(header=header)
            time.sleep(4)  # the enclave waits for two seconds

        assert code_of(session._stub.PutTable, slowly()) == grpc.StatusCode.DEADLINE_EXCEEDED
        session.put_table("t", table)
        assert session.query("SELECT count(*) AS n FROM t").to_table().to_pylist() == [{"n": 1000}]


def _header(session: EnclaveSession, table: TableFolder) -> wire.SealedMessage:
    from spark_enclave.protocol.messages import TableHeader

    header = TableHeader("t", table.manifest_bytes, table.owner_key, 1, table_key=table.table_key)
    return session._seal("table", header.encode())


#: What a malformed or foreign call may be answered with. UNKNOWN and INTERNAL would be ours to mend.
EXPECTED = {
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.UNAUTHENTICATED,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.ABORTED,
}


@pytest.mark.parametrize("method", ["Attest", "OpenSession", "Query", "FetchResult", "PutTable"])
def test_no_bytes_confuse_the_enclave(enclave: SimulatedEnclave, method: str) -> None:
    chance = random.Random(method)  # noqa: S311 (a seed, so that a failure can be repeated)
    with session_with(enclave) as session, EnclaveConnection(enclave.address) as connection:
        path = f"/sparkvault.enclave.v1.Enclave/{method}"
        kind = {"FetchResult": "unary_stream", "PutTable": "stream_unary"}.get(method, "unary_unary")
        call = getattr(connection._channel, kind)(path)
        for round_ in range(150):
            data = chance.randbytes(chance.choice([0, 1, 7, 60, 3000]))
            if round_ % 3 == 0:  # well-formed on the wire, nonsense inside
                data = _nonsense(method, session._keys.session_id, chance).SerializeToString()
            assert _outcome(call, [data] if kind == "stream_unary" else data) in EXPECTED
        large = bytes(2 * MAX_MESSAGE_BYTES)
        too_large = _outcome(call, [large] if kind == "stream_unary" else large)
        assert too_large == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert session.query("SELECT 1").to_table().num_rows == 1
    log = enclave.log.read_text(encoding="utf-8")
    assert "a call failed" not in log


def _nonsense(method: str, session_id: bytes, chance: random.Random) -> Any:
    some = chance.randbytes(chance.choice([0, 16, 32, 500]))
    message = wire.SealedMessage(session_id=chance.choice([session_id, some]), number=chance.randrange(3), sealed=some)
    return {
        "Attest": wire.AttestRequest(nonce=some[:31]),
        "OpenSession": wire.OpenSessionRequest(nonce=some, sealed=some),
        "Query": wire.QueryRequest(message=message),
        "FetchResult": wire.FetchResultRequest(session_id=session_id, number=chance.randrange(3), ticket=some),
        "PutTable": wire.PutTableRequest(header=message) if some else wire.PutTableRequest(content=some),
    }[method]


def _outcome(call: Any, request: Any) -> grpc.StatusCode:
    try:
        answer = call(iter(request) if isinstance(request, list) else request, timeout=15)
        if hasattr(answer, "initial_metadata"):  # a stream, which fails when it is read
            list(answer)
    except grpc.RpcError as error:
        code: grpc.StatusCode = error.code()
        return code
    return grpc.StatusCode.OK


def test_a_well_sealed_message_of_nonsense_is_malformed(enclave: SimulatedEnclave) -> None:
    with session_with(enclave) as session:
        for plaintext in (b"", b"\xa0", b"\xff" * 100, os.urandom(500)):
            message = wire.QueryRequest(message=session._seal("query", plaintext))
            assert code_of(session._stub.Query, message) == grpc.StatusCode.INVALID_ARGUMENT
        assert session.query("SELECT 1").to_table().num_rows == 1


def test_a_client_takes_no_nonsense_from_the_host(enclave: SimulatedEnclave) -> None:
    for reply in (wire.AttestReply(), wire.AttestReply(document=b"x", binding=b"\xa0")):
        with (
            hostile_host(reply, BootIdentity.generate()) as address,
            EnclaveConnection(address) as connection,
            pytest.raises(ProtocolRefused),
        ):
            connection.attest(enclave.trust())


def test_the_measured_server_takes_nothing_from_arguments_environment_or_command_line() -> None:
    for file in Path(server_package).parent.glob("*.py"):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        if file.name == "session_launcher.py":
            continue  # its arguments are the broker's own
        names = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        assert not names & {"argv", "getenv"}, file
        assert "cmdline" not in file.read_text(encoding="utf-8"), file
        reads = [
            node
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute) and node.attr == "environ" and file.name != "__init__.py"
        ]
        assert not reads, file


@pytest.mark.skipif(Path("/dev/nsm").exists(), reason="this machine has a security module")
def test_without_a_security_module_the_server_does_not_serve() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "spark_enclave.server"],
        env={"PATH": "", "PYTHONPATH": "assets/enclave", "NSM_SOCKET": "/tmp/x", "SPARKVAULT_SIMULATED": "1"},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == 1
    assert run.stderr.strip() == "The broker cannot serve: /dev/nsm cannot be opened (ENOENT)."
