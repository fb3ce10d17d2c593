package org.apache.spark.scheduler.cluster.fargate

import java.io.IOException
import java.util.UUID

import scala.util.control.NonFatal

import org.apache.hadoop.fs.Path
import org.sparkvault.fargate.{FargateConf, SettingsRefused}
import org.slf4j.LoggerFactory

import org.apache.spark.{SparkContext, SparkException}
import org.apache.spark.scheduler.{ExternalClusterManager, SchedulerBackend, TaskScheduler, TaskSchedulerImpl}

/** What stock Spark finds for a master `spark-fargate://REGION/CLUSTER`. */
private[spark] class FargateClusterManager extends ExternalClusterManager {

  private val log = LoggerFactory.getLogger(classOf[FargateClusterManager])

  override def canCreate(masterURL: String): Boolean = FargateConf.isOurs(masterURL)

  override def createTaskScheduler(sc: SparkContext, masterURL: String): TaskScheduler = {
    FittingSpark.check(sc.version)
    new TaskSchedulerImpl(sc)
  }

  override def createSchedulerBackend(sc: SparkContext, masterURL: String, scheduler: TaskScheduler): SchedulerBackend = {
    // Spark hides what is no SparkException behind "External scheduler cannot be instantiated".
    try create(sc, masterURL, scheduler.asInstanceOf[TaskSchedulerImpl])
    catch { case refused: SettingsRefused => throw new SparkException(refused.getMessage, refused) }
  }

  private def create(sc: SparkContext, masterURL: String, scheduler: TaskSchedulerImpl): SchedulerBackend = {
    val all = sc.conf.getAll.toMap
    val fargate = FargateConf.read(masterURL, all)
    fargate.warnings.foreach(log.warn(_))
    val applicationId = sc.conf.getOption("spark.app.id").getOrElse(FargateClusterManager.newApplicationId())
    sc.conf.set("spark.app.id", applicationId)
    val shuffle = FargateConf.shuffleStorage(all, applicationId)
    if (shuffle.nonEmpty) {
      log.warn("spark.shuffle.s3.* is kept for those who know it: it now means Spark's own fallback storage, " +
        shuffle.map { case (name, value) => s"$name=$value" }.toSeq.sorted.mkString(", "))
    }
    (FargateConf.decommissioning ++ shuffle).foreach { case (name, value) => sc.conf.setIfMissing(name, value) }
    if (sc.conf.getBoolean("spark.eventLog.enabled", false)) sc.conf.getOption("spark.eventLog.dir").foreach(prepare(sc, _))
    new FargateSchedulerBackend(scheduler, sc, fargate, applicationId)
  }

  /** In S3 a folder is not there before something lies in it, and Spark writes event logs into existing folders only. */
  private def prepare(sc: SparkContext, eventLogs: String): Unit = {
    val folder = new Path(eventLogs)
    if (folder.toUri.getScheme == "s3a") {
      try folder.getFileSystem(sc.hadoopConfiguration).mkdirs(folder)
      catch {
        case error: IOException => throw new SparkException(
            s"event logs cannot be written to $eventLogs (spark.eventLog.dir): ${error.getMessage}", error)
      }
      ()
    }
  }

  override def initialize(scheduler: TaskScheduler, backend: SchedulerBackend): Unit =
    scheduler.asInstanceOf[TaskSchedulerImpl].initialize(backend)
}

private[spark] object FargateClusterManager {

  /** Also what ECS has as `startedBy` (at most 36 characters): nobody else has it. */
  def newApplicationId(): String = "spark-" + UUID.randomUUID().toString.replace("-", "").take(30)
}

/** Says clearly when a Spark does not have what this plugin was built on; the list is in docs/decisions. */
private[spark] object FittingSpark {

  // Class, member, parameter types: each a part of Spark that is no public API.
  private val needed: Seq[(String, String, Seq[String])] = Seq(
    ("org.apache.spark.scheduler.cluster.CoarseGrainedSchedulerBackend", "doRequestTotalExecutors",
      Seq("scala.collection.immutable.Map")),
    ("org.apache.spark.scheduler.cluster.CoarseGrainedSchedulerBackend", "doKillExecutors",
      Seq("scala.collection.immutable.Seq")),
    ("org.apache.spark.scheduler.cluster.CoarseGrainedSchedulerBackend", "removeExecutor",
      Seq("java.lang.String", "org.apache.spark.scheduler.ExecutorLossReason")),
    ("org.apache.spark.scheduler.cluster.CoarseGrainedSchedulerBackend", "isExecutorExcluded",
      Seq("java.lang.String", "java.lang.String")),
    ("org.apache.spark.scheduler.cluster.CoarseGrainedSchedulerBackend$DriverEndpoint", "disableExecutor",
      Seq("java.lang.String")),
    ("org.apache.spark.scheduler.cluster.CoarseGrainedSchedulerBackend$DriverEndpoint", "addressToExecutorId", Nil),
    ("org.apache.spark.scheduler.TaskSchedulerImpl", "error", Seq("java.lang.String")),
    ("org.apache.spark.SparkContext", "stopInNewThread", Nil),
    ("org.apache.spark.executor.CoarseGrainedExecutorBackend$", "run",
      Seq("org.apache.spark.executor.CoarseGrainedExecutorBackend$Arguments", "scala.Function4")),
    ("org.apache.spark.executor.CoarseGrainedExecutorBackend", "extractLogUrls", Nil),
    ("org.apache.spark.launcher.JavaModuleOptions", "defaultModuleOptions", Nil))

  /** Throws SparkException that names what is missing. */
  def check(version: String): Unit = {
    val missing = needed.filterNot { case (owner, member, parameters) => has(owner, member, parameters) }
    if (missing.nonEmpty) {
      throw new SparkException(s"the spark-fargate plugin does not fit Spark $version: it needs " +
        missing.map { case (owner, member, parameters) => s"$owner.$member(${parameters.mkString(", ")})" }.mkString("; ") +
        ". Use a Spark that docs/decisions names for it, or a plugin built for this one")
    }
  }

  private[fargate] def has(owner: String, member: String, parameters: Seq[String]): Boolean =
    try {
      val found = Class.forName(owner, false, getClass.getClassLoader)
      Iterator.iterate[Class[_]](found)(_.getSuperclass).takeWhile(_ != null).flatMap(_.getDeclaredMethods).exists { method =>
        method.getName == member && method.getParameterTypes.map(_.getName).toSeq == parameters
      }
    } catch { case NonFatal(_) | _: LinkageError => false }
}
