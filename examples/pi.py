"""Estimate pi by sampling: the share of random points of a square that lie in its inscribed circle is pi / 4.

sparkvault submit examples/pi.py --samples 4000000
"""

import argparse
from random import Random

from pyspark.sql import SparkSession


def hits(partition: int, samples: int, seed: int) -> int:
    """How many of so many random points of the unit square are within 1 of the origin."""
    random = Random(seed * 1_000_003 + partition).random  # noqa: S311 -- a simulation, not a secret
    return sum(random() ** 2 + random() ** 2 <= 1.0 for _ in range(samples))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=2_000_000, help="random points (default: %(default)s)")
    parser.add_argument("--partitions", type=int, default=4, help="tasks to share them (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="another seed gives other points (default: %(default)s)")
    arguments = parser.parse_args()
    each = arguments.samples // arguments.partitions

    spark = SparkSession.builder.appName("pi").getOrCreate()
    tasks = spark.sparkContext.parallelize(range(arguments.partitions), arguments.partitions)
    inside = tasks.map(lambda partition: hits(partition, each, arguments.seed)).sum()
    print(f"pi is roughly {4 * inside / (each * arguments.partitions):.6f}")
    spark.stop()


if __name__ == "__main__":
    main()
