package org.sparkvault.fargate

import java.util.concurrent.TimeUnit

import scala.util.{Failure, Success, Try}

/**
 * One setting: its name, what may stand in it, its default as people write it (empty: none), what it is for.
 *
 * @param check the error for a value that may not stand there
 */
final case class Setting(name: String, form: String, default: String, meaning: String, check: String => Option[String])

/** The settings of this cluster manager, in the order of the table in `docs/fargate-settings.md`. */
object Settings {

  private val Arn = "arn:aws[a-z-]*:iam::[0-9]{12}:role/.+"

  private def text: String => Option[String] = _ => None

  private def matching(pattern: String, what: String): String => Option[String] = value =>
    if (value.matches(pattern)) None else Some(s"$what expected")

  private def each(pattern: String, what: String): String => Option[String] = value =>
    list(value).find(!_.matches(pattern)).map(part => s"$part: $what expected").orElse(
      if (list(value).isEmpty) Some("at least one expected") else None)

  private def one(choices: String*): String => Option[String] = value =>
    if (choices.contains(value)) None else Some(s"one of ${choices.mkString(", ")} expected")

  private def number(least: Int, most: Int): String => Option[String] = value =>
    value.toIntOption.filter(found => found >= least && found <= most) match {
      case Some(_) => None
      case None => Some(s"a whole number from $least to $most expected")
    }

  private def time(leastMs: Long, mostMs: Long): String => Option[String] = value =>
    Try(milliseconds(value)) match {
      case Success(ms) if ms >= leastMs && ms <= mostMs => None
      case Success(_) => Some(s"a time from ${leastMs}ms to ${mostMs / 1000}s expected")
      case Failure(_) => Some("a time such as 500ms, 5s or 2m expected")
    }

  private def setting(name: String, form: String, default: String, meaning: String)(
      check: String => Option[String]): Setting = Setting(s"spark.fargate.$name", form, default, meaning, check)

  val Image: Setting = setting("container.image", "image", "",
    "The executors' image, pinned by digest (`repository@sha256:…`). Needed where no task definition is given.")(text)
  val TaskDefinition: Setting = setting("executor.taskDefinition", "family[:revision] or ARN", "",
    "A task definition that is there, such as the stack's: then nothing is registered and the driver needs no right to. " +
      "Without one, the driver registers one for the application and removes it at the end.")(text)
  val Container: Setting = setting("container.name", "name", "spark-executor",
    "The container in the task definition that runs the executor.")(matching("[A-Za-z0-9_-]{1,255}", "a container's name"))
  val SparkHome: Setting = setting("container.sparkHome", "path", "/opt/spark",
    "Where Spark lies in the image.")(matching("/.*", "an absolute path"))
  val ClassPath: Setting = setting("container.classPath", "class path", "",
    "More for the executor's class path, in the image; this plugin's jar too where it is not in Spark's `jars`.")(text)
  val Cluster: Setting = setting("cluster", "name or ARN", "",
    "The ECS cluster, where the master is `spark-fargate://REGION` without one.")(text)
  val DriverSubnets: Setting = setting("driver.subnets", "subnet-…,…", "",
    "Private subnets of the driver task (cluster mode).")(each("subnet-[0-9a-z]+", "a subnet's id"))
  val DriverGroups: Setting = setting("driver.securityGroups", "sg-…,…", "",
    "Security groups of the driver task (cluster mode).")(each("sg-[0-9a-z]+", "a security group's id"))
  val DriverRole: Setting = setting("driver.taskRole", "role ARN", "",
    "The driver task's role (cluster mode): runs, describes and stops tasks of its cluster.")(matching(Arn, "a role's ARN"))
  val Subnets: Setting = setting("executor.subnets", "subnet-…,…", "",
    "Private subnets of the executors. Needed. They get no public address.")(each("subnet-[0-9a-z]+", "a subnet's id"))
  val Groups: Setting = setting("executor.securityGroups", "sg-…,…", "",
    "Security groups of the executors. Needed.")(each("sg-[0-9a-z]+", "a security group's id"))
  val Role: Setting = setting("executor.taskRole", "role ARN", "",
    "The executors' role: the tenant's data and kms:Decrypt, nothing of ECS.")(matching(Arn, "a role's ARN"))
  val ExecutionRole: Setting = setting("executionRole", "role ARN", "",
    "The role with which ECS pulls the image and writes logs. Needed where no task definition is given.")(
    matching(Arn, "a role's ARN"))
  val Tenant: Setting = setting("tenant", "name", "default",
    "Whose job it is: stands in the encryption context of the secret and on every task as a tag.")(
    matching("[a-z][a-z0-9-]{0,62}", "lower-case letters, digits and dashes"))
  val Capacity: Setting = setting("capacityProviders", "FARGATE | FARGATE_SPOT | mix", "FARGATE",
    "Where executors run; a mix such as `FARGATE:base=2:weight=1,FARGATE_SPOT:weight=4`.")(
    value => CapacityShare.parse(value).left.toOption)
  val Architecture: Setting = setting("cpuArchitecture", "X86_64 | ARM64", "X86_64",
    "Of the image, for a task definition that the driver registers.")(one("X86_64", "ARM64"))
  val Platform: Setting = setting("platformVersion", "version", "LATEST",
    "The Fargate platform version.")(matching("LATEST|1\\.[34]\\.0", "LATEST or a version such as 1.4.0"))
  val Storage: Setting = setting("ephemeralStorage", "GiB, 21–200", "",
    "Each executor's disk for shuffle and spill. Without it, Fargate's own 20 GiB.")(number(21, 200))
  val StopTimeout: Setting = setting("stopTimeout", "time, at most 120s", "120s",
    "Between SIGTERM (Spot, StopTask: blocks are moved away) and SIGKILL, for a task definition that the driver registers.")(
    time(2000, 120000))
  val Tags: Setting = setting("tags", "key=value,…", "",
    "More tags on every task.")(value => list(value).find(!_.matches("[^=]{1,128}=.{0,256}")).map(part => s"$part: key=value expected"))
  val LogGroup: Setting = setting("logs.group", "log group", "",
    "Where the executors' output goes (awslogs); the UI links to it.")(matching("[A-Za-z0-9_/.#-]{1,512}", "a log group's name"))
  val LogPrefix: Setting = setting("logs.streamPrefix", "prefix", "executor",
    "First part of the streams' names in that group.")(matching("[^:*]{1,200}", "no colon or asterisk"))
  val AllocateInterval: Setting = setting("allocate.interval", "time", "500ms",
    "How often wants are compared with what there is.")(time(50, 60000))
  val PendingMax: Setting = setting("pending.max", "1–5000", "2000",
    "Executors launched and not registered yet, at most.")(number(1, 5000))
  val ReportInterval: Setting = setting("report.interval", "time", "5s",
    "How often ECS is asked about all tasks (one DescribeTasks for each hundred).")(time(200, 600000))
  val LaunchTimeout: Setting = setting("launch.timeout", "time", "300s",
    "A task whose executor has not registered by then is stopped and replaced.")(time(1000, 3600000))
  val MaxFailures: Setting = setting("launch.maxFailures", "1–1000", "10",
    "So many executors in a row that do not start end the application, with the reason.")(number(1, 1000))
  val MissingTimeout: Setting = setting("missing.timeout", "time", "60s",
    "How long ECS may not know a task that it has just started (MISSING).")(time(1000, 600000))
  val ReasonTimeout: Setting = setting("lossReason.timeout", "time", "20s",
    "How long Spark waits for ECS to say why an executor is gone.")(time(500, 600000))
  val KillGrace: Setting = setting("kill.grace", "time", "20s",
    "An executor that Spark told to end gets so long before StopTask.")(time(200, 600000))
  val ShutdownTimeout: Setting = setting("shutdown.timeout", "time", "120s",
    "At the end, so long every task is stopped and waited for.")(time(1000, 3600000))
  val DriverTimeout: Setting = setting("executor.driverTimeout", "time", "120s",
    "An executor that cannot reach its driver for so long ends itself.")(time(1000, 3600000))
  val IdleTimeout: Setting = setting("driver.idleTimeout", "time", "0s",
    "A driver that has run nothing for so long ends itself, for Spark Connect servers; `0s`: never.")(time(0, 86400000))
  val Insecure: Setting = setting("insecure", "true | false", "false",
    "Run without authentication and encryption. For experiments with data that anybody may read.")(one("true", "false"))
  val Key: Setting = Setting("spark.authenticate.kms.key", "key id, alias or ARN", "",
    "Wraps the secret between driver and executors. Needed, unless insecure.", text)
  val Ciphertext: Setting = Setting("spark.authenticate.kms.ciphertext", "base64", "",
    "The wrapped secret, where a launcher made it; otherwise the driver wraps it with the key.",
    matching("[A-Za-z0-9+/=]{1,8192}", "base64"))

  val all: Seq[Setting] = Seq(Image, TaskDefinition, Container, SparkHome, ClassPath, Cluster, DriverSubnets, DriverGroups,
    DriverRole, Subnets, Groups, Role, ExecutionRole, Tenant, Capacity, Architecture, Platform, Storage, StopTimeout, Tags,
    LogGroup, LogPrefix, AllocateInterval, PendingMax, ReportInterval, LaunchTimeout, MaxFailures, MissingTimeout,
    ReasonTimeout, KillGrace, ShutdownTimeout, DriverTimeout, IdleTimeout, Insecure, Key, Ciphertext)

  /** The parts of a list such as `a, b`. */
  def list(value: String): Seq[String] = value.split(",").map(_.trim).filter(_.nonEmpty).toSeq

  /** `500ms`, `5s`, `2m`, `1h`; a bare number is seconds. Throws NumberFormatException for anything else. */
  def milliseconds(value: String): Long = value.trim.toLowerCase match {
    case s"${count}ms" => count.toLong
    case s"${count}s" => TimeUnit.SECONDS.toMillis(count.toLong)
    case s"${count}m" => TimeUnit.MINUTES.toMillis(count.toLong)
    case s"${count}min" => TimeUnit.MINUTES.toMillis(count.toLong)
    case s"${count}h" => TimeUnit.HOURS.toMillis(count.toLong)
    case count => TimeUnit.SECONDS.toMillis(count.toLong)
  }

  /** The table of `docs/fargate-settings.md`. */
  def table: String = {
    val rows = all.map { setting =>
      val default = if (setting.default.isEmpty) "" else s"`${setting.default}`"
      s"| `${setting.name}` | ${setting.form.replace("|", "\\|")} | $default | ${setting.meaning} |"
    }
    (Seq("| setting | value | default | meaning |", "|---|---|---|---|") ++ rows).mkString("\n")
  }

  /** Prints the table. */
  def main(arguments: Array[String]): Unit = println(table)
}

/** How much of the executors a capacity provider gets: `base` first, the rest by `weight` (API reference). */
final case class CapacityShare(provider: String, base: Int, weight: Int)

object CapacityShare {

  /** Reads `FARGATE:base=2:weight=1,FARGATE_SPOT:weight=4`. */
  def parse(value: String): Either[String, Seq[CapacityShare]] = {
    val shares = Settings.list(value).map { part =>
      val name +: options = part.split(":").toSeq: @unchecked
      val read = options.map(_.split("=", 2)).collect {
        case Array(key @ ("base" | "weight"), count) if count.matches("[0-9]{1,6}") => key -> count.toInt
      }.toMap
      if (!Set("FARGATE", "FARGATE_SPOT").contains(name) || read.size != options.size) None
      else Some(CapacityShare(name, read.getOrElse("base", 0), read.getOrElse("weight", 1)))
    }
    if (shares.isEmpty || shares.exists(_.isEmpty)) {
      Left("FARGATE, FARGATE_SPOT or a mix such as FARGATE:base=1:weight=1,FARGATE_SPOT:weight=3 expected")
    } else if (shares.flatten.map(_.provider).distinct.size != shares.size) Left("each provider once expected")
    else if (shares.flatten.count(_.base > 0) > 1) Left("at most one provider may have a base")
    else if (shares.flatten.map(_.weight).sum == 0) Left("at least one weight above 0 expected")
    else Right(shares.flatten)
  }
}
