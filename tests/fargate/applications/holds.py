"""Uses its executors, says so, and holds on to them until it is ended."""

import time

from pyspark.sql import SparkSession

spark = SparkSession.builder.appName("holds").getOrCreate()
print(f"counted {spark.range(0, 1000, 1, 8).count()}", flush=True)
print("holding", flush=True)
time.sleep(600)
