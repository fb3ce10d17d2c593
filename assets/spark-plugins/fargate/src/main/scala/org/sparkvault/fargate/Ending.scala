package org.sparkvault.fargate

/**
 * Why an executor is gone, as Spark counts it.
 *
 * @param exitCode of the container, where there is one
 * @param causedByApp whether the tasks it ran count a failure each (`spark.task.maxFailures`)
 * @param message for people: what happened, and what to do where something can be done
 * @param neverStarted the container did not run at all
 * @param fatal no executor of this application can ever start
 */
final case class Ending(
    exitCode: Option[Int],
    causedByApp: Boolean,
    message: String,
    neverStarted: Boolean = false,
    fatal: Boolean = false)

object Ending {

  /** Exit codes of our executor entry point, outside those that Spark and the JVM use. */
  val DriverUnreachable = 71
  val SecretRefused = 72
  val NotWanted = 73
  val NoMetadata = 74

  /** `ExecutorExitCode` of Spark: the executor could not send heartbeats; killed by SIGTERM: 128 + 15. */
  private val HeartbeatFailure = 56
  private val Terminated = 143
  private val Killed = 137

  /** What ECS says of a stopped task ("Stopped tasks error codes", API reference `Task.stopCode`), put in Spark's terms. */
  def of(task: TaskReport): Ending = {
    val said = Seq(task.stoppedReason, task.containerReason).filter(_.nonEmpty).mkString("; ")
    def ending(app: Boolean, what: String) = Ending(task.exitCode, app, if (said.isEmpty) what else s"$what ($said)")
    task.exitCode match {
      case Some(SecretRefused) =>
        ending(app = false, "the executor could not decrypt the application's secret. Let its task role call kms:Decrypt " +
          "on the key in spark.authenticate.kms.key with the encryption context {tenant, application}")
          .copy(fatal = true)
      case Some(DriverUnreachable) =>
        ending(app = false, "the executor could not reach the driver. Its security group must admit the executors' on " +
          "spark.driver.port and spark.driver.blockManager.port")
      case _ if task.stopCode == "SpotInterruption" || task.stoppedReason.contains("Spot Task was interrupted") =>
        ending(app = false, "Fargate Spot took the capacity back")
      case _ if task.stopCode == "TerminationNotice" => ending(app = false, "AWS retired the host of the task")
      case None if task.stopCode == "TaskFailedToStart" || task.stopCode.isEmpty =>
        ending(app = false, "the task did not start" + remedy(said)).copy(neverStarted = true)
      case _ if task.containerReason.contains("OutOfMemory") =>
        ending(app = true, "the container ran out of memory: raise spark.executor.memoryOverhead or spark.executor.memory")
      case _ if task.stopCode == "UserInitiated" => ending(app = false, "the task was stopped through the ECS API")
      case Some(0) => ending(app = false, "the executor ended normally")
      case Some(NotWanted | NoMetadata) => ending(app = false, "the executor gave up before it registered")
      case Some(HeartbeatFailure | Terminated) => ending(app = false, s"the executor ended with code ${task.exitCode.get}")
      case Some(Killed) => ending(app = true, "the executor was killed (137), as it is when memory runs out")
      case Some(code) => ending(app = true, s"the executor ended with code $code")
      case None => ending(app = false, "the task ended without an exit code")
    }
  }

  /** What mends the reasons why a task cannot start. */
  def remedy(said: String): String = Remedies.collectFirst { case (sign, advice) if said.contains(sign) => s": $advice" }
    .getOrElse("")

  private val Remedies = Seq(
    "CannotPull" -> "see that spark.fargate.container.image exists and that the execution role and the endpoints reach it",
    "ResourceInitializationError" -> "see that the execution role and the VPC endpoints (ecr, s3, logs, kms) are there",
    "InsufficientFreeAddresses" -> "the subnet has no free address: name more or larger ones in spark.fargate.executor.subnets",
    "network interface" -> "see the limits of network interfaces and the subnets in spark.fargate.executor.subnets",
    "limit on the number of" -> "ask for a higher quota: Service Quotas, AWS Fargate, \"On-Demand/Spot vCPU resource count\"",
    "apacity is unavailable" -> ("AWS has no capacity now: more zones in spark.fargate.executor.subnets, or mix " +
      "spark.fargate.capacityProviders=FARGATE,FARGATE_SPOT"))
}

/**
 * What DescribeTasks says of one task.
 *
 * @param status `lastStatus`: PROVISIONING, PENDING, ACTIVATING, RUNNING, DEACTIVATING, STOPPING, DEPROVISIONING, STOPPED,
 *               or `TaskReport.Missing` where ECS does not know the task (yet, or any more)
 */
final case class TaskReport(
    arn: String,
    status: String,
    stopCode: String = "",
    stoppedReason: String = "",
    exitCode: Option[Int] = None,
    containerReason: String = "") {

  /** Whether its container is over, also while ECS still takes the task apart. */
  def ended: Boolean =
    status == "STOPPED" || (exitCode.isDefined && status != "RUNNING" && status != TaskReport.Missing)
}

object TaskReport {
  val Missing = "MISSING"
}
