"""Sessions with a running enclave (simulated, Spark replaced by a double): what must work, and go on working."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from emulation.enclave import SimulatedEnclave
from spark_enclave.client import (
    EnclaveConnection,
    EnclaveError,
    EnclaveFull,
    FolderStore,
    Limits,
    NotReachable,
    Parameter,
    QueryFailed,
    QueryRefused,
    ResultIncomplete,
    SessionLost,
)
from spark_enclave.client.courier import carry
from spark_enclave.client.detached import DetachedQuery
from spark_enclave.protocol import enclave_pb2 as wire
from spark_enclave.server.vsock_relay import relaying
from spark_enclave.tables import ClientKeys
from tests.enclave.running_enclave import MARKER, Owner, session_with, simulated

_PATIENCE_SECONDS = 30.0


@pytest.fixture(scope="module")
def enclave(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimulatedEnclave]:
    with simulated(tmp_path_factory.mktemp("enclave")) as running:
        yield running


@pytest.fixture(scope="module")
def owner(tmp_path_factory: pytest.TempPathFactory) -> Owner:
    return Owner(ClientKeys.new(), tmp_path_factory.mktemp("owner"))


def eventually(what: str, holds: object) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not holds():  # type: ignore[operator]
        assert time.monotonic() < deadline, f"in vain: {what}"
        time.sleep(0.02)


def health(enclave: SimulatedEnclave) -> wire.HealthReply:
    with EnclaveConnection(enclave.address) as connection:
        reply: wire.HealthReply = connection._stub.Health(wire.HealthRequest(), timeout=10)
        return reply


def test_what_was_csv_is_asked_in_the_enclave_and_answered_to_its_owner(
    enclave: SimulatedEnclave, owner: Owner
) -> None:
    with session_with(enclave, owner.keys) as session:
        assert session.attested.explain().startswith("SIMULATED")
        session.put_table("sales", owner.table())
        result = session.query("SELECT region, sum(amount) AS total FROM sales GROUP BY region ORDER BY region")
        assert result.to_table().to_pylist() == [
            {"region": "north", "total": sum(n for n in range(1000) if n % 3)},
            {"region": "south", "total": sum(n for n in range(1000) if not n % 3)},
        ]
        assert (result.rows, result.simulated) == (2, True)


def test_a_long_result_comes_in_batches(enclave: SimulatedEnclave) -> None:
    with session_with(enclave) as session:
        batches = list(session.query("SELECT i, i * 2 AS twice FROM range(2000000) AS t(i)"))
        assert len(batches) > 10
        assert sum(batch.num_rows for batch in batches) == 2_000_000


def test_errors_for_the_client_travel_sealed_and_the_next_query_works(enclave: SimulatedEnclave) -> None:
    with session_with(enclave) as session:
        with pytest.raises(QueryRefused, match=MARKER) as refused:
            session.query(f"SELECT {MARKER}").to_table()
        assert refused.value.rule == "analysis"
        with pytest.raises(QueryFailed, match="memory"):
            session.query("/* memory */").to_table()
        with pytest.raises(QueryFailed, match="limit"):
            session.query("SELECT * FROM range(1000000)", Limits(bytes=1000)).to_table()
        assert session.query("SELECT 1 AS one").to_table().to_pylist() == [{"one": 1}]


@pytest.mark.parametrize("fault", ["/* die */", "/* nonsense */"])
def test_a_worker_that_dies_or_talks_nonsense_is_replaced_and_has_the_tables_again(
    enclave: SimulatedEnclave, owner: Owner, fault: str
) -> None:
    with session_with(enclave, owner.keys) as session:
        session.put_table("sales", owner.table())
        with pytest.raises(QueryFailed):
            session.query(fault).to_table()
        assert session.query("SELECT count(*) AS n FROM sales").to_table().to_pylist() == [{"n": 1000}]


def test_a_client_that_stops_reading_frees_its_worker(enclave: SimulatedEnclave) -> None:
    with session_with(enclave) as session:
        batches = iter(session.query("SELECT i FROM range(50000000) AS t(i)"))
        next(batches)
        batches.close()  # type: ignore[attr-defined]
        session.query("/* hang */")._stream.stop()
        assert session.query("SELECT 1 AS one").to_table().num_rows == 1


def test_a_client_that_vanishes_leaves_nothing_behind(tmp_path: Path) -> None:
    with simulated(tmp_path / "e", sessions=1, warm_spare=False, seconds_idle=1) as enclave:
        connection = EnclaveConnection(enclave.address)
        session = connection.open_session(enclave.trust(), ClientKeys.new().signing_key)
        next(iter(session.query("SELECT i FROM range(50000000) AS t(i)")))
        folders = enclave.scratch / "sessions"
        assert list(folders.iterdir())
        connection._channel.close()
        eventually("its folder is removed", lambda: not list(folders.iterdir()))
        eventually("its slot is free", lambda: health(enclave).sessions == 0)
        assert enclave.process is not None
        assert psutil.Process(enclave.process.pid).children(recursive=True) == []
        with session_with(enclave) as another:
            assert another.query("SELECT 1").to_table().num_rows == 1


def test_nothing_of_query_key_or_row_is_in_logs_or_lists_of_processes(enclave: SimulatedEnclave, owner: Owner) -> None:
    with session_with(enclave, owner.keys) as session:
        session.put_table("marked", owner.table("marked", csv=f"a\n{MARKER}\n"))
        assert session.query(f"SELECT a, '{MARKER}' AS b FROM marked").to_table().num_rows == 1  # noqa: S608
        with pytest.raises(QueryRefused):
            session.query(f"SELECT {MARKER} FROM nowhere").to_table()  # noqa: S608
        assert enclave.process is not None
        root = psutil.Process(enclave.process.pid)
        for process in (root, *root.children(recursive=True)):
            seen = " ".join(process.cmdline()) + repr(process.environ())
            for secret in (MARKER, owner.keys.master_key.hex(), owner.keys.table_key("marked").secret.hex()):
                assert secret not in seen
        for path in (enclave.scratch / "sessions").rglob("*"):
            if path.is_file():
                assert MARKER.encode() not in path.read_bytes(), "files of tables are ciphertext"
    assert MARKER not in enclave.log.read_text(encoding="utf-8")


def test_a_session_knows_nothing_of_anothers_tables(enclave: SimulatedEnclave, owner: Owner) -> None:
    with session_with(enclave, owner.keys) as one, session_with(enclave, owner.keys) as other:
        one.put_table("sales", owner.table())
        assert one.query("SELECT count(*) AS n FROM sales").to_table().to_pylist() == [{"n": 1000}]
        with pytest.raises(QueryRefused):
            other.query("SELECT count(*) AS n FROM sales").to_table()


def test_the_relay_carries_tls_and_no_more_connections_than_it_may(enclave: SimulatedEnclave) -> None:
    """Over TCP here, as this kernel's vsock has no loopback; the relay does not know the difference."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)
    address = f"127.0.0.1:{listener.getsockname()[1]}"
    ready, ended = threading.Event(), threading.Event()

    async def relay() -> None:
        async with relaying(listener, Path(enclave.address.removeprefix("unix:")), most=3):
            ready.set()
            await asyncio.to_thread(ended.wait, _PATIENCE_SECONDS)

    thread = threading.Thread(target=asyncio.run, args=(relay(),))
    thread.start()
    try:
        assert ready.wait(_PATIENCE_SECONDS)
        with EnclaveConnection(address) as connection:
            session = connection.open_session(enclave.trust(), ClientKeys.new().signing_key)
            assert session.query("SELECT 1 AS one").to_table().to_pylist() == [{"one": 1}]
            held = [socket.create_connection(("127.0.0.1", int(address.split(":")[1]))) for _ in range(3)]
            held[-1].settimeout(_PATIENCE_SECONDS)
            assert _closed(held[-1])
            assert session.query("SELECT 2 AS two").to_table().to_pylist() == [{"two": 2}]
            session.end()
            for one in held:
                one.close()
    finally:
        ended.set()
        thread.join(_PATIENCE_SECONDS)


def _closed(connection: socket.socket) -> bool:
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


def test_parameters_reach_the_worker_as_they_are(enclave: SimulatedEnclave) -> None:
    """The double ignores them, so a query that needs none must work with one."""
    with session_with(enclave) as session:
        result = session.query("SELECT 1 AS one", parameters=[Parameter("day", "date", None)])
        assert result.to_table().num_rows == 1


def test_a_hundred_sessions_at_once_run_wait_or_are_refused(enclave: SimulatedEnclave) -> None:
    trust, keys = enclave.trust(), ClientKeys.new()
    most = 0
    seen = threading.Lock()

    def one(number: int) -> str:
        nonlocal most
        try:
            with EnclaveConnection(enclave.address) as connection:
                if number % 10 == 0:
                    running = connection._stub.Health(wire.HealthRequest(), timeout=10).sessions
                    with seen:
                        most = max(most, running)
                with connection.open_session(trust, keys.signing_key, patience_seconds=0) as session:
                    assert session.query(f"SELECT {number} AS n").to_table().to_pylist() == [{"n": number}]
                    return "answered"
        except (EnclaveFull, NotReachable):
            return "refused"

    with ThreadPoolExecutor(100) as clients:
        outcomes = list(clients.map(one, range(100)))
    assert outcomes.count("answered") >= 4
    assert set(outcomes) <= {"answered", "refused"}
    assert most <= 4
    with session_with(enclave) as session:
        assert session.query("SELECT 1").to_table().num_rows == 1


def test_who_connects_and_says_nothing_keeps_nobody_out(enclave: SimulatedEnclave) -> None:
    silent = []
    try:
        for _ in range(50):
            connection = socket.socket(socket.AF_UNIX)
            connection.connect(enclave.address.removeprefix("unix:"))
            connection.sendall(b"\x16\x03\x01")  # a handshake that does not go on
            silent.append(connection)
        with session_with(enclave) as session:
            assert session.query("SELECT 1").to_table().num_rows == 1
        silent[0].settimeout(_PATIENCE_SECONDS)
        assert silent[0].recv(1) == b"", "the enclave hangs up on who does not finish the handshake"
    finally:
        for connection in silent:
            connection.close()


def test_after_a_restart_the_old_keys_open_nothing(tmp_path: Path) -> None:
    enclave = simulated(tmp_path / "e", sessions=1)
    with enclave:
        connection = EnclaveConnection(enclave.address)
        session = connection.open_session(enclave.trust(), ClientKeys.new().signing_key)
        boot = session.attested.binding.boot_id
    with enclave:
        with pytest.raises(EnclaveError):  # the channel trusts the certificate of the old start
            session.query("SELECT 1").to_table()
        with EnclaveConnection(enclave.address) as fresh:
            assert fresh.attest(enclave.trust()).binding.boot_id != boot
            session._stub = fresh._stub
            with pytest.raises(SessionLost):
                session.query("SELECT 1").to_table()
        connection.close()


def test_a_detached_result_needs_the_store_and_the_saved_state_only(enclave: SimulatedEnclave, tmp_path: Path) -> None:
    store, state = FolderStore(tmp_path / "store"), tmp_path / "query.json"
    with EnclaveConnection(enclave.address) as connection:
        session = connection.open_session(enclave.trust(), ClientKeys.new().signing_key)
        detached = session.query_detached("SELECT i FROM range(300000) AS t(i)")
        detached.save(state)
    assert state.stat().st_mode & 0o077 == 0
    with pytest.raises(ResultIncomplete):
        detached.result(store).to_table()
    count = carry(enclave.address, detached.for_courier(), store)
    assert count > 2
    loaded = DetachedQuery.load(state)
    assert loaded.result(store).to_table().num_rows == 300_000
    eventually("the session ended with its result", lambda: session_is_gone(enclave, detached))


def session_is_gone(enclave: SimulatedEnclave, detached: DetachedQuery) -> bool:
    try:
        carry(enclave.address, detached.for_courier(), FolderStore(Path("/nowhere")))
    except SessionLost:
        return True
    except EnclaveError:
        return False
    return False


def test_what_a_killed_simulation_left_in_memory_is_removed_by_the_next_one(tmp_path: Path) -> None:
    killed = simulated(tmp_path / "killed")
    killed.start()
    assert killed.process is not None
    killed.process.kill()
    killed.process.wait(10)
    assert killed.scratch.exists()
    with simulated(tmp_path / "next"):
        assert not killed.scratch.exists()
    killed.stop()
