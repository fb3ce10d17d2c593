package org.apache.spark.executor.fargate

import java.net.{URI, URLEncoder}
import java.nio.charset.StandardCharsets.UTF_8

import org.slf4j.LoggerFactory
import org.sparkvault.fargate.{AuthSecret, DriverWatchdog, Ending, SecretRefused, TaskMetadata}

import org.apache.spark.{SecurityManager, SparkConf, SparkEnv}
import org.apache.spark.executor.CoarseGrainedExecutorBackend
import org.apache.spark.resource.ResourceProfile
import org.apache.spark.rpc.RpcEnv
import org.apache.spark.scheduler.cluster.fargate.{AskAgain, Identity, NotWanted, WhoAmI, YouAre}

/** The process in an executor's container: learns who it is, opens the secret, then is Spark's own executor. */
private[spark] object FargateExecutor {

  private val log = LoggerFactory.getLogger("org.apache.spark.executor.fargate.FargateExecutor")

  def main(arguments: Array[String]): Unit = {
    val metadata =
      try TaskMetadata.read().getOrElse(end(Ending.NoMetadata, "this is no ECS task: ECS_CONTAINER_METADATA_URI_V4 is not set"))
      catch { case error: java.io.IOException => end(Ending.NoMetadata, s"no task metadata: ${error.getMessage}") }
    val url = needed("DRIVER_URL")
    val driver = URI.create(url)
    val timeout = needed("DRIVER_TIMEOUT_MS").toLong
    sys.env.get("SPARK_FARGATE_CIPHERTEXT").foreach(unwrap)
    DriverWatchdog.watch(driver.getHost, driver.getPort, timeout) {
      log.error(s"the driver at ${driver.getHost}:${driver.getPort} could not be reached for ${timeout / 1000} s")
      Runtime.getRuntime.halt(Ending.DriverUnreachable)
    }
    val executorId = askWhoIAm(url, metadata, System.nanoTime() + timeout * 1000000)
    CoarseGrainedExecutorBackend.run(
      CoarseGrainedExecutorBackend.Arguments(url, executorId.toString, metadata.address, metadata.address,
        needed("CORES").toInt, needed("APPLICATION"), None, None, needed("PROFILE").toInt),
      (rpcEnv, asked, env, profile) => new FargateExecutorBackend(rpcEnv, asked, env, profile, metadata))
    System.exit(0)
  }

  /** A property of this process and no variable of its environment: neither `ps` nor Python workers see it. */
  private def unwrap(ciphertext: String): Unit =
    try {
      val secret = AuthSecret(needed("REGION"), needed("KEY"), needed("TENANT"), needed("APPLICATION")).unwrap(ciphertext)
      System.setProperty("spark.authenticate.secret", secret)
      ()
    } catch { case refused: SecretRefused => end(Ending.SecretRefused, refused.getMessage) }

  private def askWhoIAm(url: String, metadata: TaskMetadata, deadline: Long): Int = {
    val conf = new SparkConf
    val rpc = RpcEnv.create("fargateIdentity", metadata.address, metadata.address, -1, conf, new SecurityManager(conf), 0, true)
    try {
      def ask(): Int = {
        val answer =
          try rpc.setupEndpointRefByURI(url).askSync[Identity](WhoAmI(metadata.arn))
          catch {
            case scala.util.control.NonFatal(error) if System.nanoTime() < deadline =>
              log.warn(s"the driver does not answer yet: ${error.getMessage}")
              AskAgain
          }
        answer match {
          case YouAre(executorId) => executorId
          case NotWanted => end(Ending.NotWanted, "the driver does not want this executor (any more)")
          case AskAgain if System.nanoTime() < deadline => Thread.sleep(500); ask()
          case AskAgain => end(Ending.DriverUnreachable, "the driver never said which executor this is")
        }
      }
      ask()
    } finally rpc.shutdown()
  }

  private def needed(name: String): String = sys.env.getOrElse(s"SPARK_FARGATE_$name",
    end(Ending.NoMetadata, s"SPARK_FARGATE_$name is not set: this process is started by the spark-fargate driver"))

  private def end(code: Int, why: String): Nothing = {
    log.error(why)
    System.err.println(s"executor ends with code $code: $why")
    System.exit(code)
    throw new IllegalStateException("unreachable")
  }
}

/** Spark's executor with links to its output in CloudWatch, and its task among its attributes. */
private[spark] class FargateExecutorBackend(rpcEnv: RpcEnv, asked: CoarseGrainedExecutorBackend.Arguments, env: SparkEnv,
    profile: ResourceProfile, metadata: TaskMetadata)
  extends CoarseGrainedExecutorBackend(rpcEnv, asked.driverUrl, asked.executorId, asked.bindAddress, asked.hostname,
    asked.cores, env, asked.resourcesFileOpt, profile) {

  override def extractLogUrls: Map[String, String] = super.extractLogUrls ++ sys.env.get("SPARK_FARGATE_LOG_GROUP").map {
    group =>
      val stream = Seq(sys.env("SPARK_FARGATE_LOG_PREFIX"), sys.env("SPARK_FARGATE_CONTAINER"), metadata.id).mkString("/")
      "CloudWatch" -> CloudWatch.link(sys.env("SPARK_FARGATE_REGION"), group, stream)
  }

  override def extractAttributes: Map[String, String] = super.extractAttributes ++
    Map("TASK_ARN" -> metadata.arn, "TASK_ID" -> metadata.id)
}

private[spark] object CloudWatch {

  /** The console's address of a log stream: names are encoded twice, `%` written as `$` (as the console itself does). */
  def link(region: String, group: String, stream: String): String = {
    def twice(name: String) = URLEncoder.encode(URLEncoder.encode(name, UTF_8), UTF_8).replace("%", "$")
    s"https://$region.console.aws.amazon.com/cloudwatch/home?region=$region#logsV2:log-groups/log-group/${twice(group)}" +
      s"/log-events/${twice(stream)}"
  }
}
