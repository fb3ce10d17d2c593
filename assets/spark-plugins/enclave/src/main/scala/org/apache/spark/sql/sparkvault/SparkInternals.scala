// What the session worker needs of Spark and Spark keeps to its own packages. Nothing here decides anything.
package org.apache.spark.sql.sparkvault

import java.io.ByteArrayOutputStream
import java.nio.channels.{Channels, ReadableByteChannel}

import org.apache.arrow.vector.ipc.{ArrowStreamWriter, ReadChannel, WriteChannel}
import org.apache.arrow.vector.ipc.message.{IpcOption, MessageSerializer}

import org.apache.spark.{SparkContext, TaskContext}
import org.apache.spark.network.server.TransportServer
import org.apache.spark.rdd.RDD
import org.apache.spark.scheduler.TaskSchedulerImpl
import org.apache.spark.sql.DataFrame
import org.apache.spark.sql.catalyst.InternalRow
import org.apache.spark.sql.catalyst.expressions.UnsafeRow
import org.apache.spark.sql.catalyst.plans.logical.LogicalPlan
import org.apache.spark.sql.classic
import org.apache.spark.sql.execution.{QueryExecution, SQLExecution}
import org.apache.spark.sql.execution.arrow.ArrowConverters
import org.apache.spark.sql.types.StructType
import org.apache.spark.sql.util.ArrowUtils

object SparkInternals {
  private val TimeZone = "UTC"

  /** The property of a job that names its group. */
  val JobGroup: String = SparkContext.SPARK_JOB_GROUP_ID

  /** A plan, analysed; nothing is run. */
  def analyse(spark: classic.SparkSession, plan: LogicalPlan): DataFrame = classic.Dataset.ofRows(spark, plan)

  def execution(frame: DataFrame): QueryExecution = frame.asInstanceOf[classic.Dataset[_]].queryExecution

  /** Runs `body` with the rows of the plan, as Spark's own actions do. */
  def withRows[T](execution: QueryExecution)(body: RDD[InternalRow] => T): T =
    SQLExecution.withNewExecutionId(execution)(body(execution.executedPlan.execute()))

  /** The Spark schema of an encapsulated Arrow schema message. */
  def fromArrow(message: Array[Byte]): StructType = {
    val channel: ReadableByteChannel = Channels.newChannel(new java.io.ByteArrayInputStream(message))
    ArrowUtils.fromArrowSchema(MessageSerializer.deserializeSchema(new ReadChannel(channel)))
  }

  /** Names and types alike, whatever may be null. */
  def sameTypes(one: StructType, other: StructType): Boolean =
    one.length == other.length && one.asNullable.zip(other.asNullable).forall { case (left, right) =>
      left.name == right.name && left.dataType == right.dataType
    }

  /** The message that begins an Arrow stream. */
  def arrowSchema(schema: StructType): Array[Byte] = {
    val arrow = ArrowUtils.toArrowSchema(
      schema, TimeZone, errorOnDuplicatedFieldNames = false, largeVarTypes = false)
    written(channel => { MessageSerializer.serialize(channel, arrow); () })
  }

  /** The bytes that end an Arrow stream. */
  def arrowEnd(): Array[Byte] = written(ArrowStreamWriter.writeEndOfStream(_, IpcOption.DEFAULT))

  private def written(write: WriteChannel => Unit): Array[Byte] = {
    val bytes = new ByteArrayOutputStream
    write(new WriteChannel(Channels.newChannel(bytes)))
    bytes.toByteArray
  }

  /** Rows as Arrow record batch messages of at most about `batchBytes` each, with the number of rows in each. */
  def arrowBatches(
      rows: Iterator[InternalRow], schema: StructType, batchBytes: Long,
      context: TaskContext): Iterator[(Array[Byte], Long)] = {
    val portion = new Portion(rows, batchBytes)
    val batches = ArrowConverters.toBatchIterator(
      portion, schema, 0L, TimeZone, errorOnDuplicatedFieldNames = false, largeVarTypes = false, context)
    new Iterator[(Array[Byte], Long)] {
      override def hasNext: Boolean = { portion.begin(); batches.hasNext }
      override def next(): (Array[Byte], Long) = { portion.begin(); (batches.next(), portion.rows) }
    }
  }

  /** Seems to end when enough bytes for one batch have passed. */
  private final class Portion(all: Iterator[InternalRow], limit: Long) extends Iterator[InternalRow] {
    private var bytes = 0L
    var rows = 0L

    def begin(): Unit = { bytes = 0; rows = 0 }
    override def hasNext: Boolean = bytes < limit && all.hasNext
    override def next(): InternalRow = {
      val row = all.next()
      rows += 1
      bytes += (row match {
        case unsafe: UnsafeRow => unsafe.getSizeInBytes.toLong
        case other => 16L * other.numFields
      })
      row
    }
  }

  /** Closes the listening sockets that Spark opens even where driver and executors are one process and nobody
   * connects to them.
    *
    * Returns how many were closed. Raises IllegalStateException where Spark keeps them elsewhere than expected.
    */
  def closeListeners(context: SparkContext): Int = {
    val environment = context.env
    val holders: Seq[AnyRef] = Seq(environment.rpcEnv, environment.blockManager.blockTransferService)
    val servers = holders.flatMap(fields(_, classOf[TransportServer])).map(_.asInstanceOf[TransportServer])
    if (servers.length != holders.length) {
      throw new IllegalStateException(s"${servers.length} listening sockets of Spark were found, not ${holders.length}")
    }
    servers.foreach { server =>
      fields(server, classOf[io.netty.channel.ChannelFuture]).foreach { future =>
        future.asInstanceOf[io.netty.channel.ChannelFuture].channel().close().syncUninterruptibly()
      }
    }
    servers.length
  }

  /** Tasks that run, whether or not their job still does: a cancelled job is over before its tasks are. */
  def runningTasks(context: SparkContext): Int = context.taskScheduler match {
    case scheduler: TaskSchedulerImpl => scheduler.runningTasksByExecutors.values.sum
    case other => throw new IllegalStateException(s"tasks are scheduled by ${other.getClass.getName}")
  }

  private def fields(holder: AnyRef, wanted: Class[_]): Seq[AnyRef] =
    Iterator
      .iterate[Class[_]](holder.getClass)(_.getSuperclass)
      .takeWhile(_ != null)
      .flatMap(_.getDeclaredFields)
      .filter(field => wanted.isAssignableFrom(field.getType))
      .map { field => field.setAccessible(true); field.get(holder) }
      .filter(_ != null)
      .toSeq
}
