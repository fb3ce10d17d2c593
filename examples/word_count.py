"""Count the words of a text, print the most frequent ones, and keep all counts if asked.

    sparkvault submit examples/word_count.py book.txt --top 10 --output counts

A word is a run of the letters a to z, with apostrophes inside it; capitals do not matter. Runs on any Spark:
`spark-submit examples/word_count.py --help`.
"""

import argparse
import re

from pyspark import RDD
from pyspark.sql import SparkSession

WORD = re.compile(r"[a-z]+(?:'[a-z]+)*")


def count_words(lines: "RDD[str]") -> "RDD[tuple[str, int]]":
    """How often each word comes up."""
    words = lines.flatMap(lambda line: WORD.findall(line.lower()))
    return words.map(lambda word: (word, 1)).reduceByKey(lambda one, other: one + other)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("text", help="a text file, a folder of them, or any address Spark can read")
    parser.add_argument("--top", type=int, default=20, help="how many words to print (default: %(default)s)")
    parser.add_argument("--output", help="folder to write all counts to, one `word<TAB>count` a line; must not exist")
    arguments = parser.parse_args()

    spark = SparkSession.builder.appName("word count").getOrCreate()
    counts = count_words(spark.sparkContext.textFile(arguments.text)).cache()
    for word, count in counts.takeOrdered(arguments.top, key=lambda pair: (-pair[1], pair[0])):
        print(f"{count:>9,}  {word}")
    print(f"{counts.values().sum():,} words, {counts.count():,} of them different")
    if arguments.output:
        counts.map(lambda pair: f"{pair[0]}\t{pair[1]}").saveAsTextFile(arguments.output)
    spark.stop()


if __name__ == "__main__":
    main()
