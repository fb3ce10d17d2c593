"""Fails where data people's jobs fail: in a function that runs on an executor."""

from pyspark.sql import SparkSession


def price(row: int) -> int:
    if row == 3:
        raise ValueError("row 3 has no price")
    return row


spark = SparkSession.builder.appName("fail").getOrCreate()
spark.sparkContext.parallelize(range(8), 2).map(price).sum()
