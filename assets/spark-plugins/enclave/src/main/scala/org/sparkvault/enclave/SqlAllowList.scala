// What SQL may be made of: the committed lists, read once. Everything that is not on them is refused.
package org.sparkvault.enclave

import scala.io.{Codec, Source}

/** A list: names under headings `[allowed] why`, `[inside] why` or `[refused] why`. Comments begin with `#`. */
final class Classification(val entries: Map[String, Verdict]) {
  def verdict(name: String): Verdict = entries.getOrElse(name, Unclassified)
}

sealed trait Verdict
case object Allowed extends Verdict

/** Allowed only as part of what an allowed function stands for: no query can write it down by itself. */
case object Inside extends Verdict
final case class Forbidden(why: String) extends Verdict
case object Unclassified extends Verdict

object SqlAllowList {
  private val Heading = """\[(allowed|inside|refused)\] (.+)""".r

  /** Functions by their name in SQL, lower case; table functions have names of their own here, as in Spark. */
  val functions: Classification = read("functions.txt")
  val tableFunctions: Classification = read("table-functions.txt")

  /** Nodes of parsed and analysed plans, and expressions in them, by the name of their class without its package
   * `org.apache.spark.sql.`.
   */
  val plans: Classification = read("plans.txt")
  val expressions: Classification = read("expressions.txt")

  /** The name under which a class stands in the lists. */
  def nameOf(kind: Class[_]): String = kind.getName.stripPrefix("org.apache.spark.sql.")

  private def read(file: String): Classification = {
    val source = Source.fromInputStream(getClass.getResourceAsStream(file))(Codec.UTF8)
    try {
      val lines = source.getLines().map(_.trim).filter(line => line.nonEmpty && !line.startsWith("#")).toSeq
      val (entries, _) = lines.foldLeft((Map.empty[String, Verdict], Option.empty[Verdict])) {
        case ((found, _), Heading("allowed", _)) => (found, Some(Allowed))
        case ((found, _), Heading("inside", _)) => (found, Some(Inside))
        case ((found, _), Heading(_, why)) => (found, Some(Forbidden(why)))
        case ((found, Some(verdict)), names) =>
          val added = names.split("\\s+").toSeq
          added.find(found.contains).foreach(twice => throw new IllegalStateException(s"$file has $twice twice"))
          (found ++ added.map(_ -> verdict), Some(verdict))
        case ((_, None), _) => throw new IllegalStateException(s"$file begins without a heading")
      }
      new Classification(entries)
    } finally source.close()
  }
}
