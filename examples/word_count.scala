/* Count the words of a text in spark-shell, and print the most frequent ones.
 *
 *     sparkvault submit examples/word_count.scala book.txt
 *
 * The same in a plain spark-shell: `val args = Array("book.txt")`, then `:paste examples/word_count.scala`.
 * A word is a run of the letters a to z, with apostrophes inside it; capitals do not matter.
 */
if (args.length != 1) throw new IllegalArgumentException("usage: word_count.scala TEXT")
if (args.head == "--help") {
  println("usage: word_count.scala TEXT    prints the 20 most frequent words of a text file")
  System.exit(0)
}

val word = "[a-z]+(?:'[a-z]+)*".r

val counts = sc.textFile(args.head)
  .flatMap(line => word.findAllIn(line.toLowerCase))
  .map(found => (found, 1L))
  .reduceByKey(_ + _)
  .cache()

counts.sortBy({ case (found, count) => (-count, found) }).take(20).foreach { case (found, count) =>
  println(f"$count%,9d  $found")
}
println(f"${counts.values.fold(0L)(_ + _)}%,d words, ${counts.count()}%,d of them different")
