"""The session worker: real Spark in a JVM of its own, over encrypted tables, on pipes."""

from __future__ import annotations

import base64
import hashlib
import struct
import time
from pathlib import Path
from typing import Any

import duckdb
import psutil
import pyarrow as pa
import pytest

from spark_enclave.tables import worker_table
from tests.enclave.session_jvm import LIMITS, SessionJvm, encrypted, message, shared_jvm

PEOPLE = pa.table(
    {
        "id": pa.array(range(2000), pa.int64()),
        "city": [f"city-{number % 7}" for number in range(2000)],
        "salary": [1000.5 + number for number in range(2000)],
        "born": pa.array([number % 9000 for number in range(2000)], pa.date32()),
        "tags": [["a", "b"] if number % 2 else None for number in range(2000)],
    }
)
ORDERS = pa.table({"person": [number % 50 for number in range(500)], "amount": [number * 3 for number in range(500)]})

#: Runs for hours unless it is stopped, in steps that can be.
ENDLESS = "SELECT count(*) FROM range(1000000000) a CROSS JOIN range(1000000000) b WHERE a.id * b.id % 7 = 3"
#: The small side is broadcast, and a nested loop goes over all of it for many rows before it looks up.
UNSTOPPABLE = (
    "SELECT count(*) FROM range(1000000000) a JOIN range(200000) b ON sha2(CAST(a.id * b.id AS STRING), 256) = ''"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tables")


@pytest.fixture(scope="module")
def jvm(folder: Path) -> SessionJvm:
    worker = shared_jvm()
    answer = worker.add_tables(message(folder, "people", PEOPLE), message(folder, "orders", ORDERS))
    assert answer == {"is": "tables", "tables": ["orders", "people"]}
    return worker


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT city, count(*) AS n, sum(salary) AS s, max(born) AS b FROM people GROUP BY city ORDER BY city",
        "SELECT id, city FROM people WHERE id BETWEEN 10 AND 20 ORDER BY id DESC",
        "SELECT p.city, sum(o.amount) AS a FROM people p JOIN orders o ON p.id = o.person GROUP BY 1 ORDER BY 1",
        "SELECT id, row_number() OVER (PARTITION BY city ORDER BY salary DESC) AS r FROM people ORDER BY id LIMIT 30",
        "WITH top AS (SELECT * FROM orders WHERE amount > (SELECT avg(amount) FROM orders)) SELECT count(*) FROM top",
        "SELECT count(*) AS n FROM people WHERE tags IS NULL",
    ],
)
def test_answers_over_encrypted_tables_are_right(jvm: SessionJvm, sql: str) -> None:
    with duckdb.connect() as oracle:
        oracle.register("people", PEOPLE)
        oracle.register("orders", ORDERS)
        assert jvm.query(sql).rows() == oracle.sql(sql).fetchall()


def test_nothing_listens(jvm: SessionJvm) -> None:
    assert [c for c in psutil.Process(jvm.process.pid).net_connections("all") if c.status == psutil.CONN_LISTEN] == []


def test_a_large_result_streams_in_order_and_in_small_frames(jvm: SessionJvm) -> None:
    jvm.ask("SELECT id, repeat('x', 40) AS x FROM range(0, 800000, 1, 8)")
    sizes, parts = [], []
    while isinstance(frame := jvm.receive(), bytes) or frame["is"] == "schema":
        if isinstance(frame, bytes):
            sizes.append(len(frame))
            parts.append(frame)
    assert frame["rows"] == 800_000
    assert frame["bytes"] <= sum(sizes)
    assert max(sizes) <= 4 << 20
    assert len(sizes) > 20
    read = pa.ipc.open_stream(b"".join(parts)).read_all()
    assert read.column("id").to_pylist() == list(range(800_000))


def test_a_join_hands_large_results_of_tasks_over_without_a_socket(jvm: SessionJvm) -> None:
    answer = jvm.query(
        "WITH b AS (SELECT id, id * 7919 % 1000003 AS mixed FROM range(1000000)) "
        "SELECT /*+ BROADCAST(b) */ count(*) AS n FROM range(1000) a JOIN b ON a.id = b.mixed"
    )
    assert answer.table().to_pylist() == [{"n": 1000}]


def test_values_fill_parameters_as_literals(jvm: SessionJvm) -> None:
    sql = "SELECT id FROM people WHERE city = :city AND id < :most ORDER BY id"
    values = {"city": {"type": "string", "value": "city-1"}, "most": {"type": "int", "value": "20"}}
    assert jvm.query(sql, parameters=values).rows() == [(1,), (8,), (15,)]
    hostile = values | {"city": {"type": "string", "value": "' OR 1=1 OR city='"}}
    assert jvm.query(sql, parameters=hostile).rows() == []
    assert jvm.query(sql, parameters=values | {"most": {"type": "int", "value": "many"}}).rule == "parameters"


@pytest.mark.parametrize(("limit", "most"), [("rows", 5), ("bytes", 2000)])
def test_a_result_over_its_limit_fails(jvm: SessionJvm, limit: str, most: int) -> None:
    assert jvm.query("SELECT * FROM people", limits=LIMITS | {limit: most}).rule == "limit"


def test_a_query_that_takes_too_long_is_stopped_and_the_next_one_works(jvm: SessionJvm) -> None:
    assert jvm.query(ENDLESS, limits=LIMITS | {"seconds": 2}).rule == "timeout"
    assert jvm.query("SELECT 1 AS one").rows() == [(1,)]


def test_a_query_can_be_cancelled_and_only_one_runs_at_a_time(jvm: SessionJvm) -> None:
    first = jvm.ask(ENDLESS)
    second = jvm.ask("SELECT 1")
    refused = jvm.answer()
    assert (refused.rule, refused.message["id"]) == ("busy", second)
    jvm.send({"do": "cancel", "id": first})
    cancelled = jvm.answer()
    assert (cancelled.rule, cancelled.message["id"]) == ("cancelled", first)
    jvm.send({"do": "cancel", "id": first})  # is over already: nothing to answer
    assert jvm.query("SELECT 2 AS two").rows() == [(2,)]


def test_nothing_of_a_query_runs_on_wherever_it_was_when_it_was_cancelled(jvm: SessionJvm) -> None:
    """Spark submits shuffles from threads of its own: without a limit they would hold the cores for ever."""
    for step in range(30):
        first = jvm.ask(ENDLESS)
        time.sleep(step * 0.004)  # planning and the first submission take about 0.1 s
        jvm.send({"do": "cancel", "id": first})
        assert jvm.answer().rule == "cancelled"
        assert jvm.query("SELECT 1 AS one", limits=LIMITS | {"seconds": 20}).rows() == [(1,)], f"step {step}"


def test_a_worker_whose_query_cannot_be_stopped_says_so_and_ends(tmp_path: Path) -> None:
    worker = SessionJvm(tmp_path / "scratch")
    worker.query("SELECT count(*) FROM range(10) a JOIN range(10) b ON a.id < b.id")  # a cold JVM plans for seconds
    answer = worker.query(UNSTOPPABLE, limits=LIMITS | {"seconds": 6})
    assert (answer.rule, answer.message.get("last")) == ("timeout", True)
    assert worker.process.wait(10) == 4


def test_a_query_that_does_not_fit_fails_cleanly_and_the_next_one_works(jvm: SessionJvm) -> None:
    sql = "SELECT length(concat_ws('', collect_list(repeat('x', 90000000 + CAST(id AS INT))))) AS n FROM range(40)"
    assert jvm.query(sql).rule == "memory"
    assert jvm.query("SELECT count(*) AS n FROM people").rows() == [(2000,)]


def test_an_error_of_the_query_reaches_its_client_and_no_log(jvm: SessionJvm) -> None:
    failed = jvm.query("SELECT id, if(id = 1999, raise_error('a-secret-' || city), 0) AS x FROM people")
    assert failed.rule == "error"
    assert "a-secret-city-4" in failed.message["message"]
    assert jvm.query("SELECT 1 / (id - 5) AS x FROM people").rule == "error"
    assert "secret" not in jvm.remarks
    assert "SELECT" not in jvm.remarks


def test_what_spark_writes_to_its_scratch_folder_is_encrypted(jvm: SessionJvm) -> None:
    jvm.query("SELECT city, max(salary) FROM people GROUP BY city")
    shuffled = [path for path in jvm.scratch.rglob("shuffle_*.data") if path.stat().st_size]
    assert shuffled
    # Unencrypted blocks begin with the compressor's magic.
    assert [path.name for path in shuffled if path.read_bytes().startswith(b"LZ4Block")] == []


def _file(entry: dict[str, Any]) -> Path:
    return Path(str(entry["directory"]), str(entry["files"][0]["name"]))


def _with_content(entry: dict[str, Any], content: bytes) -> None:
    _file(entry).write_bytes(content)
    entry["files"][0] |= {"length": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def _plain(entry: dict[str, Any]) -> None:
    plain = Path(entry["directory"]).parent / f"{entry['name']}.parquet"
    _with_content(entry, plain.read_bytes())


SPOILT: dict[str, Any] = {
    "file-missing": lambda entry: _file(entry).unlink(),
    "file-length": lambda entry: _file(entry).write_bytes(_file(entry).read_bytes()[:-1]),
    "file-digest": lambda entry: entry["files"][0].update(sha256="00" * 32),
    "file-plaintext": _plain,
    "file-key": lambda entry: entry["files"][0].update(
        key=base64.b64encode(b"another key, of thirty-two bytes."[:32]).decode()
    ),
    "table-name": lambda entry: entry.update(name="People; DROP"),
}


@pytest.mark.parametrize("rule", SPOILT)
def test_a_table_that_is_not_as_signed_is_not_taken(jvm: SessionJvm, tmp_path: Path, rule: str) -> None:
    entry = message(tmp_path, "spoilt", ORDERS)
    SPOILT[rule](entry)
    answer = jvm.add_tables(entry)
    assert (answer["is"], answer["rule"]) == ("refused", rule)
    assert jvm.query("SELECT * FROM spoilt").rule == "relation"


def test_a_file_does_not_stand_in_for_another_version_even_with_its_key(jvm: SessionJvm, tmp_path: Path) -> None:
    old, new = message(tmp_path, "versions", ORDERS, version=1), message(tmp_path, "versions", ORDERS, version=2)
    old["files"][0]["aad_prefix"] = new["files"][0]["aad_prefix"]
    assert jvm.add_tables(old)["rule"] == "file-key"


def test_a_file_with_other_columns_than_signed_is_not_taken(jvm: SessionJvm, tmp_path: Path) -> None:
    entry = message(tmp_path, "columns", ORDERS)
    schema = pa.schema([("person", pa.int64()), ("other", pa.int64())]).serialize().to_pybytes()
    assert jvm.add_tables(entry | {"schema": base64.b64encode(schema).decode()})["rule"] == "file-schema"


def test_a_name_is_taken_once(jvm: SessionJvm, folder: Path) -> None:
    out, manifest, key = encrypted(folder / "again", "people", PEOPLE)
    assert jvm.add_tables(worker_table(manifest, key, name="people", directory=out))["rule"] == "table-name"


@pytest.mark.parametrize(
    "frame",
    [
        struct.pack(">I", 0),
        struct.pack(">I", 1 << 31),
        struct.pack(">I", 3) + b"B{}",
        struct.pack(">I", 8) + b"J{1,2,3}",
        struct.pack(">I", 13) + b'J{"do":"eat"}',
        struct.pack(">I", 21) + b'J{"do":"close","do":1}',
    ],
)
def test_a_malformed_frame_ends_the_worker(tmp_path: Path, frame: bytes) -> None:
    jvm = SessionJvm(tmp_path / "scratch", 64, start=False)
    try:
        assert jvm.process.stdin is not None
        jvm.process.stdin.write(frame + bytes(64))
        jvm.process.stdin.close()
        assert jvm.process.wait(60) == 2
    finally:
        jvm.kill()


def test_a_closed_worker_leaves_nothing_behind(tmp_path: Path) -> None:
    jvm = SessionJvm(tmp_path / "scratch", 512)
    try:
        assert jvm.add_tables(message(tmp_path, "orders", ORDERS))["is"] == "tables"
        assert jvm.query("SELECT person, count(*) FROM orders GROUP BY person").rule == "end"
        assert any(jvm.scratch.iterdir())
        assert jvm.close() == 0
        assert list(jvm.scratch.iterdir()) == []
    finally:
        jvm.kill()
