package org.sparkvault.fargate

/** Everything that is wrong with an application's settings, told at once. */
final class SettingsRefused(val problems: Seq[String]) extends IllegalArgumentException(
    problems.mkString(s"these settings do not fit spark-fargate:\n  - ", "\n  - ",
      "\nEvery setting is explained in docs/fargate-settings.md."))

/** An application's settings, valid: what the names in `Settings` say, in the units that the code needs. */
final class FargateConf private (val region: String, val cluster: String, values: Map[String, String]) {

  /** The setting's value or default; empty where there is neither. */
  def apply(setting: Setting): String = values.getOrElse(setting.name, setting.default)

  def get(setting: Setting): Option[String] = Some(apply(setting)).filter(_.nonEmpty)

  def list(setting: Setting): Seq[String] = Settings.list(apply(setting))

  def millis(setting: Setting): Long = Settings.milliseconds(apply(setting))

  def insecure: Boolean = apply(Settings.Insecure) == "true"

  def capacity: Seq[CapacityShare] = CapacityShare.parse(apply(Settings.Capacity)).getOrElse(Nil)

  def tags: Seq[(String, String)] = list(Settings.Tags).map { part =>
    val Array(key, value) = part.split("=", 2): @unchecked
    key -> value
  }

  /** What is taken but not safe, for the driver's log. */
  def warnings: Seq[String] = get(Settings.Image).filterNot(_.contains("@sha256:")).toSeq.map { image =>
    s"${Settings.Image.name}=$image is a tag, which may name another image tomorrow: pin it, repository@sha256:…"
  }

  def limits: FleetLimits = FleetLimits(
    pendingMax = apply(Settings.PendingMax).toInt,
    launchTimeout = millis(Settings.LaunchTimeout),
    missingTolerance = millis(Settings.MissingTimeout),
    lossReasonTimeout = millis(Settings.ReasonTimeout),
    killGrace = millis(Settings.KillGrace),
    maxStartFailures = apply(Settings.MaxFailures).toInt)
}

object FargateConf {

  private val Master = "spark-fargate://([a-z]{2}(?:-[a-z]+)+-[0-9])(?:/(.*))?".r

  /** Whether a master URL is ours. */
  def isOurs(master: String): Boolean = master == "fargate" || master.startsWith("spark-fargate://")

  /**
   * Reads and checks.
   *
   * @param all the application's settings, ours and Spark's
   * @param neededToo what this caller cannot do without, beside what every application needs
   * @throws SettingsRefused with every problem
   */
  def read(master: String, all: Map[String, String], neededToo: Seq[Setting] = Nil): FargateConf = {
    val region = sys.env.get("AWS_REGION").orElse(sys.env.get("AWS_DEFAULT_REGION"))
    val ours = all.filter { case (name, _) => name.startsWith("spark.fargate.") || name.startsWith("spark.authenticate.kms.") }
    val (place, placeProblems) = master match {
      case Master(region, cluster) =>
        val named = Option(cluster).filter(_.nonEmpty).orElse(ours.get(Settings.Cluster.name))
        ((region, named.getOrElse("")), if (named.isEmpty) Seq(
          s"master $master names no cluster: write spark-fargate://REGION/CLUSTER, or set ${Settings.Cluster.name}") else Nil)
      case "fargate" if region.isDefined && ours.contains(Settings.Cluster.name) =>
        ((region.get, ours(Settings.Cluster.name)), Nil)
      case other => (("", ""), Seq(s"master $other: spark-fargate://REGION/CLUSTER expected, as in spark-fargate://eu-central-1/spark"))
    }
    val conf = new FargateConf(place._1, place._2, ours)
    val known = Settings.all.map(_.name).toSet
    val unknown = ours.keys.filterNot(known).toSeq.sorted.map { name =>
      s"$name is no setting; the closest is ${known.minBy(distance(name, _))}"
    }
    val wrong = Settings.all.flatMap { setting =>
      ours.get(setting.name).flatMap(value => setting.check(value).map(rule => s"${setting.name}=$value: $rule"))
    }
    val problems = placeProblems ++ unknown ++ wrong ++ missing(conf, neededToo) ++ security(conf, all)
    if (problems.nonEmpty) throw new SettingsRefused(problems)
    conf
  }

  private def missing(conf: FargateConf, neededToo: Seq[Setting]): Seq[String] = {
    val always = Seq(Settings.Subnets, Settings.Groups) ++ neededToo
    val unlessDefined = if (conf.get(Settings.TaskDefinition).isDefined) Nil else Seq(Settings.Image, Settings.ExecutionRole)
    (always ++ unlessDefined).distinct.filter(conf.get(_).isEmpty).map(setting => s"${setting.name} is needed: ${setting.meaning}")
  }

  private def security(conf: FargateConf, all: Map[String, String]): Seq[String] = if (conf.insecure) Nil else {
    val switches = Seq("spark.authenticate", "spark.network.crypto.enabled", "spark.io.encryption.enabled")
    val off = switches.filterNot(name => all.get(name).exists(_.equalsIgnoreCase("true")))
    val key = if (conf.get(Settings.Key).isEmpty) Seq(s"${Settings.Key.name} is needed: ${Settings.Key.meaning}") else Nil
    off.map(name => s"$name=true is needed (or ${Settings.Insecure.name}=true, for data that anybody may read)") ++ key
  }

  /** Levenshtein's distance. */
  private def distance(one: String, other: String): Int =
    one.foldLeft((0 to other.length).toVector) { (row, letter) =>
      row.indices.drop(1).scanLeft(row.head + 1) { (left, column) =>
        math.min(math.min(left, row(column)) + 1, row(column - 1) + (if (other(column - 1) == letter) 0 else 1))
      }.toVector
    }.last

  /** The seed's S3 shuffle settings put as Spark's own fallback storage; empty where they are not in use. */
  def shuffleStorage(all: Map[String, String], applicationId: String): Map[String, String] =
    if (!all.get("spark.shuffle.s3.enabled").exists(_.equalsIgnoreCase("true"))) Map.empty
    else {
      val bucket = all.getOrElse("spark.shuffle.s3.bucket", throw new SettingsRefused(
        Seq("spark.shuffle.s3.enabled=true needs spark.shuffle.s3.bucket")))
      val prefix = all.getOrElse("spark.shuffle.s3.prefix", ".sparkStaging").stripPrefix("/").stripSuffix("/")
      fallbackStorage(s"s3a://$bucket/$prefix/$applicationId/shuffle/")
    }

  /** What lets executors hand over their shuffle blocks and go: Spark's own settings, with the path given. */
  def fallbackStorage(path: String): Map[String, String] = Map(
    "spark.storage.decommission.fallbackStorage.path" -> path,
    "spark.storage.decommission.fallbackStorage.cleanUp" -> "true",
    "spark.dynamicAllocation.shuffleTracking.enabled" -> "false")

  /** Fargate tells a task by SIGTERM that it has to go (Spot, StopTask): Spark then moves its blocks away. */
  val decommissioning: Map[String, String] = Map(
    "spark.decommission.enabled" -> "true",
    "spark.executor.decommission.signal" -> "TERM",
    "spark.storage.decommission.enabled" -> "true",
    "spark.storage.decommission.rddBlocks.enabled" -> "true",
    "spark.storage.decommission.shuffleBlocks.enabled" -> "true",
    "spark.storage.decommission.replicationReattemptInterval" -> "2s")
}
