// Spark as a session gets it: one process, no sockets, no Hive, nothing on disk in the clear, nothing that outlives it.
package org.sparkvault.enclave

import java.nio.file.Path

import org.apache.hadoop.security.UserGroupInformation
import org.apache.spark.SparkConf
import org.apache.spark.sql.classic
import org.apache.spark.sql.sparkvault.SparkInternals

object SessionSpark {
  /** Starts Spark. `memoryMib` is what the JVM may use (its -Xmx), `scratch` an empty folder that is the session's
   * own.
   */
  def start(memoryMib: Long, scratch: Path): classic.SparkSession = {
    // Hadoop would ask the operating system who runs this; a session's uid has no name, and needs none.
    UserGroupInformation.setLoginUser(UserGroupInformation.createRemoteUser("session"))
    val spark = classic.SparkSession.builder().config(settings(memoryMib, scratch)).getOrCreate()
    SparkInternals.closeListeners(spark.sparkContext)
    spark.sparkContext.hadoopConfiguration.set("parquet.crypto.factory.class", classOf[SessionDecryption].getName)
    spark
  }

  private def settings(memoryMib: Long, scratch: Path): SparkConf = {
    val cores = Runtime.getRuntime.availableProcessors
    val resultMib = math.max(memoryMib / 4, 64)
    new SparkConf(loadDefaults = false).setAll(
      Seq(
        "spark.master" -> s"local[$cores]",
        "spark.app.name" -> "session",
        "spark.local.dir" -> scratch.toString,
        "spark.sql.warehouse.dir" -> scratch.resolve("warehouse").toUri.toString,
        "spark.sql.artifact.isolation.enabled" -> "false",
        // No sockets: no UI, and what listens in spite of it is bound to loopback, authenticated, and closed after
        // the start.
        "spark.ui.enabled" -> "false",
        "spark.driver.host" -> "127.0.0.1",
        "spark.driver.bindAddress" -> "127.0.0.1",
        "spark.authenticate" -> "true",
        "spark.network.crypto.enabled" -> "true",
        "spark.rpc.io.mode" -> "NIO", // no native library for sockets that are not used
        "spark.shuffle.io.mode" -> "NIO",
        // Spill and shuffle go to the session's folder under a key that is made here and never leaves the process.
        "spark.io.encryption.enabled" -> "true",
        "spark.io.encryption.keySizeBits" -> "256",
        // Java's own AES and randomness: no native library has to be unpacked and loaded for them.
        "spark.io.encryption.commons.config.cipher.classes" -> "org.apache.commons.crypto.cipher.JceCipher",
        "spark.io.encryption.commons.config.secure.random.classes" ->
          "org.apache.commons.crypto.random.JavaCryptoRandom",
        "spark.shuffle.compress" -> "true",
        // Only this session's relations: no Hive, no files by path, no tables, no artifacts.
        "spark.sql.catalogImplementation" -> "in-memory",
        "spark.sql.runSQLOnFiles" -> "false",
        "spark.sql.sources.useV1SourceList" -> "parquet",
        "spark.sql.legacy.allowUntypedScalaUDF" -> "false",
        // An out-of-memory error ends the query, not the process: the next query must work.
        "spark.executor.killOnFatalError.depth" -> "0",
        "spark.driver.maxResultSize" -> s"${resultMib}m",
        // A task's result is handed over as it is: a large one would be fetched through a socket that is closed.
        "spark.task.maxDirectResultSize" -> s"${resultMib}m",
        "spark.rpc.message.maxSize" -> math.min(resultMib, 2047).toString,
        "spark.memory.offHeap.enabled" -> "false",
        "spark.executor.heartbeatInterval" -> "10s",
        "spark.sql.shuffle.partitions" -> (2 * cores).toString,
        "spark.sql.adaptive.enabled" -> "true",
        "spark.sql.autoBroadcastJoinThreshold" -> s"${math.max(memoryMib / 64, 4)}m",
        // A table is encrypted a module at a time, and file statistics, bloom filters and pages are read as ever.
        "spark.sql.parquet.enableVectorizedReader" -> "true",
        "spark.sql.parquet.mergeSchema" -> "false",
        "spark.sql.files.maxPartitionBytes" -> "32m",
        "spark.sql.files.ignoreCorruptFiles" -> "false",
        "spark.sql.files.ignoreMissingFiles" -> "false",
        "spark.sql.execution.arrow.compression.codec" -> "none",
        "spark.sql.session.timeZone" -> "UTC",
        "spark.sql.ansi.enabled" -> "true",
        // What a query leaves behind is little, and gone with the process.
        "spark.sql.ui.retainedExecutions" -> "1",
        "spark.ui.retainedJobs" -> "1",
        "spark.ui.retainedStages" -> "1",
        "spark.ui.retainedTasks" -> "1",
        "spark.cleaner.periodicGC.interval" -> "5min",
        "spark.eventLog.enabled" -> "false",
        "spark.ui.showConsoleProgress" -> "false",
        "spark.sql.debug.maxToStringFields" -> "25",
        "spark.log.structuredLogging.enabled" -> "false"))
  }
}
