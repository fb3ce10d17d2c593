// A query's thread, its clock, and what happens when it must stop and will not.
package org.sparkvault.enclave

import java.util.concurrent.{CountDownLatch, TimeUnit}

import org.apache.spark.SparkContext
import org.apache.spark.scheduler.{SparkListener, SparkListenerJobStart}
import org.apache.spark.sql.sparkvault.SparkInternals

/** Cancels what Spark starts for a query that is over.
  *
  * Adaptive execution submits shuffles from threads of its own, so a job may begin after its query was stopped and all
  * jobs were cancelled; without a limit it would keep the cores from every later query. Spark's own cancelling of a
  * group's future jobs leaves such map stages out.
  */
final class LateJobs(context: SparkContext) extends SparkListener {
  @volatile private var lastOver = 0L
  context.addSparkListener(this)

  /** A session's queries run one after the other, in the order of their numbers. */
  def cancel(query: Long): Unit = {
    lastOver = query
    context.cancelJobGroup(LateJobs.group(query))
  }

  override def onJobStart(start: SparkListenerJobStart): Unit =
    Option(start.properties).flatMap(all => Option(all.getProperty(SparkInternals.JobGroup))).foreach {
      case LateJobs.Group(query) if query.toLong <= lastOver => context.cancelJob(start.jobId)
      case _ => ()
    }
}

object LateJobs {
  private val Group = "query-(\\d+)".r

  /** All jobs of a query carry it. */
  def group(query: Long): String = s"query-$query"
}

final class RunningQuery(
    context: SparkContext, late: LateJobs, val id: Long, seconds: Long, body: RunningQuery => Unit) {
  /** Bytes of stack: deeply nested queries are analysed by recursion. */
  private val StackBytes = 32L << 20

  private val settled = new CountDownLatch(1)
  @volatile private var reason = Option.empty[String]
  @volatile private var broken = false
  private var over = false
  private val thread = new Thread(null, () => {
    context.setJobGroup(LateJobs.group(id), "")
    body(this)
  }, "query", StackBytes)

  def start(): Unit = {
    val clock = new Thread(() => if (!settled.await(seconds, TimeUnit.SECONDS)) stop("timeout"), "query clock")
    clock.setDaemon(true)
    thread.setDaemon(true)
    thread.start()
    clock.start()
  }

  /** Why it was stopped: `timeout` or `cancelled`; None while nobody stopped it. */
  def stoppedFor: Option[String] = reason

  /** The worker cannot go on after this query. */
  def mustEnd: Boolean = broken

  /** Stops it. Where it does not end within ten seconds, the worker does: a task that computes without looking up
   * cannot be interrupted.
   */
  def stop(why: String): Unit = synchronized {
    if (!over && reason.isEmpty) {
      reason = Some(why)
      late.cancel(id)
      thread.interrupt()
      val guard = new Thread(() => if (!settled.await(10, TimeUnit.SECONDS)) {
        Diagnostics.warn("a query did not stop: the worker ends")
        SessionKeys.wipe()
        Runtime.getRuntime.halt(4)
      }, "query guard")
      guard.setDaemon(true)
      guard.start()
    }
  }

  /** Called when the query is over, however: sees that its jobs and tasks are, so that the next query has Spark to
   * itself.
   */
  def settle(): Unit = {
    synchronized {
      over = true // from here on nobody interrupts this thread
      Thread.interrupted()
    }
    late.cancel(id)
    broken = !idle()
    settled.countDown()
  }

  private def idle(): Boolean = {
    val deadline = System.nanoTime + TimeUnit.SECONDS.toNanos(8)
    while (SparkInternals.runningTasks(context) > 0 && System.nanoTime < deadline) Thread.sleep(5)
    SparkInternals.runningTasks(context) == 0
  }
}
