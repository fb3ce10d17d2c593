"""The client's verbs against a running enclave (simulated, Spark replaced by a double), as a person types them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow.parquet
import pytest

from emulation.enclave import SimulatedEnclave
from tests.enclave.running_enclave import CSV, simulated
from tests.support.command_line import Answer, CommandLine

SQL = "SELECT region, count(*) AS n FROM sales GROUP BY region ORDER BY region"
ROWS = [{"region": "north", "n": 666}, {"region": "south", "n": 334}]


@pytest.fixture(scope="module")
def enclave(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimulatedEnclave]:
    with simulated(tmp_path_factory.mktemp("enclave")) as running:
        yield running


@pytest.fixture
def person(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., Answer]:
    """In a folder of their own, with keys and an encrypted table."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SPARKVAULT_HOME", str(tmp_path / "work"))
    monkeypatch.chdir(tmp_path)
    Path("sales.csv").write_text(CSV, encoding="utf-8")
    run = CommandLine(monkeypatch, capfd).run
    assert run("keys", "new").code == 0
    assert run("encrypt", "sales.csv", "--out", "sales", "--table-version", "2").code == 0
    return run


def options(enclave: SimulatedEnclave) -> list[str]:
    trust = ["--measurements", str(enclave.measurements), "--simulated", str(enclave.root)]
    return ["--enclave", enclave.address, "--table", "sales=sales", *trust]


def test_keys_are_made_once_and_never_shown(person: Callable[..., Answer], tmp_path: Path) -> None:
    file = tmp_path / ".config/sparkvault/keys.json"
    assert file.stat().st_mode & 0o077 == 0
    again = person("keys", "new")
    assert again.code == 1
    assert "exists already" in again.err
    shown = person("keys", "show", "--json")
    assert len(json.loads(shown.out)["public_key"]) == 64
    assert json.loads(file.read_text())["master_key"] not in shown.out + shown.err


def test_a_query_is_answered_and_says_what_was_proven(person: Callable[..., Answer], enclave: SimulatedEnclave) -> None:
    answer = person("query", SQL, *options(enclave), "--format", "json", "--explain-trust")
    assert answer.code == 0, answer.err
    assert json.loads(answer.out) == ROWS
    assert answer.err.startswith("SIMULATED")
    assert "Answers the nonce that was sent." in answer.err
    assert "The TLS connection ends inside this enclave" in answer.err
    assert "north" in person("query", SQL, *options(enclave)).out


def test_results_are_files_when_asked_for(person: Callable[..., Answer], enclave: SimulatedEnclave) -> None:
    for name in ("out.csv", "out.json", "out.parquet"):
        assert person("query", SQL, *options(enclave), "--out", name).code == 0
    assert Path("out.csv").read_text() == "region,n\nnorth,666\nsouth,334\n"
    assert json.loads(Path("out.json").read_text()) == ROWS
    assert pyarrow.parquet.read_table("out.parquet").to_pylist() == ROWS
    assert Path("out.csv").stat().st_mode & 0o077 == 0


def test_without_the_simulations_root_nothing_is_sent(person: Callable[..., Answer], enclave: SimulatedEnclave) -> None:
    given = [one for one in options(enclave) if one not in ("--simulated", str(enclave.root))]
    answer = person("query", SQL, *given)
    assert answer.code == 1
    assert "Remedy:" in answer.err
    assert "simulation" in answer.err


def test_a_failed_query_leaves_no_file(person: Callable[..., Answer], enclave: SimulatedEnclave) -> None:
    answer = person("query", "SELECT nothing FROM sales", *options(enclave), "--out", "out.csv")
    assert answer.code == 1
    assert "refuses the query (analysis)" in answer.err
    assert [path.name for path in Path.cwd().glob("*out*")] == []


def test_an_older_version_of_a_table_is_refused_afterwards(
    person: Callable[..., Answer], enclave: SimulatedEnclave
) -> None:
    assert person("query", SQL, *options(enclave)).code == 0
    assert person("encrypt", "sales.csv", "--out", "old/sales", "--table-version", "1").code == 0
    old = [one.replace("sales=sales", "sales=old/sales") for one in options(enclave)]
    answer = person("query", SQL, *old)
    assert answer.code == 1
    assert "version 1" in answer.err


def test_a_detached_query_is_fetched_later(person: Callable[..., Answer], enclave: SimulatedEnclave) -> None:
    asked = person("query", SQL, *options(enclave), "--detach", "state.json", "--to", "store")
    assert asked.code == 0, asked.err
    deadline = time.monotonic() + 60
    while (answer := person("fetch", "state.json", "--from", "store", "--format", "json")).code:
        assert time.monotonic() < deadline, answer.err
        time.sleep(0.1)
    assert json.loads(answer.out) == ROWS
    assert answer.err.startswith("SIMULATED")


@pytest.mark.parametrize(
    "wrong",
    [
        ["--table", "sales"],
        ["--detach", "x"],
        ["--format", "parquet"],
        ["--out", "result"],
        ["--param", "day=1"],
        ["--owner", "sales=12"],
    ],
)
def test_wrong_use_is_told_before_anything_is_connected(person: Callable[..., Answer], wrong: list[str]) -> None:
    given = ["--table", "sales=sales"] if wrong[0] != "--table" else []
    answer = person("query", "SELECT 1", "--enclave", "unix:/nowhere", *given, *wrong)
    assert answer.code == 2, answer.err


def test_a_document_is_verified_by_hand(person: Callable[..., Answer], enclave: SimulatedEnclave) -> None:
    from spark_enclave.client import EnclaveConnection
    from spark_enclave.protocol import enclave_pb2 as wire

    nonce = bytes(range(32))
    with EnclaveConnection(enclave.address) as connection:
        Path("document").write_bytes(connection._stub.Attest(wire.AttestRequest(nonce=nonce), timeout=20).document)
    given = ["--simulated", str(enclave.root), "--policy", str(enclave.measurements)]
    answer = person("enclave", "verify", "document", *given, "--nonce", nonce.hex())
    assert answer.code == 0, answer.err
    assert answer.out.startswith("SIMULATED")
    assert "NOT CHECKED: whose session it binds" in answer.out
    assert json.loads(person("enclave", "verify", "document", *given, "--json").out)["simulated"] is True
    assert person("enclave", "verify", "document").code == 1
    assert person("enclave", "verify", "document", *given, "--nonce", bytes(32).hex()).code == 1
    assert person("enclave", "verify", "document", *given, "--at", "2020-01-01T00:00:00Z").code == 1
    assert person("enclave", "verify", "nothing").code == 2
    assert person("enclave", "verify", "document", *given, "--at", "yesterday").code == 2
