// A query's thread, its clock, and what happens when it must stop and will not.
package org.sparkvault.enclave

import java.util.concurrent.{CountDownLatch, TimeUnit}

import org.apache.spark.sql.classic

final class RunningQuery(spark: classic.SparkSession, val id: Long, seconds: Long, body: RunningQuery => Unit) {
  /** Bytes of stack: deeply nested queries are analysed by recursion. */
  private val StackBytes = 32L << 20

  private val settled = new CountDownLatch(1)
  @volatile private var reason = Option.empty[String]
  @volatile private var broken = false
  private val thread = new Thread(null, () => body(this), "query", StackBytes)

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
  def stop(why: String): Unit = if (settled.getCount > 0 && reason.isEmpty) {
    reason = Some(why)
    spark.sparkContext.cancelAllJobs()
    thread.interrupt()
    val guard = new Thread(() => if (!settled.await(10, TimeUnit.SECONDS)) {
      Diagnostics.warn("a query did not stop: the worker ends")
      SessionKeys.wipe()
      Runtime.getRuntime.halt(4)
    }, "query guard")
    guard.setDaemon(true)
    guard.start()
  }

  /** Called when the query is over, however: sees that its jobs are, so that the next query has Spark to itself. */
  def settle(): Unit = {
    Thread.interrupted()
    spark.sparkContext.cancelAllJobs()
    broken = !idle()
    settled.countDown()
  }

  private def idle(): Boolean = {
    val deadline = System.nanoTime + TimeUnit.SECONDS.toNanos(8)
    val tracker = spark.sparkContext.statusTracker
    while (tracker.getActiveJobIds().nonEmpty && System.nanoTime < deadline) Thread.sleep(5)
    tracker.getActiveJobIds().isEmpty
  }
}
