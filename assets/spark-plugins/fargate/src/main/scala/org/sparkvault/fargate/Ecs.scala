package org.sparkvault.fargate

import java.net.URI
import java.time.Duration

import scala.jdk.CollectionConverters._
import scala.util.Random

import org.slf4j.LoggerFactory
import software.amazon.awssdk.awscore.exception.AwsServiceException
import software.amazon.awssdk.core.client.config.ClientOverrideConfiguration
import software.amazon.awssdk.core.exception.{RetryableException, SdkClientException, SdkException}
import software.amazon.awssdk.core.retry.RetryMode
import software.amazon.awssdk.http.urlconnection.UrlConnectionHttpClient
import software.amazon.awssdk.regions.Region
import software.amazon.awssdk.services.ecs.EcsClient
import software.amazon.awssdk.services.ecs.model._

/** What RunTask answered: tasks that there are, and why others are not. */
final case class Launched(arns: Seq[String], problem: Option[LaunchProblem])

/** A call to ECS that did not go through. */
final class EcsRefused(val problem: LaunchProblem, message: String, cause: Throwable) extends RuntimeException(message, cause)

/** The five calls that the driver makes, in our terms; counts them for the metrics. */
final class Ecs(conf: FargateConf, applicationId: String) extends AutoCloseable {

  private val log = LoggerFactory.getLogger(classOf[Ecs])
  private val region = conf.region
  private val cluster = conf.cluster

  // Our own loop decides when to call again: the SDK's retries would hide throttling from it.
  private val client: EcsClient = {
    val builder = EcsClient.builder()
      .region(Region.of(region))
      .httpClientBuilder(UrlConnectionHttpClient.builder()
        .connectionTimeout(Duration.ofSeconds(5)).socketTimeout(Duration.ofSeconds(30)))
      .overrideConfiguration(ClientOverrideConfiguration.builder()
        .apiCallTimeout(Duration.ofSeconds(40))
        .retryStrategy(RetryMode.STANDARD)
        .retryStrategy((strategy: software.amazon.awssdk.retries.api.RetryStrategy.Builder[_, _]) => {
          strategy.maxAttempts(1); ()
        })
        .build())
    sys.env.get("AWS_ENDPOINT_URL_ECS").orElse(sys.env.get("AWS_ENDPOINT_URL"))
      .foreach(address => builder.endpointOverride(URI.create(address)))
    builder.build()
  }

  /** RunTask. Throws EcsRefused. */
  def run(launch: TaskLaunch, token: String, count: Int): Launched = call("RunTask") {
    val answer = client.runTask(launch.request(cluster, applicationId, token, count))
    val problem = answer.failures().asScala.headOption.map { failure =>
      Ecs.problem(Seq(failure.reason(), failure.detail()).filter(_ != null).mkString(": "))
    }
    Launched(answer.tasks().asScala.map(_.taskArn()).toSeq, problem)
  }

  /** DescribeTasks of at most a hundred. Throws EcsRefused. */
  def describe(arns: Seq[String], container: String): Seq[TaskReport] = call("DescribeTasks") {
    val answer = client.describeTasks((request: DescribeTasksRequest.Builder) => {
      request.cluster(cluster).tasks(arns.asJava); ()
    })
    answer.tasks().asScala.map(Ecs.report(_, container)).toSeq ++
      answer.failures().asScala.filter(_.reason() == "MISSING").map(failure => TaskReport(failure.arn(), TaskReport.Missing))
  }

  /** StopTask; a task that is no more counts as stopped. Throws EcsRefused. */
  def stop(arn: String, why: String): Unit = call("StopTask") {
    try client.stopTask((request: StopTaskRequest.Builder) => {
      request.cluster(cluster).task(arn).reason(why.take(250)); ()
    })
    catch { case gone: InvalidParameterException if Option(gone.getMessage).exists(_.contains("not found")) => () }
    ()
  }

  /** ARNs of this application's tasks that ECS wants to run. Throws EcsRefused. */
  def list(): Seq[String] = {
    def page(token: String): Seq[String] = {
      val answer = call("ListTasks")(client.listTasks((request: ListTasksRequest.Builder) => {
        request.cluster(cluster).startedBy(applicationId).nextToken(token); ()
      }))
      answer.taskArns().asScala.toSeq ++ Option(answer.nextToken()).filter(_.nonEmpty).toSeq.flatMap(page)
    }
    page(null)
  }

  /** RegisterTaskDefinition; answers its ARN. Where an answer is lost, a revision that nothing runs may stay behind.
    * Throws EcsRefused. */
  def register(request: RegisterTaskDefinitionRequest): String = patiently(12, "RegisterTaskDefinition") {
    client.registerTaskDefinition(request).taskDefinition().taskDefinitionArn()
  }

  /** DeregisterTaskDefinition. Throws EcsRefused. */
  def deregister(arn: String): Unit = patiently(5, "DeregisterTaskDefinition") {
    client.deregisterTaskDefinition((request: DeregisterTaskDefinitionRequest.Builder) => {
      request.taskDefinition(arn); ()
    })
    ()
  }

  /** For calls that no loop repeats: so often at most, with growing pauses, while ECS throttles or does not answer. */
  private def patiently[T](attempts: Int, name: String)(body: => T): T = {
    def attempt(left: Int, pauseMs: Long): T =
      try call(name)(body)
      catch {
        case refused: EcsRefused if refused.problem.passing && left > 1 =>
          log.warn(s"${refused.getMessage}; ${left - 1} more attempts")
          Thread.sleep(pauseMs / 2 + Random.nextLong(pauseMs / 2 + 1))
          attempt(left - 1, math.min(2 * pauseMs, Ecs.MostPauseMs))
      }
    attempt(attempts, Ecs.FirstPauseMs)
  }

  override def close(): Unit = client.close()

  private def call[T](name: String)(body: => T): T = {
    Counters.calls(name).inc()
    try body
    catch {
      case error: SdkException =>
        val problem = Ecs.problem(error)
        if (problem == LaunchProblem.Throttled) Counters.throttled.inc()
        throw new EcsRefused(problem, s"$name in cluster $cluster: ${Ecs.said(error)}", error)
    }
  }
}

object Ecs {
  private val FirstPauseMs = 200L
  private val MostPauseMs = 5000L

  private val NoRoomSigns = Seq("apacity is unavailable", "limit on the number of", "free addresses", "FreeAddresses",
    "RESOURCE:", "nsufficient", "network interface", "capacity")

  /** Sorts an error: what may go through later, and what will not. */
  def problem(error: SdkException): LaunchProblem = error match {
    // A used-up quota comes under several codes, a throttle too (EC2's inside an InvalidParameterException).
    case service: AwsServiceException if said(service).contains("limit on the number of") => problem(said(service))
    case service: AwsServiceException
        if service.isThrottlingException || service.statusCode() == 429 || said(service).contains("RequestLimitExceeded") =>
      LaunchProblem.Throttled
    case service: AwsServiceException if service.statusCode() >= 500 => LaunchProblem.Unknown
    case service: AwsServiceException => problem(said(service))
    case _: RetryableException => LaunchProblem.Unknown
    case client: SdkClientException if client.getMessage != null && client.getMessage.contains("credentials") =>
      LaunchProblem.Refused(client.getMessage)
    case _ => LaunchProblem.Unknown
  }

  /** Sorts what a failure inside an answer says. */
  def problem(said: String): LaunchProblem =
    if (NoRoomSigns.exists(said.contains(_))) LaunchProblem.NoRoom(said + Ending.remedy(said))
    else LaunchProblem.Refused(said)

  /** An error in one line, without the SDK's request ids. */
  def said(error: SdkException): String = error match {
    case service: AwsServiceException if service.awsErrorDetails() != null =>
      s"${service.awsErrorDetails().errorCode()}: ${service.awsErrorDetails().errorMessage()}"
    case other => Option(other.getMessage).getOrElse(other.getClass.getSimpleName)
  }

  private def report(task: Task, container: String): TaskReport = {
    val found = task.containers().asScala.find(_.name() == container).orElse(task.containers().asScala.headOption)
    TaskReport(
      arn = task.taskArn(),
      status = task.lastStatus(),
      stopCode = Option(task.stopCodeAsString()).getOrElse(""),
      stoppedReason = Option(task.stoppedReason()).getOrElse(""),
      exitCode = found.flatMap(part => Option(part.exitCode())).map(_.intValue()),
      containerReason = found.flatMap(part => Option(part.reason())).getOrElse(""))
  }
}
