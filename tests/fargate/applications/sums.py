"""Adds numbers up over a shuffle, in Python workers too, and prints what everybody knows."""

import sys

from pyspark.sql import SparkSession

spark = SparkSession.builder.appName("sums").getOrCreate()
pairs = spark.sparkContext.parallelize(range(10_000), 8).map(lambda number: (number % 7, number))
total = sum(value for _, value in pairs.reduceByKey(lambda one, other: one + other, 4).collect())
print(f"the sum is {total}", flush=True)
spark.stop()
sys.exit(0 if total == 10_000 * 9_999 // 2 else 1)
