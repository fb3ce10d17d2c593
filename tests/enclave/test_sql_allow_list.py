"""SQL is allowed by list: all functions, nodes and expressions of Spark are on one, and no known way out works."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pyarrow as pa
import pytest

from sparkvault.java import find_java
from tests.enclave.session_jvm import ROOT, SessionJvm, message, shared_jvm, spark_jars

# Looking at every class of Spark takes a minute, on a busy machine several.
pytestmark = pytest.mark.timeout(1000)

LISTS = ROOT / "assets" / "spark-plugins" / "enclave" / "src" / "main" / "resources" / "org" / "sparkvault" / "enclave"
PACKAGE = "org.apache.spark.sql."

#: Kind in the inventory → the list that classifies it, and whether names are classes.
KINDS = {
    "function": ("functions.txt", False),
    "table-function": ("table-functions.txt", False),
    "plan": ("plans.txt", True),
    "expression": ("expressions.txt", True),
}


def classified(file: str) -> dict[str, str]:
    """Name → heading. Fails on a name that stands twice."""
    found: dict[str, str] = {}
    heading = ""
    for line in (LISTS / file).read_text(encoding="utf-8").splitlines():
        if re.match(r"\[(allowed|inside|refused)\] ", line):
            heading = line
        elif line and not line.startswith("#"):
            assert heading, file
            for name in line.split():
                assert name not in found, f"{file} has {name} twice"
                found[name] = heading
    return found


@pytest.fixture(scope="module")
def inventory() -> dict[str, set[str]]:
    jars = spark_jars()
    searched = sorted(jars.glob("spark-*.jar"))
    listed = subprocess.run(
        [find_java().program, "-cp", f"{jars}/*", Path(__file__).with_name("SqlInventory.java"), *searched],
        capture_output=True,
        text=True,
        timeout=900,
        check=True,
    ).stdout
    found: dict[str, set[str]] = {kind: set() for kind in KINDS}
    for line in listed.splitlines():
        kind, name, *_ = line.split()
        assert kind in KINDS, line
        found[kind].add(name.removeprefix(PACKAGE))
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_everything_that_spark_has_is_classified(inventory: dict[str, set[str]], kind: str) -> None:
    file, _ = KINDS[kind]
    listed = classified(file)
    assert sorted(inventory[kind] - set(listed)) == [], f"not on {file}: say whether it is allowed, and why"
    assert sorted(set(listed) - inventory[kind]) == [], f"on {file}, but not in Spark"
    assert len(inventory[kind]) > {"function": 500, "table-function": 10, "plan": 300, "expression": 700}[kind]


def test_every_refusal_says_why() -> None:
    for file, _ in KINDS.values():
        for heading in set(classified(file).values()):
            assert len(heading.partition("] ")[2]) > 3, f"{file}: {heading}"


@pytest.fixture(scope="module")
def jvm(tmp_path_factory: pytest.TempPathFactory) -> SessionJvm:
    worker = shared_jvm()
    times = pa.array([0, 1, 2], pa.timestamp("us", tz="UTC"))
    rows = pa.table({"id": [1, 2, 3], "name": ["a", "b", None], "at": times})
    answer = worker.add_tables(message(tmp_path_factory.mktemp("tables"), "allowed", rows))
    assert answer["is"] == "tables"
    return worker


#: A way out of the session, or into what is not its own → the rule that stops it.
ESCAPES = {
    # files
    "SELECT * FROM parquet.`/etc`": "relation",
    "SELECT * FROM text.`/etc/passwd`": "relation",
    "SELECT * FROM csv.`file:///etc/passwd`": "relation",
    "SELECT * FROM json.`http://169.254.169.254/latest/meta-data`": "relation",
    "SELECT * FROM binaryFile.`/proc/self/environ`": "relation",
    "SELECT * FROM avro.`/etc`": "relation",
    "SELECT input_file_name() FROM allowed": "function",
    "SELECT input_file_block_start() FROM allowed": "function",
    "SELECT _metadata.file_path FROM allowed": "analysis",
    "SELECT * FROM read_files('/etc/passwd')": "function",
    "INSERT OVERWRITE DIRECTORY '/tmp/out' USING csv SELECT * FROM allowed": "statement",
    "LOAD DATA INPATH '/etc/passwd' INTO TABLE allowed": "statement",
    "CREATE TABLE t USING csv OPTIONS (path '/etc/passwd')": "statement",
    "CREATE TEMPORARY VIEW v USING text OPTIONS (path '/etc/passwd')": "statement",
    "CREATE TEMPORARY VIEW allowed AS SELECT 1": "statement",
    # code
    "SELECT reflect('java.lang.System', 'getenv', 'PATH')": "function",
    "SELECT java_method('java.lang.Runtime', 'getRuntime')": "function",
    "SELECT try_reflect('java.lang.System', 'exit', 0)": "function",
    "SELECT TRANSFORM (id) USING 'cat' AS (x) FROM allowed": "plan",
    "CREATE FUNCTION f AS 'java.lang.Runtime'": "statement",
    "CREATE TEMPORARY FUNCTION f(x INT) RETURNS INT RETURN x": "statement",
    "ADD JAR '/tmp/x.jar'": "statement",
    "ADD FILE '/etc/passwd'": "statement",
    "LIST JARS": "statement",
    "CALL sys.anything()": "statement",
    # parsers that fetch, load or trust
    "SELECT xpath_string('<!DOCTYPE a [<!ENTITY b SYSTEM \"file:///etc/passwd\">]><a>&b;</a>', 'a')": "function",
    "SELECT xpath('<a/>', 'document(\"http://169.254.169.254/\")')": "function",
    "SELECT from_xml('<a>1</a>', 'a INT')": "function",
    "SELECT from_avro(X'00', '{}')": "function",
    "SELECT from_protobuf(X'00', 'M', '/etc/passwd')": "function",
    "SELECT hll_sketch_estimate(X'00')": "function",
    "SELECT theta_union(X'00', X'00')": "function",
    # settings, session and system
    "SET spark.sql.runSQLOnFiles=true": "statement",
    "SET": "statement",
    "RESET": "statement",
    "SELECT current_user()": "function",
    "SELECT current_user": "expression",
    "SELECT version()": "function",
    "SELECT current_catalog()": "function",
    "SHOW TABLES": "statement",
    "SHOW FUNCTIONS": "statement",
    "DESCRIBE allowed": "statement",
    "EXPLAIN EXTENDED SELECT * FROM allowed": "statement",
    "SELECT * FROM sql_keywords()": "function",
    "SELECT * FROM python_worker_logs()": "function",
    "USE other": "statement",
    "CACHE TABLE allowed": "statement",
    "DROP VIEW allowed": "statement",
    # names that a query computes, and other catalogs
    "SELECT * FROM IDENTIFIER('allo' || 'wed')": "plan",
    "SELECT IDENTIFIER('ref' || 'lect')('java.lang.System', 'getenv')": "expression",
    "EXECUTE IMMEDIATE 'SELECT 1'": "statement",
    "SELECT * FROM spark_catalog.default.allowed": "relation",
    "SELECT * FROM global_temp.allowed": "relation",
    "SELECT * FROM system.session.allowed": "relation",
    "SELECT * FROM allowed TIMESTAMP AS OF '2020-01-01'": "plan",
    "SELECT spark_catalog.default.upper('x')": "function",
    "DECLARE VARIABLE x INT": "statement",
    "BEGIN SELECT 1; END": "statement",
    # more than one, or more than a SELECT
    "SELECT 1; SELECT 2": "syntax",
    "INSERT INTO allowed VALUES (1)": "statement",
    "DELETE FROM allowed": "statement",
    "FROM allowed INSERT INTO other SELECT *": "statement",
    "SELECT /*+ REPARTITION(100000000) */ * FROM allowed": "hint",
    "SELECT /*+ COALESCE(1) */ * FROM allowed": "hint",
    # hidden: in a subquery, a WITH, a lambda, a join, an argument
    "SELECT (SELECT reflect('java.lang.System', 'getenv', 'A'))": "function",
    "WITH a AS (SELECT * FROM text.`/etc/passwd`) SELECT * FROM a": "relation",
    "SELECT transform(array(1), x -> reflect('java.lang.System', 'getenv', 'A'))": "function",
    "SELECT * FROM allowed JOIN LATERAL (SELECT version()) v": "function",
    "SELECT * FROM allowed WHERE name IN (SELECT value FROM text.`/etc/passwd`)": "relation",
    "SELECT * FROM allowed LATERAL VIEW reflect('java.lang.System', 'getenv') t AS x": "function",
    "SELECT * FROM allowed PIVOT (max(reflect('a', 'b')) FOR id IN (1))": "function",
    "SELECT * FROM range(1) ORDER BY version()": "function",
    "SELECT id FROM allowed GROUP BY id HAVING version() > ''": "function",
    "SELECT max(id) FILTER (WHERE version() > '') FROM allowed": "function",
    "SELECT 1 |> SELECT version()": "function",
    "SELECT * FROM unknown_table": "relation",
    "SELECT no_such_function(1)": "function",
    "SELECT id FROM allowed WHERE secret = 1": "analysis",
    "(" * 20000 + "SELECT 1" + ")" * 20000: "syntax",
    "SELECT '" + "x" * 300_000 + "'": "syntax",
}


@pytest.mark.parametrize("sql", ESCAPES, ids=lambda sql: sql[:70])
def test_a_known_way_out_is_refused(jvm: SessionJvm, sql: str) -> None:
    answer = jvm.query(sql)
    assert answer.message["is"] == "refused", answer.message
    assert answer.rule == ESCAPES[sql], answer.message


#: What people write: a list that refuses one of these is too short.
ALLOWED = Path(__file__).with_name("allowed_queries.sql").read_text(encoding="utf-8").splitlines()[1:]


@pytest.mark.parametrize("sql", ALLOWED, ids=lambda sql: sql[:70])
def test_what_people_write_runs(jvm: SessionJvm, sql: str) -> None:
    assert jvm.query(sql).message["is"] == "end"
