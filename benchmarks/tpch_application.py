"""The application that `tpch` submits: runs the queries one after the other, and prints a line of JSON for each."""

import json
import sys
import time
from datetime import date
from decimal import Decimal
from pathlib import Path

from pyspark import SparkFiles
from pyspark.sql import SparkSession

TABLES = ("customer", "lineitem", "nation", "orders", "part", "partsupp", "region", "supplier")

#: Begins every line that is a result, so that nothing else in the output is taken for one.
MARK = "tpch-result "


def main(data: str, queries: str) -> None:
    """``data``: address of a folder with a Parquet file for each table; ``queries``: file with all, here or sent."""
    spark = SparkSession.builder.appName("tpch").getOrCreate()
    for table in TABLES:
        spark.read.parquet(f"{data}/{table}.parquet").createOrReplaceTempView(table)
    file = Path(queries) if Path(queries).exists() else Path(SparkFiles.get(queries))
    for name, query in sorted(json.loads(file.read_text(encoding="utf-8")).items()):
        started = time.perf_counter()
        rows = [[plain(value) for value in row] for row in spark.sql(query).collect()]
        seconds = time.perf_counter() - started
        print(MARK + json.dumps({"query": name, "seconds": round(seconds, 3), "rows": rows}), flush=True)
    spark.stop()


def plain(value: object) -> object:
    """A value as JSON has it: numbers as numbers, dates as text."""
    if isinstance(value, Decimal):
        return float(value)
    return value.isoformat() if isinstance(value, date) else value


if __name__ == "__main__":
    main(*sys.argv[1:])
