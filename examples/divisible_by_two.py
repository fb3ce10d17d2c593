"""Count how many of the numbers below a limit are divisible by two: the smallest job that uses the whole cluster.

sparkvault submit examples/divisible_by_two.py 1000000
"""

import argparse

from pyspark.sql import SparkSession


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("limit", type=int, nargs="?", default=1_000_000, help="count below this (default: %(default)s)")
    arguments = parser.parse_args()

    spark = SparkSession.builder.appName("divisible by two").getOrCreate()
    numbers = spark.sparkContext.range(arguments.limit)
    divisible = numbers.filter(lambda number: number % 2 == 0).count()
    print(f"{divisible:,} of the {arguments.limit:,} numbers from 0 are divisible by two")
    spark.stop()


if __name__ == "__main__":
    main()
