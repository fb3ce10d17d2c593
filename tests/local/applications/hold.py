"""Says `holding`, and ends when the file it is given is there (or with the test).

    hold.py FILE [cluster | driver | nothing]

It holds a job on the cluster's executors, a driver that wants none, or no Spark at all.
"""

import sys
import time
from pathlib import Path

from pyspark.sql import SparkSession

go, holds = Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else "cluster"
spark = SparkSession.builder.appName("hold").getOrCreate() if holds != "nothing" else None


def total(numbers: int) -> int:
    return spark.sparkContext.parallelize(range(numbers), 4).sum() if spark and holds == "cluster" else 0


print("holding", total(100), flush=True)
deadline = time.monotonic() + 240
while not go.exists() and time.monotonic() < deadline:
    time.sleep(0.05)
print("let go", total(10), flush=True)
if spark:
    spark.stop()
