"""Grants: the owner of a table says who may ask what, and the enclave holds everybody to it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from typer.testing import CliRunner

from spark_enclave.tables import (
    ClientKeys,
    Grant,
    GrantedQuery,
    GrantRefused,
    VerifiedManifest,
    enforce,
    refusals,
    verify_grant,
    write_key_file,
)
from sparkvault.cli.root import app
from tests.enclave.session_jvm import KEYS as OWNER
from tests.enclave.session_jvm import Answer, SessionJvm, encrypted, message, shared_jvm

CLIENT = ClientKeys.new()
NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)

#: Groups a and b of five rows each, c of two.
STAFF = pa.table(
    {
        "team": ["a"] * 5 + ["b"] * 5 + ["c"] * 2,
        "person": [f"person-{number}" for number in range(12)],
        "salary": [100 * number for number in range(12)],
    }
)


def grant(**changes: Any) -> Grant:
    fields = {
        "table_id": "staff",
        "owner": OWNER.public_key,
        "clients": (CLIENT.public_key,),
        "columns": ("salary", "team"),
        "issued": int(NOW.timestamp()) - 60,
        "expires": int(NOW.timestamp()) + 3600,
    }
    return Grant(**{**fields, **changes})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("granted")


@pytest.fixture(scope="module")
def manifest(folder: Path) -> VerifiedManifest:
    return encrypted(folder / "manifest", "staff", STAFF, version=3)[1]


def test_a_granted_client_may_ask(manifest: VerifiedManifest) -> None:
    signed = grant(smallest_group=5).sign(OWNER.signing_key)
    verified = verify_grant(signed.data, OWNER.public_key)
    assert enforce(verified, CLIENT.public_key, "SELECT 1", NOW, manifest=manifest) == {
        "columns": ["salary", "team"],
        "smallest_group": 5,
        "approved": False,
    }


def test_the_owner_needs_no_grant_and_everybody_else_does(manifest: VerifiedManifest) -> None:
    assert enforce(None, OWNER.public_key, "SELECT 1", NOW, manifest=manifest) is None
    with pytest.raises(refusals.GrantMissing):
        enforce(None, CLIENT.public_key, "SELECT 1", NOW, manifest=manifest)


QUERY = GrantedQuery("SELECT count(*) FROM staff WHERE team = :team", (("team", "string"),))


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        ({"expires": int(NOW.timestamp())}, refusals.GrantExpired),
        ({"issued": int(NOW.timestamp()) + 1}, refusals.GrantNotYetValid),
        ({"clients": (ClientKeys.new().public_key,)}, refusals.GrantForOtherClient),
        ({"table_id": "payroll"}, refusals.GrantForOtherTable),
        ({"owner": CLIENT.public_key}, refusals.GrantForOtherTable),
        ({"first_version": 4}, refusals.GrantForOtherTable),
        ({"queries": (GrantedQuery("SELECT 2"),)}, refusals.QueryNotGranted),
        ({"queries": (QUERY,)}, refusals.QueryNotGranted),
    ],
)
def test_what_is_not_granted_is_refused(
    manifest: VerifiedManifest, changes: dict[str, Any], refusal: type[GrantRefused]
) -> None:
    with pytest.raises(refusal):
        enforce(grant(**changes), CLIENT.public_key, "SELECT 1", NOW, manifest=manifest)


def test_a_granted_query_is_taken_word_for_word_with_parameters_of_its_types(manifest: VerifiedManifest) -> None:
    allowed = grant(queries=(QUERY,))
    values = {"team": {"type": "string", "value": "a"}}
    approved = enforce(allowed, CLIENT.public_key, f" {QUERY.sql}\n", NOW, manifest=manifest, parameters=values)
    assert approved is not None
    assert approved["approved"] is True
    for wrong in ({}, {"team": {"type": "int", "value": "1"}}, values | {"more": {"type": "int", "value": "1"}}):
        with pytest.raises(refusals.ParametersNotGranted):
            enforce(allowed, CLIENT.public_key, QUERY.sql, NOW, manifest=manifest, parameters=wrong)


def test_a_grant_counts_only_as_its_owner_signed_it() -> None:
    data = grant(queries=(QUERY,)).sign(OWNER.signing_key).data
    thief = ClientKeys.new()
    with pytest.raises(refusals.GrantForOtherTable):
        verify_grant(replace(grant(), owner=thief.public_key).sign(thief.signing_key).data, OWNER.public_key)
    for at in range(0, len(data), 3):
        with pytest.raises(GrantRefused):
            verify_grant(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :], OWNER.public_key)
        with pytest.raises(GrantRefused):
            verify_grant(data[:at], OWNER.public_key)


# --- What the enclave's Spark makes of it ---


@pytest.fixture(scope="module")
def jvm(folder: Path) -> SessionJvm:
    worker = shared_jvm()
    assert worker.add_tables(message(folder, "staff", STAFF))["is"] == "tables"
    return worker


def ask(jvm: SessionJvm, sql: str, *columns: str, group: int = 1, approved: bool = False, **more: Any) -> Answer:
    part = {"columns": list(columns), "smallest_group": group, "approved": approved}
    return jvm.query(sql, grant={"tables": {"staff": part}}, **more)


def test_a_table_shows_its_granted_columns_only(jvm: SessionJvm) -> None:
    assert ask(jvm, "SELECT * FROM staff LIMIT 1", "team").rows() == [("a",)]
    for hidden in (
        "SELECT person FROM staff",
        "SELECT team FROM staff WHERE person = 'person-1'",
        "SELECT count(*) FROM staff GROUP BY length(person)",
        "SELECT team FROM staff ORDER BY person",
    ):
        assert ask(jvm, hidden, "team").rule == "analysis", hidden
    assert jvm.query("SELECT person FROM staff LIMIT 1").rows() == [("person-0",)]  # without a grant: one's own table


def test_an_approved_query_uses_other_columns_but_does_not_show_them(jvm: SessionJvm) -> None:
    sql = "SELECT team, count(DISTINCT person) FROM staff WHERE salary > 100 GROUP BY team ORDER BY team"
    assert ask(jvm, sql, "team", approved=True).rows() == [("a", 3), ("b", 5), ("c", 2)]


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT person FROM staff",
        "SELECT team, max(person) FROM staff GROUP BY team",
        "SELECT upper(person) AS team FROM staff",
        "SELECT x FROM (SELECT concat(team, person) AS x FROM staff)",
        "SELECT team FROM staff UNION ALL SELECT person FROM staff",
        "WITH w AS (SELECT person AS p FROM staff) SELECT p FROM w a JOIN w b USING (p)",
        "SELECT (SELECT max(person) FROM staff) AS x",
        "SELECT first_value(person) OVER (ORDER BY team) FROM staff",
        "SELECT e FROM staff LATERAL VIEW explode(array(person)) t AS e",
        "SELECT collect_list(person) FROM staff",
        "SELECT * FROM staff",
    ],
)
def test_no_way_brings_a_withheld_column_out_of_an_approved_query(jvm: SessionJvm, sql: str) -> None:
    assert ask(jvm, sql, "team", approved=True).rule == "grant-columns"


def test_groups_that_are_too_small_do_not_come_out(jvm: SessionJvm) -> None:
    sql = "SELECT team, sum(salary) AS s FROM staff GROUP BY team ORDER BY team"
    assert ask(jvm, sql, "team", "salary", group=5).rows() == [("a", 1000), ("b", 3500)]
    assert ask(jvm, "SELECT avg(salary) FROM staff WHERE team = 'c'", "team", "salary", group=3).rows() == []
    assert ask(jvm, "SELECT count(*) FROM staff", "team", group=12).rows() == [(12,)]
    having = "SELECT team FROM staff GROUP BY team HAVING count(*) < 5"
    assert ask(jvm, having, "team", group=3).rows() == []


@pytest.mark.parametrize(
    ("sql", "rule"),
    [
        ("SELECT salary FROM staff", "grant-group"),
        ("SELECT DISTINCT salary FROM staff", "grant-shape"),
        ("SELECT team, max(salary) FROM staff GROUP BY team", "grant-shape"),
        ("SELECT team, collect_list(salary) FROM staff GROUP BY team", "grant-shape"),
        ("SELECT sum(if(salary = 300, salary, 0)) FROM staff", "grant-shape"),
        ("SELECT sum(salary) FILTER (WHERE salary = 300) FROM staff", "grant-shape"),
        ("SELECT sum(x) FROM (SELECT if(salary = 300, salary, 0) AS x FROM staff)", "grant-shape"),
        ("SELECT a.salary, count(*) FROM staff a CROSS JOIN range(100) GROUP BY a.salary", "grant-shape"),
        (
            "SELECT salary, count(*) FROM staff LATERAL VIEW explode(sequence(1, 9)) AS e GROUP BY 1",
            "grant-shape",
        ),
        ("SELECT salary, count(*) FROM (SELECT * FROM staff UNION ALL SELECT * FROM staff) GROUP BY 1", "grant-shape"),
        ("SELECT team, (SELECT max(salary) FROM staff) FROM staff GROUP BY team", "grant-shape"),
        ("SELECT team, sum(salary) FROM staff GROUP BY ROLLUP (team)", "grant-shape"),
        ("SELECT sum(salary) OVER (PARTITION BY salary) FROM staff", "grant-shape"),
        ("SELECT team, sum(salary) FROM staff GROUP BY team UNION SELECT team, salary FROM staff", "grant-shape"),
        ("SELECT 1", "grant-shape"),
    ],
)
def test_nothing_goes_round_the_smallest_group(jvm: SessionJvm, sql: str, rule: str) -> None:
    assert ask(jvm, sql, "team", "salary", group=5).rule == rule


# --- The command line ---


def test_the_command_line_encrypts_and_grants(tmp_path: Path, manifest: VerifiedManifest) -> None:
    key, out = tmp_path / "keys.json", tmp_path / "staff"
    write_key_file(key, OWNER)
    (tmp_path / "staff.csv").write_text("team,amount\na,1.50\n", encoding="utf-8")
    (tmp_path / "asked.sql").write_text(QUERY.sql, encoding="utf-8")
    run = CliRunner().invoke
    types = ["--types", "amount=decimal(12,2)", "--table-version", "3"]
    encrypting = run(app, ["encrypt", str(tmp_path / "staff.csv"), "--out", str(out), "--key", str(key), *types])
    assert encrypting.exit_code == 0, encrypting.output
    assert "staff version 3: 1 encrypted file(s)" in encrypting.output
    options = ["--columns", "team,amount", "--expires", "30d", "--smallest-group", "5", "--key", str(key)]
    asked = ["--query", str(tmp_path / "asked.sql"), "--parameter", "team=string", "--client", CLIENT.public_key.hex()]
    granting = run(app, ["grant", "staff", "--out", str(tmp_path / "grant.cbor"), *options, *asked])
    assert granting.exit_code == 0, granting.output
    made = verify_grant((tmp_path / "grant.cbor").read_bytes(), OWNER.public_key)
    assert (made.columns, made.smallest_group, made.queries) == (("amount", "team"), 5, (QUERY,))
    soon = datetime.now(UTC) + timedelta(days=1)
    values = {"team": {"type": "string", "value": "a"}}
    assert enforce(made, CLIENT.public_key, QUERY.sql, soon, manifest=manifest, parameters=values) is not None
