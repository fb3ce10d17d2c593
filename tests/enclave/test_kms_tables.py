"""Tables under KMS, asked by others: the grant is enforced first, then the enclave asks KMS; nobody else gets a key.

The enclave is simulated, Spark replaced by a double; KMS is emulated and judges key policy and attestation document.
"""

from __future__ import annotations

import base64
import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from emulation.enclave import HostSide, SimulatedEnclave
from spark_constructs.enclave_key import TrustedImage
from spark_enclave.client import (
    DataKeyRefused,
    EnclaveSession,
    Parameter,
    QueryRefused,
    TableFolder,
    TableNotTaken,
    table_key,
)
from spark_enclave.tables import ClientKeys, Grant, GrantedQuery, encryption_context, verify_manifest
from spark_enclave.tables.encryption import encrypt_table
from tests.enclave.kms_account import KmsAccount, kms_account
from tests.enclave.running_enclave import CSV, session_with, simulated
from tests.support.command_line import CommandLine

SQL = "SELECT region, sum(amount) AS total FROM sales GROUP BY region ORDER BY region"
TOTALS = [
    {"region": "north", "total": sum(n for n in range(1000) if n % 3)},
    {"region": "south", "total": sum(n for n in range(1000) if not n % 3)},
]
COUNT = "SELECT count(amount) AS n FROM sales"
BY_REGION = GrantedQuery("SELECT count(*) AS n FROM sales WHERE region = :region", (("region", "string"),))
DAY = int(timedelta(days=1).total_seconds())


@dataclass
class World:
    """A data owner with a table under KMS, an enclave on a host with the right role, and somebody who would ask."""

    enclave: SimulatedEnclave
    account: KmsAccount
    host: HostSide
    owner: ClientKeys
    author: ClientKeys
    folder: Path

    def grant(self, now: int, **changes: Any) -> bytes:
        given: dict[str, Any] = {
            "table_id": "sales",
            "owner": self.owner.public_key,
            "clients": (self.author.public_key,),
            "columns": ("amount", "region"),
            "issued": now - 60,
            "expires": now + DAY,
            **changes,
        }
        return Grant(**given).sign(self.owner.signing_key).data

    def table(self, grant: bytes = b"", who: ClientKeys | None = None) -> TableFolder:
        return TableFolder.of_client(
            self.folder, who or self.author, owner_key=self.owner.public_key, pinned=lambda *_: 1, grant=grant
        )

    @property
    def kms_calls(self) -> int:
        return len(self.host.carried)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("kms")
    with simulated(folder / "enclave", sessions=2) as enclave:
        (measured,) = json.loads(enclave.measurements.read_text(encoding="utf-8"))
        image = TrustedImage("now", measured["pcrs"])
        with (
            kms_account(enclave.root.read_bytes(), image) as account,
            HostSide(enclave.parent, account.aws.endpoint, lambda: account.credentials["parent"]) as host,
        ):
            owner = ClientKeys.new(account.key_arn)
            (folder / "sales.csv").write_text(CSV, encoding="utf-8")
            key, source = table_key(owner, "sales", 1, kms=account.client("owner"))
            encrypt_table(
                [folder / "sales.csv"],
                folder / "sales",
                key,
                table_id="sales",
                version=1,
                signing_key=owner.signing_key,
                key_source=source,
            )
            yield World(enclave, account, host, owner, ClientKeys.new(), folder / "sales")


@pytest.fixture
def now() -> int:
    return int(time.time())


@pytest.fixture
def session(world: World) -> Iterator[EnclaveSession]:
    """Of the one who would ask."""
    with session_with(world.enclave, world.author) as running:
        yield running


def test_a_granted_client_gets_answers_and_never_a_key(world: World, session: EnclaveSession, now: int) -> None:
    before = world.kms_calls
    session.put_table("sales", world.table(world.grant(now)))
    assert world.kms_calls == before, "no key is asked for before a query is allowed"
    assert session.query(SQL).to_table().to_pylist() == TOTALS
    assert session.query(SQL).to_table().to_pylist() == TOTALS
    assert world.kms_calls == before + 1, "once for the session"
    asked = json.loads(world.host.carried[-1].partition(b"\r\n\r\n")[2])
    assert asked["EncryptionContext"] == encryption_context("sales", 1, world.owner.public_key)
    assert set(asked["Recipient"]) == {"AttestationDocument", "KeyEncryptionAlgorithm"}


def test_the_owner_asks_without_a_grant_and_has_no_key_either(world: World) -> None:
    table = world.table(who=world.owner)
    assert table.table_key == b""
    with session_with(world.enclave, world.owner) as session:
        session.put_table("sales", table)
        assert session.query(SQL).to_table().to_pylist() == TOTALS


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        (None, "grant-missing"),
        ({"issued": -3 * DAY, "expires": -DAY}, "grant-expired"),
        ({"issued": DAY, "expires": 2 * DAY}, "grant-not-yet"),
        ({"clients": (ClientKeys.new().public_key,)}, "grant-client"),
        ({"table_id": "other"}, "grant-table"),
        ({"first_version": 2}, "grant-table"),
    ],
    ids=["none", "expired", "not yet", "another client's", "another table's", "newer versions only"],
)
def test_without_a_grant_that_holds_the_table_is_refused_and_kms_is_not_asked(
    world: World, session: EnclaveSession, now: int, changes: dict[str, Any] | None, rule: str
) -> None:
    moved = {name: now + at for name, at in (changes or {}).items() if name in ("issued", "expires")}
    grant = b"" if changes is None else world.grant(now, **{**changes, **moved})
    before = world.kms_calls
    with pytest.raises(TableNotTaken) as refused:
        session.put_table("sales", world.table(grant))
    assert refused.value.rule == rule
    assert world.kms_calls == before


def test_only_granted_queries_bring_the_key_in(world: World, session: EnclaveSession, now: int) -> None:
    before = world.kms_calls
    session.put_table("sales", world.table(world.grant(now, queries=(BY_REGION,))))
    with pytest.raises(QueryRefused) as refused:
        session.query("SELECT * FROM sales")
    assert refused.value.rule == "grant-query"
    with pytest.raises(QueryRefused) as refused:
        session.query(BY_REGION.sql, parameters=[Parameter("region", "int", "1")])
    assert refused.value.rule == "grant-parameters"
    assert world.kms_calls == before, "for queries that are not granted there is no key"


def test_a_grant_that_expires_meanwhile_ends_the_queries(world: World, session: EnclaveSession, now: int) -> None:
    session.put_table("sales", world.table(world.grant(now, expires=now + 4)))
    assert session.query(SQL).to_table().to_pylist() == TOTALS

    def until_refused() -> None:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            session.query(SQL).to_table()

    with pytest.raises(QueryRefused) as refused:
        until_refused()
    assert refused.value.rule == "grant-expired"


def test_an_owners_name_on_anothers_ciphertext_opens_nothing(world: World, tmp_path: Path) -> None:
    """Who has the folder signs a manifest of their own around the wrapped key: KMS knows another owner."""
    thief = ClientKeys.new()
    real = world.table(who=world.owner).manifest.manifest
    stolen = type(real)(real.table_id, real.version, thief.public_key, real.schema, real.files, real.key)
    signed = stolen.sign(thief.signing_key)
    assert verify_manifest(signed.data, thief.public_key, 1).manifest.key == real.key
    for path in world.folder.glob("*.parquet"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    signed.write(tmp_path)
    table = TableFolder.of_client(tmp_path, thief, owner_key=thief.public_key, pinned=lambda *_: 1)
    with session_with(world.enclave, thief) as session:
        session.put_table("sales", table)
        with pytest.raises(QueryRefused) as refused:
            session.query(SQL)
        assert refused.value.rule == "key-release"


def test_the_hosts_root_with_the_right_role_gets_neither_key_nor_answer(world: World) -> None:
    """It has the role, the wrapped key, the folder, and everything that crossed it."""
    source = world.table().manifest.manifest.key
    context = encryption_context("sales", 1, world.owner.public_key)
    kms = world.account.client("parent")
    with pytest.raises(ClientError, match="AccessDenied"):
        kms.decrypt(CiphertextBlob=source.wrapped, EncryptionContext=context)
    # A document of the enclave that it kept: the answer is sealed to a key that the enclave alone had.
    documents = [re.search(rb'"AttestationDocument":"([^"]+)"', one) for one in world.host.carried]
    kept = next(base64.b64decode(found[1]) for found in reversed(documents) if found)
    answer = kms.decrypt(
        CiphertextBlob=source.wrapped,
        EncryptionContext=context,
        Recipient={"AttestationDocument": kept, "KeyEncryptionAlgorithm": "RSAES_OAEP_SHA_256"},
    )
    assert "Plaintext" not in answer
    root = ClientKeys.new()
    with session_with(world.enclave, root) as session, pytest.raises(TableNotTaken) as refused:
        session.put_table("sales", world.table(who=root))
    assert refused.value.rule == "grant-missing"


def test_every_session_asks_kms_anew_and_forgets_the_key_with_its_end(world: World, now: int) -> None:
    before = world.kms_calls
    for _ in range(2):
        with session_with(world.enclave, world.author) as session:
            session.put_table("sales", world.table(world.grant(now)))
            assert session.query(SQL).to_table().to_pylist() == TOTALS
    assert world.kms_calls == before + 2


@pytest.mark.parametrize(
    "credentials",
    [
        {"AccessKeyId": "", "SecretAccessKey": "x", "SessionToken": "x"},
        {"AccessKeyId": "AKIA\r\nHost: elsewhere", "SecretAccessKey": "x", "SessionToken": "x"},
        {"AccessKeyId": "A" * 20_000, "SecretAccessKey": "x", "SessionToken": "x"},
    ],
    ids=["empty", "with a line break", "too long"],
)
def test_a_host_that_gives_nonsense_for_credentials_breaks_that_query_only(
    world: World, session: EnclaveSession, now: int, monkeypatch: pytest.MonkeyPatch, credentials: dict[str, str]
) -> None:
    session.put_table("sales", world.table(world.grant(now)))
    monkeypatch.setattr(world.host, "_credentials", lambda: credentials)
    with pytest.raises(QueryRefused) as refused:
        session.query(SQL)
    assert refused.value.rule == "key-release"
    monkeypatch.undo()
    assert session.query(SQL).to_table().to_pylist() == TOTALS


def test_the_command_line_does_all_of_it(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SPARKVAULT_HOME", str(tmp_path / "work"))
    monkeypatch.chdir(tmp_path)
    Path("sales.csv").write_text(CSV, encoding="utf-8")
    for name, value in world.account.aws.environment().items():
        monkeypatch.setenv(name, value)
    given = world.account.credentials["owner"]
    for name, value in (
        ("AWS_ACCESS_KEY_ID", given["AccessKeyId"]),
        ("AWS_SECRET_ACCESS_KEY", given["SecretAccessKey"]),
        ("AWS_SESSION_TOKEN", given["SessionToken"]),
    ):
        monkeypatch.setenv(name, value)
    run = CommandLine(monkeypatch, capfd).run
    made = run("keys", "new", "--kms", world.account.key_arn, "--key", "owner.json", "--json")
    assert made.code == 0, made.err
    owner = json.loads(made.out)
    assert owner["kms_key"] == world.account.key_arn
    author = json.loads(run("keys", "new", "--key", "author.json", "--json").out)["public_key"]
    encrypted = run("encrypt", "sales.csv", "--out", "sales", "--key", "owner.json")
    assert encrypted.code == 0, encrypted.err
    grant = ("grant", "sales", "--client", author, "--columns", "amount,region", "--expires", "1h", "--out", "g")
    assert run(*grant, "--key", "owner.json").code == 0
    trust = ["--measurements", str(world.enclave.measurements), "--simulated", str(world.enclave.root)]
    ask = ["query", COUNT, "--table", "sales=sales", "--enclave", world.enclave.address, "--key", "author.json", *trust]
    ask += ["--owner", f"sales={owner['public_key']}", "--format", "json"]
    refused = run(*ask)
    assert refused.code == 1
    assert "grant-missing" in refused.err
    answered = run(*ask, "--grant", "sales=g")
    assert answered.code == 0, answered.err
    assert json.loads(answered.out) == [{"n": 1000}]


def test_a_role_that_owns_nothing_encrypts_nothing(
    world: World,
) -> None:
    with pytest.raises(DataKeyRefused, match="owner"):
        table_key(world.owner, "sales", 2, kms=world.account.client("admin"))
