package org.apache.spark.deploy.fargate

import java.net.URI
import java.security.SecureRandom
import java.time.Duration

import scala.annotation.tailrec
import scala.jdk.CollectionConverters._

import org.sparkvault.fargate._
import software.amazon.awssdk.core.exception.SdkException
import software.amazon.awssdk.http.urlconnection.UrlConnectionHttpClient
import software.amazon.awssdk.regions.Region
import software.amazon.awssdk.services.ecs.EcsClient
import software.amazon.awssdk.services.ecs.model._

import org.apache.spark.scheduler.cluster.fargate.FargateClusterManager

/**
 * `spark-submit --deploy-mode cluster` with a master `spark-fargate://REGION/CLUSTER`: the driver is a task of its own, in
 * the image that the executors have. Waits for its end and exits as it does; SIGTERM and Ctrl-C stop it.
 *
 * Arguments are spark-submit's without `--deploy-mode`; the task runs spark-submit with the very same ones. The secret is
 * made here and travels under the key (`spark.authenticate.kms.key`, or SPARK_FARGATE_KEY).
 */
object FargateSubmit {

  private val Container = "spark-driver"
  private val LeastOverheadMib = 384L

  def main(arguments: Array[String]): Unit = {
    val code =
      try submit(arguments.toSeq)
      catch {
        case refused: SettingsRefused => said(refused.getMessage)
        case refused: SecretRefused => said(refused.getMessage)
        case refused: EcsRefused => said(refused.getMessage)
        case error: SdkException => said(Ecs.said(error))
      }
    System.exit(code)
  }

  private def submit(arguments: Seq[String]): Int = {
    val asked = SubmitArguments.settings(arguments.toList)
    val master = asked.getOrElse("--master", "")
    val key = asked.get(Settings.Key.name).orElse(sys.env.get("SPARK_FARGATE_KEY"))
    val switches = Seq("spark.authenticate", "spark.network.crypto.enabled", "spark.io.encryption.enabled")
    val conf = FargateConf.read(master,
      switches.map(_ -> "true").toMap ++ key.map(Settings.Key.name -> _) ++ (asked - "--master"),
      Seq(Settings.Image, Settings.ExecutionRole, Settings.DriverRole, Settings.DriverSubnets, Settings.DriverGroups))
    val size = driverSize(asked)
    val application = FargateClusterManager.newApplicationId()
    val ecs = new Ecs(conf, application)
    val client = rawClient(conf.region)
    try {
      val secret = if (conf.insecure) Map.empty[String, String] else wrapped(conf, application)
      val definition = ecs.register(driverDefinition(conf, application, size))
      val task = try run(client, conf, definition, application, size, arguments, secret) finally ecs.deregister(definition)
      val stop = new Thread(() => ecs.stop(task, "spark-submit was ended"))
      Runtime.getRuntime.addShutdownHook(stop)
      println(s"application $application runs as task $task")
      val code = awaited(ecs, task, conf.millis(Settings.ReportInterval))
      Runtime.getRuntime.removeShutdownHook(stop)
      code
    } finally {
      client.close()
      ecs.close()
    }
  }

  private def wrapped(conf: FargateConf, application: String): Map[String, String] = {
    val bytes = new Array[Byte](32)
    new SecureRandom().nextBytes(bytes)
    val secret = bytes.map(byte => f"$byte%02x").mkString
    val key = conf(Settings.Key)
    val ciphertext = AuthSecret(conf.region, key, conf(Settings.Tenant), application).wrap(secret)
    Map("SPARK_FARGATE_CIPHERTEXT" -> ciphertext, "SPARK_FARGATE_KEY" -> key)
  }

  private def driverSize(asked: Map[String, String]): FargateSize = {
    val heap = memoryMib(asked.getOrElse("spark.driver.memory", "1g"))
    val overhead = asked.get("spark.driver.memoryOverhead").map(memoryMib).getOrElse(math.max(heap / 10, LeastOverheadMib))
    val cores = asked.getOrElse("spark.driver.cores", "1")
    cores.toIntOption.flatMap(FargateSize.fitting(_, heap + overhead)).getOrElse(throw new SettingsRefused(Seq(
      s"a driver of $cores cores and ${heap + overhead} MiB (spark.driver.memory and overhead) fits no Fargate task")))
  }

  private def memoryMib(text: String): Long = {
    val units = Map('k' -> 1.0 / 1024, 'm' -> 1.0, 'g' -> 1024.0, 't' -> 1024.0 * 1024)
    val plain = text.trim.toLowerCase.stripSuffix("b")
    val (number, unit) = plain.lastOption.flatMap(units.get).map(plain.init -> _).getOrElse(plain -> 1.0)
    number.toLongOption.map(count => (count * unit).toLong).getOrElse(
      throw new SettingsRefused(Seq(s"$text: a size such as 4g or 512m expected")))
  }

  private def driverDefinition(conf: FargateConf, application: String, size: FargateSize): RegisterTaskDefinitionRequest = {
    val like = TaskLaunch.definition(conf, application, size)
    val container = like.containerDefinitions().get(0).toBuilder.name(Container)
    like.toBuilder.family(s"sparkvault-driver-$application").taskRoleArn(conf(Settings.DriverRole))
      .containerDefinitions(container.build()).build()
  }

  private def run(client: EcsClient, conf: FargateConf, definition: String, application: String, size: FargateSize,
      arguments: Seq[String], secret: Map[String, String]): String = {
    val variables = secret ++ Map(
      "SPARK_FARGATE_REGION" -> conf.region,
      "SPARK_FARGATE_TENANT" -> conf(Settings.Tenant),
      "SPARK_FARGATE_APPLICATION" -> application)
    val home = conf(Settings.SparkHome)
    val inside = ContainerOverride.builder().name(Container)
      .command((Seq(s"$home/bin/spark-submit") ++ arguments).asJava)
      .environment(variables.toSeq.sorted.map { case (name, value) =>
        KeyValuePair.builder().name(name).value(value).build()
      }.asJava).build()
    val network = AwsVpcConfiguration.builder().subnets(conf.list(Settings.DriverSubnets).asJava)
      .securityGroups(conf.list(Settings.DriverGroups).asJava).assignPublicIp(AssignPublicIp.DISABLED).build()
    val tags = Seq("sparkvault:application" -> application, "sparkvault:tenant" -> conf(Settings.Tenant)) ++ conf.tags
    val answer = client.runTask(RunTaskRequest.builder()
      .cluster(conf.cluster).taskDefinition(definition).count(1).launchType(LaunchType.FARGATE)
      .platformVersion(conf(Settings.Platform)).clientToken(s"$application-d").startedBy(startedBy(application))
      .networkConfiguration(NetworkConfiguration.builder().awsvpcConfiguration(network).build())
      .overrides(TaskOverride.builder().cpu(size.cpuUnits.toString).memory(size.memoryMib.toString)
        .containerOverrides(inside).build())
      .enableExecuteCommand(false)
      .tags(tags.map { case (key, value) => Tag.builder().key(key).value(value).build() }.asJava)
      .build())
    answer.tasks().asScala.headOption.map(_.taskArn()).getOrElse(throw new SettingsRefused(
      answer.failures().asScala.map(failure => s"ECS does not start the driver: ${failure.reason()}${Ending.remedy(failure.reason())}").toSeq))
  }

  /** Another than its executors have: at its end a driver stops all that its application's id has started. */
  private def startedBy(application: String): String = s"driver-${application.stripPrefix("spark-")}".take(36)

  /** The task's exit code, once it has ended; says when its state changes from the one that was shown last. */
  @tailrec
  private def awaited(ecs: Ecs, task: String, interval: Long, shown: String = ""): Int = {
    val found =
      try ecs.describe(Seq(task), Container).find(_.status != TaskReport.Missing)
      catch { case refused: EcsRefused if !refused.problem.isInstanceOf[LaunchProblem.Refused] => None }
    val status = found.map(_.status).getOrElse(shown)
    if (status != shown) println(s"driver task ${task.split('/').last}: $status")
    found match {
      case Some(ended) if ended.status == "STOPPED" =>
        ended.exitCode.getOrElse(said(s"the driver did not run: ${ended.stoppedReason}"))
      case _ =>
        Thread.sleep(interval)
        awaited(ecs, task, interval, status)
    }
  }

  private def rawClient(region: String): EcsClient = {
    val builder = EcsClient.builder().region(Region.of(region)).httpClientBuilder(UrlConnectionHttpClient.builder()
      .connectionTimeout(Duration.ofSeconds(5)).socketTimeout(Duration.ofSeconds(30)))
    sys.env.get("AWS_ENDPOINT_URL_ECS").orElse(sys.env.get("AWS_ENDPOINT_URL"))
      .foreach(address => builder.endpointOverride(URI.create(address)))
    builder.build()
  }

  private def said(why: String): Int = {
    System.err.println(s"spark-submit: $why")
    1
  }
}
