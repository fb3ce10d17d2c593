"""The whole enclave with its real Spark, simulated hardware only: few tests, as each session is a JVM."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from emulation.enclave import HostSide, SimulatedEnclave
from spark_constructs.enclave_key import TrustedImage
from spark_enclave.client import (
    EnclaveSession,
    Limits,
    QueryFailed,
    QueryRefused,
    TableFolder,
    TableNotTaken,
    table_key,
)
from spark_enclave.server.session_jvm import MAIN_CLASS
from spark_enclave.tables import ClientKeys, Grant
from spark_enclave.tables.encryption import encrypt_table
from tests.enclave.kms_account import kms_account
from tests.enclave.running_enclave import Owner, session_with


@pytest.fixture(scope="module")
def enclave(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimulatedEnclave]:
    folder = tmp_path_factory.mktemp("enclave")
    with SimulatedEnclave(folder) as running:
        yield running


@pytest.fixture(scope="module")
def client() -> ClientKeys:
    return ClientKeys.new()


@pytest.fixture(scope="module")
def session(
    enclave: SimulatedEnclave, client: ClientKeys, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[EnclaveSession]:
    """With one encrypted table, `sales`."""
    owner = Owner(client, tmp_path_factory.mktemp("owner"))
    with session_with(enclave, client) as running:
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
        assert process.uids().real == process.uids().effective == process.uids().saved
        # A broker ends whatever runs under its users: another enclave of this machine must have others.
        assert process.uids().real - 100_000 in range(256 * enclave.process.pid, 256 * (enclave.process.pid + 1))
        status = Path(f"/proc/{process.pid}/status").read_text()
        assert "NoNewPrivs:\t1" in status
        assert "CapEff:\t0000000000000000" in status
        interfaces = Path(f"/proc/{process.pid}/net/dev").read_text().splitlines()[2:]
        assert [line.split(":")[0].strip() for line in interfaces] == ["lo"]
        listening = [line for line in Path(f"/proc/{process.pid}/net/tcp").read_text().splitlines() if " 0A " in line]
        assert listening == []
        assert "Max core file size        0" in Path(f"/proc/{process.pid}/limits").read_text()


def test_what_another_owner_granted_is_answered_by_spark_and_after_its_end_nothing_is(
    session: EnclaveSession, enclave: SimulatedEnclave, client: ClientKeys, tmp_path: Path
) -> None:
    """Simulated hardware, emulated KMS; grant, key release and Spark are the product's own."""
    (measured,) = json.loads(enclave.measurements.read_text(encoding="utf-8"))
    with (
        kms_account(enclave.root.read_bytes(), TrustedImage("now", measured["pcrs"])) as account,
        HostSide(enclave.parent, account.aws.endpoint, lambda: account.credentials["parent"]) as host,
    ):
        owner, now = ClientKeys.new(account.key_arn), int(time.time())
        (tmp_path / "stock.csv").write_text("item,pieces,cost\n" + "".join(f"i{n % 3},{n},9\n" for n in range(90)))
        key, source = table_key(owner, "stock", 1, kms=account.client("owner"))
        encrypt_table(
            [tmp_path / "stock.csv"],
            tmp_path / "stock",
            key,
            table_id="stock",
            version=1,
            signing_key=owner.signing_key,
            key_source=source,
        )

        def until(expires: int) -> TableFolder:
            grant = Grant(
                table_id="stock",
                owner=owner.public_key,
                clients=(client.public_key,),
                columns=("item", "pieces"),
                issued=now - 600,
                expires=expires,
            ).sign(owner.signing_key)
            folder = tmp_path / "stock"
            return TableFolder.of_client(
                folder, client, owner_key=owner.public_key, pinned=lambda *_: 1, grant=grant.data
            )

        with pytest.raises(TableNotTaken) as expired:
            session.put_table("stock", until(now - 1))
        assert expired.value.rule == "grant-expired"
        assert host.carried == [], "nobody asked KMS"

        session.put_table("stock", until(now + 3600))
        answer = session.query("SELECT item, sum(pieces) AS n FROM stock GROUP BY item ORDER BY item").to_table()
        assert answer.to_pylist() == [{"item": f"i{n}", "n": sum(range(n, 90, 3))} for n in range(3)]
        assert len(host.carried) == 1
        with pytest.raises(QueryRefused):
            session.query("SELECT sum(cost) AS c FROM stock").to_table()
