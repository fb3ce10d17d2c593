"""What part `yarn` submits: a word count and TPC-H queries in one session: to start one is most of a small job."""

import json
import sys
import time
from importlib import import_module
from pathlib import Path

from pyspark.sql import SparkSession


def main(text: str, lineitem: str, queries: str, top: str) -> None:
    """``text``, ``lineitem``: addresses; ``queries``: a file with them as JSON, sent with the job."""
    # Both are sent with the job.
    word_count, tpch = import_module("word_count"), import_module("tpch_application")
    spark = SparkSession.builder.appName("word count and TPC-H").getOrCreate()
    counts = word_count.count_words(spark.sparkContext.textFile(text, 1))
    for word, count in counts.takeOrdered(int(top), key=lambda pair: (-pair[1], pair[0])):
        print(f"{count:>9,}  {word}")
    spark.read.parquet(lineitem).createOrReplaceTempView("lineitem")
    for name, query in json.loads(Path(queries).read_text(encoding="utf-8")).items():
        started = time.perf_counter()
        rows = [[tpch.plain(value) for value in row] for row in spark.sql(query).collect()]
        seconds = time.perf_counter() - started
        print(tpch.MARK + json.dumps({"query": name, "seconds": round(seconds, 3), "rows": rows}), flush=True)
    spark.stop()


if __name__ == "__main__":
    main(*sys.argv[1:])
