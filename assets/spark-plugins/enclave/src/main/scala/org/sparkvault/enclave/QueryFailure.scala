// What a client is told when its query did not work out, and what it is not.
package org.sparkvault.enclave

import org.apache.spark.SparkThrowable
import org.apache.spark.memory.SparkOutOfMemoryError

object QueryFailure {
  private val MemoryConditions = Set("UNABLE_TO_ACQUIRE_MEMORY", "NOT_ENOUGH_MEMORY_TO_BUILD_AND_BROADCAST_TABLE")

  /** Left: a rule forbids it. Right: it failed. `stoppedFor`: the kind, if the worker itself stopped the query. */
  def of(error: Throwable, stoppedFor: Option[String]): Either[Refused, Failed] = {
    val causes = Iterator.iterate(error)(_.getCause).takeWhile(_ != null).take(20).toSeq
    causes.collectFirst { case refused: Refused => refused } match {
      case Some(refused) => Left(refused)
      case None => Right(failed(causes, stoppedFor))
    }
  }

  private def failed(causes: Seq[Throwable], stoppedFor: Option[String]): Failed =
    causes
      .collectFirst { case failed: Failed => failed }
      .orElse(stoppedFor.map {
        case "timeout" => new Failed("timeout", "the query did not end in the time that it was given")
        case kind => new Failed(kind, "the query was cancelled")
      })
      .orElse(if (causes.exists(outOfMemory)) {
        val remedy = "read fewer columns or rows, or group less finely"
        Some(new Failed("memory", s"the query needs more memory than this session has: $remedy"))
      } else None)
      .orElse(causes.reverseIterator.collectFirst {
        case known: SparkThrowable if known.getCondition != null && !known.getCondition.startsWith("INTERNAL") =>
          new Failed("error", known.getMessage)
      })
      .getOrElse {
        Diagnostics.warn(s"a query failed with ${causes.map(_.getClass.getName).mkString(", by ")}")
        new Failed("internal", "the query failed inside the enclave")
      }

  private def outOfMemory(error: Throwable): Boolean = error match {
    case _: OutOfMemoryError | _: SparkOutOfMemoryError => true
    case known: SparkThrowable if known.getCondition != null && MemoryConditions(known.getCondition) => true
    case other =>
      // Spark reports some by words only: a result of a stage over spark.driver.maxResultSize, a broadcast that is
      // too large.
      Option(other.getMessage).exists { words =>
        Seq("java.lang.OutOfMemoryError", "maxResultSize", "Cannot broadcast the table").exists(words.contains(_))
      }
  }
}
