"""The whole enclave with its real Spark, simulated hardware only: few tests, as each session is a JVM."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from emulation.enclave import SimulatedEnclave
from spark_enclave.client import EnclaveSession, Limits, QueryFailed, QueryRefused
from spark_enclave.server.session_jvm import MAIN_CLASS
from spark_enclave.tables import ClientKeys
from tests.enclave.running_enclave import Owner, session_with


@pytest.fixture(scope="module")
def enclave(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimulatedEnclave]:
    folder = tmp_path_factory.mktemp("enclave")
    with SimulatedEnclave(folder) as running:
        yield running


@pytest.fixture(scope="module")
def session(enclave: SimulatedEnclave, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EnclaveSession]:
    """With one encrypted table, `sales`."""
    owner = Owner(ClientKeys.new(), tmp_path_factory.mktemp("owner"))
    with session_with(enclave, owner.keys) as running:
        running.put_table("sales", owner.table())
        yield running


def test_spark_answers_over_an_encrypted_table(session: EnclaveSession) -> None:
    result = session.query("SELECT region, sum(amount) AS total FROM sales GROUP BY region ORDER BY region")
    assert result.to_table().to_pylist() == [
        {"region": "north", "total": sum(n for n in range(1000) if n % 3)},
        {"region": "south", "total": sum(n for n in range(1000) if not n % 3)},
    ]


@pytest.mark.parametrize(
    "sql", ["SELECT * FROM parquet.`/etc/passwd`", "SELECT java_method('java.lang.System', 'nanoTime')"]
)
def test_what_is_not_allowed_is_refused_sealed(session: EnclaveSession, sql: str) -> None:
    with pytest.raises(QueryRefused):
        session.query(sql).to_table()


def test_a_query_that_does_not_fit_fails_and_the_next_one_works(session: EnclaveSession) -> None:
    too_much = "SELECT collect_list(repeat(cast(id AS string), 2000)) AS all FROM range(3000000)"
    with pytest.raises(QueryFailed) as failed:
        session.query(too_much, Limits(seconds=120)).to_table()
    assert failed.value.kind == "memory"
    assert session.query("SELECT count(*) AS n FROM sales").to_table().to_pylist() == [{"n": 1000}]


@pytest.mark.skipif(os.geteuid() != 0 and not os.environ.get("CI"), reason="a user of its own for a session takes root")
def test_the_sessions_jvm_has_a_user_of_its_own_no_network_and_no_way_back(
    session: EnclaveSession, enclave: SimulatedEnclave
) -> None:
    assert enclave.process is not None
    found = [
        one
        for one in psutil.Process(enclave.process.pid).children(recursive=True)
        if MAIN_CLASS in one.cmdline() and one.uids().real != 0
    ]
    assert found
    for process in found:
        assert process.uids().real == process.uids().effective == process.uids().saved >= 70_000
        status = Path(f"/proc/{process.pid}/status").read_text()
        assert "NoNewPrivs:\t1" in status
        assert "CapEff:\t0000000000000000" in status
        interfaces = Path(f"/proc/{process.pid}/net/dev").read_text().splitlines()[2:]
        assert [line.split(":")[0].strip() for line in interfaces] == ["lo"]
        listening = [line for line in Path(f"/proc/{process.pid}/net/tcp").read_text().splitlines() if " 0A " in line]
        assert listening == []
        assert "Max core file size        0" in Path(f"/proc/{process.pid}/limits").read_text()
