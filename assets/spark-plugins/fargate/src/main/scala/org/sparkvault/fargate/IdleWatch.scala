package org.sparkvault.fargate

import java.util.concurrent.atomic.{AtomicInteger, AtomicLong}

import org.apache.spark.scheduler.{SparkListener, SparkListenerEvent, SparkListenerJobEnd, SparkListenerJobStart}

/**
 * Ends a driver that nobody uses any more, such as a Spark Connect server whose client has gone to bed.
 *
 * In use is what runs a job, or has just run one or a query: Spark SQL and Spark Connect say so in events of their own.
 * Executors that come and go are no use.
 */
final class IdleWatch(limitMs: Long, now: () => Long = () => System.nanoTime() / 1000000) extends SparkListener {

  private val jobs = new AtomicInteger
  private val used = new AtomicLong(now())

  override def onJobStart(started: SparkListenerJobStart): Unit = {
    jobs.incrementAndGet()
    used.set(now())
  }

  override def onJobEnd(ended: SparkListenerJobEnd): Unit = {
    jobs.decrementAndGet()
    used.set(now())
  }

  // Their classes are no part of Spark's core, and Connect's may not be there at all: known by where they live.
  override def onOtherEvent(event: SparkListenerEvent): Unit =
    if (event.getClass.getName.startsWith("org.apache.spark.sql.")) used.set(now())

  /** Whether nothing has run for the time allowed. */
  def isOver: Boolean = jobs.get() <= 0 && now() - used.get() >= limitMs

  /** Looks from a thread of its own while `alive`; `over` is called once. */
  def watch(alive: => Boolean)(over: => Unit): Unit = {
    val pause = math.max(200L, math.min(10000L, limitMs / 4))
    val thread = new Thread(() => {
      while (alive && !isOver) Thread.sleep(pause)
      if (alive) over
    }, "fargate-idle-watch")
    thread.setDaemon(true)
    thread.start()
  }
}
