"""Runs inside the submit image: every feature that the images promise, each with an answer that is known."""
# mypy: ignore-errors
# It runs in the image with Python packages that this environment lacks.

import http.server
import json
import os
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path

import pandas as pd
from pyspark.ml.linalg import Vectors
from pyspark.ml.regression import LinearRegression
from pyspark.sql import SparkSession
from pyspark.sql.functions import pandas_udf

BUCKET: dict[str, bytes] = {}
SEEN: list[str] = []


class ObjectStore(http.server.BaseHTTPRequestHandler):
    """The few calls of S3 and of the credentials endpoint that reading and writing one object take."""

    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *arguments: object) -> None:
        return

    def answer(self, code: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def key(self) -> str:
        return self.path.partition("?")[0].lstrip("/")

    def do_GET(self) -> None:
        if self.path == "/credentials":
            keys = {"AccessKeyId": "ASIAFROMTHEBROKER", "SecretAccessKey": "x", "Token": "t"}
            body = json.dumps({**keys, "Expiration": "2099-01-01T00:00:00Z"}).encode()
            self.answer(200, body, Content_Type="application/json")
            return
        SEEN.append(self.headers.get("Authorization", ""))
        if "list-type" in self.path:
            prefix = self.path.partition("prefix=")[2].partition("&")[0].replace("%2F", "/")
            found = [name.partition("/")[2] for name in BUCKET if name.partition("/")[2].startswith(prefix)]
            rows = "".join(
                f"<Contents><Key>{name}</Key><Size>{len(BUCKET['bucket/' + name])}</Size>"
                "<LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>&quot;e&quot;</ETag></Contents>"
                for name in found
            )
            about = f"<Name>bucket</Name><IsTruncated>false</IsTruncated><KeyCount>{len(found)}</KeyCount>"
            text = f"<ListBucketResult>{about}{rows}</ListBucketResult>"
            self.answer(200, text.encode(), Content_Type="application/xml")
        elif self.key() in BUCKET:
            body = BUCKET[self.key()]
            wanted = self.headers.get("Range")
            if wanted:
                first, _, last = wanted.removeprefix("bytes=").partition("-")
                body = body[int(first) : int(last) + 1 if last else None]
            self.answer(206 if wanted else 200, body, ETag='"e"', Last_Modified="Thu, 01 Jan 2026 00:00:00 GMT")
        else:
            self.answer(404, b"<Error><Code>NoSuchKey</Code></Error>", Content_Type="application/xml")

    do_HEAD = do_GET


def main() -> int:
    failed = 0
    session = (
        SparkSession.builder.config("spark.sql.shuffle.partitions", "2")
        .config(
            "spark.sql.streaming.stateStore.providerClass",
            "org.apache.spark.sql.execution.streaming.state.RocksDBStateStoreProvider",
        )
        .config("spark.plugins", "org.apache.spark.sql.connect.SparkConnectPlugin")
        .config("spark.hadoop.fs.s3a.path.style.access", "true")
        .enableHiveSupport()
        .getOrCreate()
    )
    print("FEATURE session works", flush=True)
    features: list[Callable[[SparkSession], None]] = [
        *(unprivileged, pandas_udfs, sql, mllib, rocksdb, hive, s3a, connect, tls),
    ]
    for feature in features:
        try:
            feature(session)
        except Exception:  # noqa: BLE001 - one feature that fails hides no other
            traceback.print_exc()
            print(f"FEATURE {feature.__name__} fails", flush=True)
            failed += 1
        else:
            print(f"FEATURE {feature.__name__} works", flush=True)
    # The Connect server in this session keeps the JVM alive until it is stopped.
    session.stop()
    return failed


def unprivileged(session: SparkSession) -> None:
    assert (os.getuid(), os.getgid()) == (185, 185)
    for path in ("/opt/spark/here", "/usr/here", "/etc/here"):
        try:
            Path(path).write_text("")
        except OSError:
            continue
        raise AssertionError(f"{path} can be written")


def pandas_udfs(session: SparkSession) -> None:
    @pandas_udf("long")
    def one_more(numbers: pd.Series) -> pd.Series:
        return numbers + 1

    assert session.range(10).select(one_more("id").alias("n")).agg({"n": "sum"}).first()[0] == 55


def sql(session: SparkSession) -> None:
    text = "select sum(a * b) from values (1, 2), (3, 4) as t(a, b)"
    assert session.sql(text).first()[0] == 14


def mllib(session: SparkSession) -> None:
    rows = [(2.0 * number, Vectors.dense([float(number)])) for number in range(20)]
    model = LinearRegression().fit(session.createDataFrame(rows, ["label", "features"]))
    assert abs(model.coefficients[0] - 2.0) < 1e-3


def rocksdb(session: SparkSession) -> None:
    stream = session.readStream.format("rate-micro-batch").option("rowsPerBatch", 10).load()
    counts = stream.groupBy("value").count().writeStream.format("memory").queryName("counts")
    query = counts.outputMode("complete").trigger(once=True).start()
    assert query.awaitTermination(120), "the stream did not end"
    assert session.table("counts").count() == 10


def hive(session: SparkSession) -> None:
    session.sql("create table numbers (n int) using hive")
    session.sql("insert into numbers values (1), (2)")
    assert session.sql("select sum(n) from numbers").first()[0] == 3


def s3a(session: SparkSession) -> None:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 9797), ObjectStore)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    BUCKET["bucket/words.csv"] = b"1,a\n2,b\n"
    assert session.read.csv("s3a://bucket/words.csv").count() == 2
    assert any("ASIAFROMTHEBROKER" in line for line in SEEN), "credentials did not come from the endpoint"


def connect(session: SparkSession) -> None:
    """A client in a process of its own asks the Connect server in ours."""
    program = (
        "from pyspark.sql import SparkSession; "
        "print(SparkSession.builder.remote('sc://127.0.0.1:15002').getOrCreate().range(5).count())"
    )
    # Without what spark-submit tells its own driver, the master among it.
    environment = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "HOME", "LANG") if name in os.environ}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout.strip() == "5", done.stderr[-2000:]


def tls(session: SparkSession) -> None:
    """The runtime knows elliptic curves, and trusts the base image's authorities."""
    context = session._jvm.javax.net.ssl.SSLContext.getDefault()
    assert any("ECDHE" in suite for suite in context.getDefaultSSLParameters().getCipherSuites())
    password = session._sc._gateway.new_array(session._jvm.char, 8)
    for at, letter in enumerate("changeit"):  # Java's own default; what it protects is public
        password[at] = letter
    store = session._jvm.java.security.KeyStore.getInstance(
        session._jvm.java.io.File("/opt/java/lib/security/cacerts"), password
    )
    assert store.size() > 100


if __name__ == "__main__":
    sys.exit(main())
