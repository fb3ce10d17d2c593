package org.apache.spark.deploy.fargate

/** What spark-submit's words say before the application; those after it are the application's own. */
private[fargate] object SubmitArguments {

  private val Switches = Set("run-example", "--verbose", "-v", "--supervise")

  private val Named = Map("--driver-memory" -> "spark.driver.memory", "--driver-cores" -> "spark.driver.cores")

  /** Settings by name, master and main class as `--master` and `--class`; the last word wins, as with Spark. */
  def settings(arguments: List[String]): Map[String, String] = arguments match {
    case ("--conf" | "-c") :: s"$name=$value" :: rest => Map(name -> value) ++ settings(rest)
    case "--master" :: master :: rest => Map("--master" -> master) ++ settings(rest)
    case "--class" :: name :: rest => Map("--class" -> name) ++ settings(rest)
    case switch :: rest if Switches(switch) => settings(rest)
    case flag :: value :: rest if flag.startsWith("-") => Named.get(flag).map(_ -> value).toMap ++ settings(rest)
    case _ => Map.empty
  }
}
