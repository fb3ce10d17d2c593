// The life of a session: started, given its tables, asked one query at a time, closed.
package org.sparkvault.enclave

import java.nio.file.{Files, Path, Paths}
import java.util.concurrent.atomic.AtomicReference

import scala.util.control.NonFatal

import com.fasterxml.jackson.databind.JsonNode
import com.fasterxml.jackson.databind.node.ObjectNode
import org.apache.spark.sql.classic

final class Session(frames: FrameReader, out: FrameWriter) {
  private var spark = Option.empty[classic.SparkSession]
  private var late = Option.empty[LateJobs]
  private var scratch = Option.empty[Path]
  private var tables = Map.empty[String, SessionTable]
  private val running = new AtomicReference[RunningQuery]
  private var lastId = 0L

  /** Until `close` or the end of the input; the exit code. Raises BrokenProtocol. */
  def serve(): Int = {
    val messages = Iterator.continually(frames.next()).takeWhile(_.exists(Message.text(_, "do") != "close")).flatten
    messages.foreach { message =>
      Message.text(message, "do") match {
        case "start" => start(message)
        case "tables" => addTables(message)
        case "query" => query(message)
        case "cancel" => Option(running.get).filter(_.id == Message.number(message, "id")).foreach(_.stop("cancelled"))
        case other => throw new BrokenProtocol(s"a message of an unknown kind, ${other.length} characters long")
      }
    }
    close()
    0
  }

  private def start(message: JsonNode): Unit = {
    if (spark.isDefined) throw new BrokenProtocol("start twice")
    val folder = Paths.get(Message.text(message, "scratch"))
    scratch = Some(folder)
    val session = SessionSpark.start(Message.number(message, "memory_mib"), folder)
    spark = Some(session)
    late = Some(new LateJobs(session.sparkContext))
    warmUp(session)
    out.json { reply => reply.put("is", "ready"); () }
  }

  /** The first query should not pay for loading Spark SQL: a join, an aggregation and a sort over nothing of
   * anybody's.
   */
  private def warmUp(session: classic.SparkSession): Unit = {
    val numbers = session.range(0, 100, 1, 2).selectExpr("id", "id % 7 AS k")
    numbers.join(numbers.groupBy("k").count(), "k").orderBy("id").limit(3).collect()
    SqlAllowList.functions.verdict("")
    ()
  }

  private def addTables(message: JsonNode): Unit = {
    val session = started()
    try {
      val added = Message.list(message, "tables").foldLeft(Map.empty[String, SessionTable]) { (so, table) =>
        val one = TableRegistration.register(session, table, tables.keySet ++ so.keySet)
        so + (one.name -> one)
      }
      tables ++= added
      added.values.foreach(table => table.frame.createOrReplaceTempView(table.name))
      out.json { reply =>
        val names = reply.put("is", "tables").putArray("tables")
        added.keys.toSeq.sorted.foreach(names.add(_))
      }
    } catch {
      case refused: Refused => answerRefused(None, refused)
      case broken: BrokenProtocol => throw broken
      case NonFatal(error) =>
        Diagnostics.warn(s"tables were not taken because of ${error.getClass.getName}")
        out.json(put(_, new Failed("internal", "the tables could not be taken")))
    }
  }

  private def query(message: JsonNode): Unit = {
    val session = started()
    val id = Message.number(message, "id")
    if (id <= lastId) throw new BrokenProtocol("a query's number that was used")
    lastId = id
    val limits = Message.optional(message, "limits").getOrElse(throw new BrokenProtocol("a query without limits"))
    val seconds = Message.number(limits, "seconds")
    val bounds = ResultLimits(Message.number(limits, "rows"), Message.number(limits, "bytes"))
    val sql = Message.text(message, "sql")
    val parameters =
      Message.optional(message, "parameters").map(_ => Message.map(message, "parameters")).getOrElse(Map.empty)
    val grants = Message.optional(message, "grant").map(TableGrant.all).getOrElse(Map.empty)
    if (seconds < 1 || bounds.rows < 1 || bounds.bytes < 1) {
      answerRefused(Some(id), new Refused("limits", "limits are positive"))
    } else {
      val next = new RunningQuery(
        session.sparkContext, late.get, id, seconds,
        query => runQuery(session, query, sql, parameters, grants, bounds))
      if (running.compareAndSet(null, next)) next.start()
      else answerRefused(Some(id), new Refused("busy", "another query of this session runs"))
    }
  }

  private def runQuery(
      session: classic.SparkSession, query: RunningQuery, sql: String, parameters: Map[String, JsonNode],
      grants: Map[String, TableGrant], limits: ResultLimits): Unit = {
    val answer: ObjectNode => Unit =
      try {
        val (rows, bytes) = new QueryRun(session, tables, grants, out).run(query.id, sql, parameters, limits)
        reply => { reply.put("is", "end").put("rows", rows).put("bytes", bytes); () }
      } catch {
        case error: Throwable =>
          QueryFailure.of(error, query.stoppedFor) match {
            case Left(refused) => put(_, refused)
            case Right(failed) => put(_, failed)
          }
      }
    query.settle()
    running.set(null)
    out.json { reply =>
      reply.put("id", query.id)
      answer(reply)
      if (query.mustEnd) reply.put("last", true)
      ()
    }
    if (query.mustEnd) {
      Diagnostics.warn("tasks of a query did not stop: the worker ends")
      SessionKeys.wipe()
      Runtime.getRuntime.halt(4)
    }
  }

  private def close(): Unit = {
    Option(running.get).foreach(_.stop("cancelled"))
    SessionKeys.wipe()
    spark.foreach { session =>
      try session.stop()
      catch { case NonFatal(_) => Diagnostics.warn("Spark did not stop in order") }
    }
    scratch.foreach(empty)
  }

  private def empty(folder: Path): Unit =
    if (Files.isDirectory(folder)) {
      val all = Files.walk(folder)
      val within = all.sorted(java.util.Comparator.reverseOrder[Path]).filter(_ != folder)
      try within.forEach(path => { Files.deleteIfExists(path); () })
      catch { case NonFatal(_) => Diagnostics.warn("the scratch folder could not be emptied") }
      finally all.close()
    }

  private def started(): classic.SparkSession = spark.getOrElse(throw new BrokenProtocol("a message before start"))

  private def answerRefused(id: Option[Long], refused: Refused): Unit = out.json { reply =>
    id.foreach(reply.put("id", _))
    put(reply, refused)
  }

  private def put(reply: ObjectNode, refused: Refused): Unit = {
    reply.put("is", "refused").put("rule", refused.rule).put("message", refused.getMessage)
    ()
  }

  private def put(reply: ObjectNode, failed: Failed): Unit = {
    reply.put("is", "failed").put("kind", failed.kind).put("message", failed.getMessage)
    ()
  }
}
