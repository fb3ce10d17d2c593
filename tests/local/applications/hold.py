"""Runs a task on the cluster, says `holding`, and ends when the named file is there (or with the test)."""

import sys
import time
from pathlib import Path

from pyspark.sql import SparkSession

spark = SparkSession.builder.appName("hold").getOrCreate()
total = spark.sparkContext.parallelize(range(100), 4).sum()
print("holding", total, flush=True)
deadline = time.monotonic() + 240
while not Path(sys.argv[1]).exists() and time.monotonic() < deadline:
    time.sleep(0.05)
print("let go", spark.sparkContext.parallelize(range(10), 2).sum(), flush=True)
spark.stop()
