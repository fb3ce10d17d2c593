package org.apache.spark.scheduler.cluster.fargate

import scala.concurrent.Future
import scala.util.control.NonFatal

import com.codahale.metrics.{Gauge, MetricRegistry}
import org.sparkvault.fargate.{Allocator, AllocatorListener, AuthSecret, Counters, Ecs, Ending, FargateConf, FargateSize, IdleWatch, Settings, TaskLaunch}
import org.slf4j.LoggerFactory

import org.apache.spark.SparkContext
import org.apache.spark.metrics.source.Source
import org.apache.spark.resource.ResourceProfile
import org.apache.spark.rpc.{RpcAddress, RpcCallContext}
import org.apache.spark.scheduler._
import org.apache.spark.scheduler.cluster.{CoarseGrainedSchedulerBackend, SchedulerBackendUtils}

/** Spark's own coarse-grained scheduling, with executors that are Fargate tasks. */
private[spark] class FargateSchedulerBackend(
    scheduler: TaskSchedulerImpl,
    sc: SparkContext,
    fargate: FargateConf,
    override val applicationId: String)
  extends CoarseGrainedSchedulerBackend(scheduler, sc.env.rpcEnv) with AllocatorListener {

  private val say = LoggerFactory.getLogger(classOf[FargateSchedulerBackend])
  private val ecs = new Ecs(fargate, applicationId)
  private val initialExecutors = SchedulerBackendUtils.getInitialTargetExecutorNumber(conf)
  private val launches = scala.collection.concurrent.TrieMap.empty[Int, TaskLaunch]
  private lazy val ciphertext: String = fargate.get(Settings.Ciphertext).getOrElse(
    AuthSecret(fargate.region, fargate(Settings.Key), fargate(Settings.Tenant), applicationId)
      .wrap(sc.env.securityManager.getSecretKey()))
  private var ownDefinition: Option[String] = None
  private var definition: String = fargate(Settings.TaskDefinition)
  @volatile private var stopping = false

  private val allocator = new Allocator(ecs, fargate, applicationId, launches, this)

  override val minRegisteredRatio: Double =
    if (conf.contains("spark.scheduler.minRegisteredResourcesRatio")) super.minRegisteredRatio else 0.8

  override def start(): Unit = {
    super.start()
    try {
      val profile = sc.resourceProfileManager.defaultResourceProfile
      // Everything that can be wrong with how executors are launched shows now, in the user's own thread.
      val shape = ExecutorShape.of(profile, conf)
      say.info(s"Each executor is a Fargate task of ${FargateSize.rounding(shape.cores, shape.memoryMib, shape.size)}")
      if (definition.isEmpty) {
        definition = ecs.register(TaskLaunch.definition(fargate, applicationId, shape.size))
        ownDefinition = Some(definition)
      }
      launches(profile.id) = launchOf(profile)
      sc.addSparkListener(new SparkListener {
        override def onExecutorAdded(added: SparkListenerExecutorAdded): Unit =
          added.executorId.toIntOption.foreach(allocator.registered)
      })
      endWhenIdle(fargate.millis(Settings.IdleTimeout))
      sc.env.metricsSystem.registerSource(new FargateSource(allocator))
      allocator.want(Map(profile.id -> initialExecutors))
      allocator.start()
    } catch {
      case NonFatal(error) =>
        release()
        throw error
    }
  }

  /** The process ends as after its last line: its shutdown hooks stop the application, and that its tasks. */
  private def endWhenIdle(limitMs: Long): Unit = if (limitMs > 0) {
    val idle = new IdleWatch(limitMs)
    sc.addSparkListener(idle)
    idle.watch(!stopping) {
      say.warn(s"Nothing has run for ${limitMs / 1000} seconds (${Settings.IdleTimeout.name}): this driver ends")
      System.exit(0)
    }
  }

  private def launchOf(profile: ResourceProfile): TaskLaunch = {
    val shape = ExecutorShape.of(profile, conf)
    val secret = if (fargate.insecure) None else Some(ciphertext)
    val url = s"spark://${CoarseGrainedSchedulerBackend.ENDPOINT_NAME}@${conf.get("spark.driver.host")}:" +
      conf.get("spark.driver.port")
    TaskLaunch(fargate, definition, shape.size,
      ExecutorCommand.of(fargate, conf, shape),
      ExecutorCommand.environment(fargate, conf, applicationId, url, profile.id, shape, secret, sc.sparkUser)).checked
  }

  override def doRequestTotalExecutors(totals: Map[ResourceProfile, Int]): Future[Boolean] = {
    totals.keys.filterNot(profile => launches.contains(profile.id))
      .foreach(profile => launches(profile.id) = launchOf(profile))
    allocator.want(totals.map { case (profile, count) => profile.id -> count })
    Future.successful(true)
  }

  override def doKillExecutors(executorIds: Seq[String]): Future[Boolean] = {
    allocator.killed(executorIds.flatMap(_.toIntOption))
    // Spark tells the executor itself to end; StopTask follows where it does not.
    executorIds.foreach(removeExecutor(_, ExecutorKilled))
    Future.successful(true)
  }

  override def sufficientResourcesRegistered(): Boolean =
    totalRegisteredExecutors.get() >= initialExecutors * minRegisteredRatio

  override protected def isExecutorExcluded(executorId: String, hostname: String): Boolean =
    !executorId.toIntOption.exists(allocator.welcomes)

  override def lost(executorId: Int, ending: Ending): Unit = if (!stopping) {
    removeExecutor(executorId.toString, ending.exitCode match {
      case Some(code) => ExecutorExited(code, ending.causedByApp, ending.message)
      case None => ExecutorProcessLost(ending.message, None, ending.causedByApp)
    })
  }

  override def giveUp(message: String): Unit = if (!stopping) {
    say.error(s"The application ends: $message")
    // In a thread of its own: ending the application waits for the allocator that calls us.
    val ending = new Thread(() => {
      try scheduler.error(message)
      catch { case NonFatal(_) => () } // no job is waiting for executors
      finally sc.stopInNewThread()
    }, "fargate-give-up")
    ending.setDaemon(true)
    ending.start()
  }

  override def stop(): Unit = {
    stopping = true
    try super.stop()
    catch { case NonFatal(error) => say.warn("Executors could not be told to end; their tasks are stopped", error) }
    finally release()
  }

  private def release(): Unit = {
    allocator.close()
    ownDefinition.foreach { made =>
      try ecs.deregister(made)
      catch { case NonFatal(error) => say.warn(s"The task definition $made stays behind: ${error.getMessage}") }
    }
    ownDefinition = None
    ecs.close()
  }

  override def createDriverEndpoint(): DriverEndpoint = new FargateDriverEndpoint

  private class FargateDriverEndpoint extends DriverEndpoint {

    override def receiveAndReply(context: RpcCallContext): PartialFunction[Any, Unit] = {
      val ours: PartialFunction[Any, Unit] = {
        case WhoAmI(arn) => context.reply(allocator.executorOf(arn) match {
            case Right(executorId) => YouAre(executorId)
            case Left(true) => AskAgain
            case Left(false) => NotWanted
          })
      }
      ours.orElse(super.receiveAndReply(context))
    }

    override def onDisconnected(address: RpcAddress): Unit =
      addressToExecutorId.get(address).foreach { executorId =>
        val id = executorId.toIntOption
        if (executorsPendingDecommission.contains(executorId)) {
          id.foreach(number => allocator.killed(Seq(number)))
          removeExecutor(executorId, ExecutorDecommission(None))
        } else if (id.exists(allocator.disconnected)) {
          disableExecutor(executorId) // until ECS says why
        } else {
          removeExecutor(executorId, ExecutorProcessLost("its connection is gone"))
        }
      }

    private def removeExecutor(executorId: String, reason: ExecutorLossReason): Unit =
      FargateSchedulerBackend.this.removeExecutor(executorId, reason)
  }
}

/** Asks the driver which executor the task of that ARN is: all tasks of one RunTask are launched alike. */
private[spark] case class WhoAmI(taskArn: String)

private[spark] sealed trait Identity extends Serializable

/** The executor's id. */
private[spark] case class YouAre(executorId: Int) extends Identity

/** RunTask's answer is not there yet. */
private[spark] case object AskAgain extends Identity

/** The task came too late, or is none of this application's. */
private[spark] case object NotWanted extends Identity

/** What Spark's metrics system shows under `fargate`. */
private[spark] class FargateSource(allocator: Allocator) extends Source {
  override val sourceName: String = "fargate"

  override val metricRegistry: MetricRegistry = {
    val registry = new MetricRegistry
    registry.registerAll(Counters.registry)
    registry.register("executorsPending", (() => allocator.pending): Gauge[Int])
    registry.register("executorsRunning", (() => allocator.running): Gauge[Int])
    registry
  }
}
