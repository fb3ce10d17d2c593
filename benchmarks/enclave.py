"""Enclave: sealed results against raw AES, attest and open, idle memory, TPC-H encrypted against plain Spark."""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import psutil
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from benchmarks.report import Goal, Report
from benchmarks.tpch_queries import QUERIES
from emulation.enclave import SimulatedEnclave
from spark_enclave.client import EnclaveConnection, EnclaveError, EnclaveSession, TableFolder
from spark_enclave.protocol.limits import CHUNK_BYTES
from spark_enclave.protocol.result_chunks import ResultSealer
from spark_enclave.protocol.session_keys import SessionKeys
from spark_enclave.server.chunk_wire import chunk_on_wire
from spark_enclave.tables import ClientKeys
from spark_enclave.tables.encryption import encrypt_table

_MIB = 1 << 20
_SEALED_MIB = 128
_CHUNKS = _SEALED_MIB * _MIB // CHUNK_BYTES
TABLES = ("customer", "lineitem", "orders")


def main(arguments: list[str]) -> int:
    """Measure, interleaved, and report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks enclave", description=__doc__)
    parser.add_argument("--repeats", type=int, default=5, help="counted runs of each, after one that is not")
    parser.add_argument("--without-tpch", action="store_true", help="leave out the part that needs Spark")
    parser.add_argument("--scale", default="0.1", help="TPC-H scale factor")
    options = parser.parse_args(arguments)
    report = Report(
        "enclave",
        goals=[Goal("sealed_over_raw_aes", "at_least", 0.7), Goal("attest_and_open_ms", "at_most", 50)],
        notes=["SIMULATED enclave: a process without a network, its security module simulated."],
    )
    # One takes a twentieth of a second, in which a shared processor's speed still varies by a third.
    measure_sealing(report, 5 * options.repeats)
    with tempfile.TemporaryDirectory(prefix="bench-enclave-") as folder:
        measure_opening(report, Path(folder), options.repeats)
        if not options.without_tpch:
            report.goals.append(Goal("tpch_encrypted_over_plain", "at_most", 1.25))
            measure_tpch(report, Path(folder), options.repeats, options.scale)
    return 0 if report.publish() else 1


def measure_sealing(report: Report, repeats: int) -> None:
    """MiB/s of sealing a result as the broker does, up to bytes for the wire, over AES-256-GCM alone on the same.

    In processor time: both are computation in one thread, and other processes of the machine are nobody's merit.
    """
    data = os.urandom(CHUNK_BYTES)
    ratios, speeds = [], []
    for number in range(repeats + 1):
        raw, sealed = _raw_seconds(data), _sealed_seconds(data)
        if number:
            ratios.append(raw / sealed)
            speeds.append(_SEALED_MIB / sealed)
    report.add_samples("sealed_over_raw_aes", ratios)
    report.add_samples("sealed_mib_per_second", speeds)


def _raw_seconds(data: bytes) -> float:
    cipher = AESGCM(os.urandom(32))
    started = time.process_time()
    for index in range(_CHUNKS):
        cipher.encrypt(index.to_bytes(12, "big"), data, None)
    return time.process_time() - started


def _sealed_seconds(data: bytes) -> float:
    keys = SessionKeys(os.urandom(16), os.urandom(32), os.urandom(48), os.urandom(32))
    sealer = ResultSealer(keys, 1, os.urandom(48))
    started = time.process_time()
    for _ in range(_CHUNKS):
        index, sealed = sealer.seal(data)
        chunk_on_wire(index, False, sealed)
    return time.process_time() - started


def measure_opening(report: Report, folder: Path, repeats: int) -> None:
    """Milliseconds of attestation and opening over a connection that is there, and the idle server's memory."""
    # No session's Spark is started: what is measured is the broker.
    enclave = SimulatedEnclave(
        folder / "broker",
        sessions=4 * repeats + 4,
        worker=[sys.executable, "-c", "import sys; sys.stdin.buffer.read()"],
        settings={"warm_spare": False, "first_uid": None},
    )
    with enclave, EnclaveConnection(enclave.address) as connection:
        assert enclave.process is not None  # noqa: S101 (it runs)
        report.figures["idle_server_mib"] = round(psutil.Process(enclave.process.pid).memory_info().rss / _MIB, 1)
        trust, key = enclave.trust(), Ed25519PrivateKey.generate()
        samples = []
        for number in range(3 * repeats + 1):
            started = time.perf_counter()
            session = connection.open_session(trust, key, patience_seconds=0)
            taken = (time.perf_counter() - started) * 1000
            if number:
                samples.append(taken)
            session.end()
        report.add_samples("attest_and_open_ms", samples)


def measure_tpch(report: Report, folder: Path, repeats: int, scale: str) -> None:
    """Queries 1, 3, 6, 18 with everything encrypted, over the same Spark on plain Parquet; answers against DuckDB."""
    data = folder / "tpch"
    program = Path(sys.executable).parent / "tpchgen-cli"
    generate = [str(program), "parquet", "-s", scale, f"--output-dir={data}"]
    subprocess.run(generate, check=True, timeout=600, stdout=subprocess.DEVNULL)
    keys = ClientKeys.new()
    for name in TABLES:
        encrypt_table(
            [data / f"{name}.parquet"],
            folder / name,
            keys.table_key(name),
            table_id=name,
            version=1,
            signing_key=keys.signing_key,
        )
    encrypted: dict[str, list[float]] = {name: [] for name in QUERIES}
    plain: dict[str, list[float]] = {name: [] for name in QUERIES}
    enclave = SimulatedEnclave(folder / "enclave", heap_mib=2048)
    with (
        enclave,
        EnclaveConnection(enclave.address) as connection,
        connection.open_session(enclave.trust(), keys.signing_key) as session,
    ):
        for name in TABLES:
            owned = TableFolder.of_client(folder / name, keys, owner_key=keys.public_key, pinned=lambda owner, table: 1)
            session.put_table(name, owned)
        spark = _plain_spark(data)
        try:
            for number in range(repeats + 1):
                for name, sql in QUERIES.items():
                    started = time.perf_counter()
                    answer = _asked(session, name, sql)
                    inside = time.perf_counter() - started
                    started = time.perf_counter()
                    spark.sql(sql).toArrow()
                    outside = time.perf_counter() - started
                    if number:
                        encrypted[name].append(inside)
                        plain[name].append(outside)
                    else:
                        _check(name, answer.to_pylist(), _duckdb(data, sql))
        finally:
            spark.stop()
    for name in QUERIES:
        report.figures[f"tpch_{name}_encrypted_seconds"] = round(statistics.median(encrypted[name]), 3)
        report.figures[f"tpch_{name}_plain_seconds"] = round(statistics.median(plain[name]), 3)
    report.add_samples(
        "tpch_encrypted_over_plain",
        [
            sum(encrypted[name][number] for name in QUERIES) / sum(plain[name][number] for name in QUERIES)
            for number in range(repeats)
        ],
    )
    report.notes.append(f"TPC-H {', '.join(QUERIES)} at scale {scale}; all answers equal DuckDB's.")


def _asked(session: EnclaveSession, name: str, sql: str) -> Any:
    try:
        return session.query(sql).to_table()
    except EnclaveError as error:
        raise SystemExit(f"{name}: {error}") from None


def _plain_spark(data: Path) -> Any:
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.master("local[*]").config("spark.ui.enabled", "false")
    spark = builder.config("spark.driver.memory", "2g").config("spark.sql.shuffle.partitions", "2").getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    for name in TABLES:
        spark.read.parquet(str(data / f"{name}.parquet")).createOrReplaceTempView(name)
    return spark


def _duckdb(data: Path, sql: str) -> list[dict[str, Any]]:
    connection = duckdb.connect()
    for name in TABLES:
        connection.execute(f"CREATE VIEW {name} AS SELECT * FROM '{data / name}.parquet'")  # noqa: S608 (our own names)
    result: Any = connection.sql(sql).to_arrow_table()
    found: list[dict[str, Any]] = result.to_pylist()
    return found


def _check(name: str, answer: Sequence[dict[str, Any]], expected: Sequence[dict[str, Any]]) -> None:
    if [_rounded(row) for row in answer] != [_rounded(row) for row in expected]:
        raise SystemExit(f"{name}: the enclave's answer differs from DuckDB's")


def _rounded(row: dict[str, Any]) -> list[Any]:
    """Values as both engines agree on them: averages of decimals have other scales."""
    return [round(float(value), 2) if isinstance(value, float | Decimal) else value for value in row.values()]
