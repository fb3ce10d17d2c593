package org.apache.spark.scheduler.cluster.fargate

import org.sparkvault.fargate.{FargateConf, FargateSize, Settings, SettingsRefused}

import org.apache.spark.SparkConf
import org.apache.spark.launcher.JavaModuleOptions
import org.apache.spark.resource.ResourceProfile

/**
 * What an executor of a profile takes.
 *
 * @param cores whole vCPU
 * @param heapMib of the JVM
 * @param memoryMib heap, overhead, off-heap and Python together
 * @param size the Fargate task that holds it
 */
private[spark] case class ExecutorShape(cores: Int, heapMib: Long, memoryMib: Long, size: FargateSize)

private[spark] object ExecutorShape {

  /** Throws SettingsRefused where Fargate has no task so large. */
  def of(profile: ResourceProfile, conf: SparkConf): ExecutorShape = {
    def asked(name: String): Option[Long] = profile.executorResources.get(name).map(_.amount)
    val cores = asked("cores").getOrElse(conf.getInt("spark.executor.cores", 1).toLong).toInt
    val heap = asked("memory").getOrElse(conf.getSizeAsMb("spark.executor.memory", "1g"))
    val share = (heap * conf.getDouble("spark.executor.memoryOverheadFactor", 0.1)).toLong
    val overhead = asked("memoryOverhead").getOrElse(
      math.max(share, conf.getSizeAsMb("spark.executor.minMemoryOverhead", "384m")))
    val total = heap + overhead + asked("offHeap").getOrElse(0L) + asked("pyspark.memory").getOrElse(0L)
    val size = FargateSize.fitting(cores, total).getOrElse {
      val largest = FargateSize.all.maxBy(size => (size.cpuUnits, size.memoryMib))
      throw new SettingsRefused(Seq(s"an executor of $cores cores and $total MiB (spark.executor.memory $heap MiB + overhead " +
        s"$overhead MiB and what else was asked for) fits no Fargate task: the largest has ${largest.vcpu} vCPU and " +
        s"${largest.memoryMib} MiB. Take more and smaller executors"))
    }
    ExecutorShape(cores, heap, total, size)
  }
}

/** The process in an executor's container. */
private[spark] object ExecutorCommand {

  private val Main = "org.apache.spark.executor.fargate.FargateExecutor"

  // What an executor has to know before it can talk to the driver; Spark tells it everything else then.
  private val StartUp = Seq("spark.auth", "spark.network.", "spark.rpc.", "spark.port.")

  /** Overrides are readable by whoever may call DescribeTasks: nothing that looks like a secret goes there. */
  private val Secret = "(?i).*(secret|password|passwd|token|credential|private.?key|access.?key).*"

  /** `java …` with everything. Throws SettingsRefused. */
  def of(fargate: FargateConf, conf: SparkConf, shape: ExecutorShape): Seq[String] = {
    val home = fargate(Settings.SparkHome)
    val own = options(conf.get("spark.executor.defaultJavaOptions", "")) ++ options(conf.get("spark.executor.extraJavaOptions", ""))
    own.filter(_.matches(Secret)).foreach(option => refuse("spark.executor.extraJavaOptions", option.takeWhile(_ != '=')))
    val known = conf.getAll.toSeq.sorted.collect {
      case (name, value) if StartUp.exists(name.startsWith) && !name.startsWith("spark.authenticate.secret") &&
          !name.startsWith("spark.authenticate.kms") && !name.matches(Secret) => s"-D$name=$value"
    }
    val classPath = Seq(s"$home/conf", s"$home/jars/*", fargate(Settings.ClassPath), conf.get("spark.executor.extraClassPath", ""))
    Seq("java", s"-Xmx${shape.heapMib}m") ++ options(JavaModuleOptions.defaultModuleOptions()) ++ known ++ own ++
      Seq("-cp", classPath.filter(_.nonEmpty).mkString(":"), Main)
  }

  /** The environment of an executor's container. Throws SettingsRefused. */
  def environment(fargate: FargateConf, conf: SparkConf, applicationId: String, driverUrl: String, profile: Int,
      shape: ExecutorShape, ciphertext: Option[String], user: String): Map[String, String] = {
    val own = conf.getExecutorEnv.toMap
    own.keys.filter(_.matches(Secret)).foreach(name => refuse("spark.executorEnv", name))
    own ++ Map(
      "SPARK_HOME" -> fargate(Settings.SparkHome),
      "SPARK_USER" -> user,
      "SPARK_FARGATE_DRIVER_URL" -> driverUrl,
      "SPARK_FARGATE_APPLICATION" -> applicationId,
      "SPARK_FARGATE_TENANT" -> fargate(Settings.Tenant),
      "SPARK_FARGATE_REGION" -> fargate.region,
      "SPARK_FARGATE_PROFILE" -> profile.toString,
      "SPARK_FARGATE_CORES" -> shape.cores.toString,
      "SPARK_FARGATE_CONTAINER" -> fargate(Settings.Container),
      "SPARK_FARGATE_DRIVER_TIMEOUT_MS" -> fargate.millis(Settings.DriverTimeout).toString
    ) ++ ciphertext.map("SPARK_FARGATE_CIPHERTEXT" -> _) ++
      ciphertext.map(_ => "SPARK_FARGATE_KEY" -> fargate(Settings.Key)) ++
      fargate.get(Settings.LogGroup).map("SPARK_FARGATE_LOG_GROUP" -> _) ++
      fargate.get(Settings.LogGroup).map(_ => "SPARK_FARGATE_LOG_PREFIX" -> fargate(Settings.LogPrefix))
  }

  private def refuse(setting: String, name: String): Nothing = throw new SettingsRefused(Seq(
    s"$setting would show $name to everybody who may describe the task: give executors a role, or a secret in Secrets Manager"))

  /** Options as a shell would part them: by spaces, quotes keep together. */
  private[fargate] def options(line: String): Seq[String] =
    "(?:[^\\s\"']|\"[^\"]*\"|'[^']*')+".r.findAllIn(line).map(_.replaceAll("[\"']", "")).toSeq
}
