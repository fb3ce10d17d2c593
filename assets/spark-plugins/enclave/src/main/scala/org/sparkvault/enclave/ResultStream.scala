// A result on its way out: tasks hand Arrow batches over, one thread writes them in order, and nothing is collected
// in between.
package org.sparkvault.enclave

import java.util.concurrent.{ConcurrentHashMap, TimeUnit}
import java.util.concurrent.locks.ReentrantLock

import scala.collection.mutable

import org.apache.spark.{SparkContext, TaskContext}
import org.apache.spark.rdd.RDD
import org.apache.spark.sql.catalyst.InternalRow
import org.apache.spark.sql.sparkvault.SparkInternals
import org.apache.spark.sql.types.StructType

/** Rows and bytes that a result may have. */
final case class ResultLimits(rows: Long, bytes: Long)

/** Between the tasks of one query and the one writer.
  *
  * Tasks run in the order of their partitions, as many at a time as there are cores. A task that is ahead of the
  * writer waits
  * when it has `waiting` batches lying here, so memory is bounded by cores × waiting batches. It does not wait while
  * the partition
  * that the writer needs has not begun: else all cores could be taken by tasks that wait for one which never gets a
  * core.
  */
final class ResultStream(partitions: Int, limits: ResultLimits, waiting: Int = 4) {
  private val lock = new ReentrantLock
  private val changed = lock.newCondition()
  private val queues = mutable.Map.empty[Int, mutable.Queue[Array[Byte]]]
  private val ended = mutable.Set.empty[Int]
  private var head = 0
  private var closed = false
  private var rowsSoFar = 0L
  private var bytesSoFar = 0L

  def rows: Long = guarded(rowsSoFar)
  def bytes: Long = guarded(bytesSoFar)

  def begin(partition: Int): Unit = guarded {
    if (queues.contains(partition)) throw new IllegalStateException("a part of the result was computed twice")
    queues(partition) = mutable.Queue.empty
    changed.signalAll()
  }

  /** Hands a batch over. Waits while too many lie here; raises Failed when a limit is passed, InterruptedException
   * when it is cancelled.
   */
  def put(partition: Int, batch: Array[Byte], count: Long): Unit = guarded {
    rowsSoFar += count
    bytesSoFar += batch.length
    if (rowsSoFar > limits.rows) throw new Failed("limit", s"the result has more than ${limits.rows} rows")
    if (bytesSoFar > limits.bytes) throw new Failed("limit", s"the result has more than ${limits.bytes} bytes")
    while (!closed && queues(partition).length >= waiting && queues.contains(head)) changed.await(1, TimeUnit.SECONDS)
    if (closed) throw new InterruptedException
    queues(partition).enqueue(batch)
    changed.signalAll()
  }

  def end(partition: Int): Unit = guarded {
    ended += partition
    changed.signalAll()
  }

  /** Nothing more will come or be taken: whoever waits here goes on. */
  def close(): Unit = guarded {
    closed = true
    changed.signalAll()
  }

  /** The next batch in order; None at the end, or after `close`. */
  def take(): Option[Array[Byte]] = guarded {
    var batch = Option.empty[Array[Byte]]
    while (batch.isEmpty && !closed && head < partitions) {
      batch = queues.get(head).filter(_.nonEmpty).map(_.dequeue())
      if (batch.isEmpty) {
        if (ended(head)) head += 1 else changed.await(1, TimeUnit.SECONDS)
      }
    }
    changed.signalAll()
    batch.filterNot(_ => closed)
  }

  private def guarded[T](body: => T): T = {
    lock.lock()
    try body
    finally lock.unlock()
  }
}

object ResultStream {
  /** Bytes of rows, as Spark holds them, that go into one batch. */
  private val BatchBytes = 1L << 20

  /** How tasks, whose closures are copied, find the stream of their query. */
  private val streams = new ConcurrentHashMap[Long, ResultStream]

  /** Runs the query and writes its rows as one Arrow stream that begins with `first`; returns rows and bytes. */
  def run(
      context: SparkContext, id: Long, rows: RDD[InternalRow], schema: StructType, first: Array[Byte],
      limits: ResultLimits, frames: FrameWriter): (Long, Long) = {
    val stream = new ResultStream(rows.getNumPartitions, limits)
    streams.put(id, stream)
    @volatile var broken = Option.empty[Throwable]
    val writer = new Thread(() =>
      try {
        frames.binary(first)
        Iterator.continually(stream.take()).takeWhile(_.isDefined).flatten.foreach(frames.binary)
      } catch {
        case error: Throwable => broken = Some(error); stream.close()
      }, "result writer")
    writer.setDaemon(true)
    writer.start()
    try {
      context.runJob(rows, task(id, schema))
      writer.join()
      broken.foreach(throw _)
      val end = SparkInternals.arrowEnd()
      frames.binary(end)
      (stream.rows, stream.bytes)
    } finally {
      stream.close()
      writer.join(TimeUnit.SECONDS.toMillis(10))
      streams.remove(id)
    }
  }

  private def task(id: Long, schema: StructType): (TaskContext, Iterator[InternalRow]) => Unit = (context, rows) => {
    val stream = streams.get(id)
    stream.begin(context.partitionId())
    SparkInternals.arrowBatches(rows, schema, BatchBytes, context).foreach { case (batch, count) =>
      stream.put(context.partitionId(), batch, count)
    }
    stream.end(context.partitionId())
  }
}
