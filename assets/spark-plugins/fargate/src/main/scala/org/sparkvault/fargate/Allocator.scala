package org.sparkvault.fargate

import java.util.concurrent.{Executors, ScheduledExecutorService, ThreadFactory, TimeUnit}

import scala.util.{Failure, Success, Try}
import scala.util.control.NonFatal

import org.slf4j.LoggerFactory

/** What the allocator tells whoever runs it. */
trait AllocatorListener {

  /** An executor is gone; once for each. */
  def lost(executorId: Int, ending: Ending): Unit

  /** The application cannot go on. */
  def giveUp(message: String): Unit
}

/**
 * Keeps as many executors as Spark wants: turns the decisions of `Fleet` into calls to ECS, and answers into decisions.
 *
 * @param launchOf how an executor of a profile is launched
 */
final class Allocator(ecs: Ecs, conf: FargateConf, applicationId: String, launchOf: Int => TaskLaunch,
    listener: AllocatorListener) {

  import Allocator._

  private val log = LoggerFactory.getLogger(getClass)
  private val container = conf(Settings.Container)

  private var fleet = Fleet(conf.limits, applicationId, LaunchRate.full(now))
  private var wants = Map.empty[Int, Int]
  private var askedSilentAt = Long.MinValue
  private var shownProblem = ""
  private var givenUp = false
  @volatile private var closing = false

  private val clock: ScheduledExecutorService = Executors.newSingleThreadScheduledExecutor(threads("fargate-allocator"))
  private val reporter: ScheduledExecutorService = Executors.newSingleThreadScheduledExecutor(threads("fargate-reporter"))
  // Enough to keep AWS's launch rate where a call takes a second.
  private val callers = Executors.newFixedThreadPool(CallThreads, threads("fargate-caller"))

  /** Begin to look after executors. */
  def start(): Unit = {
    val interval = conf.millis(Settings.AllocateInterval)
    clock.scheduleWithFixedDelay(() => guarded(tick()), 0, interval, TimeUnit.MILLISECONDS)
    val report = conf.millis(Settings.ReportInterval)
    reporter.scheduleWithFixedDelay(() => guarded(askAll()), report, report, TimeUnit.MILLISECONDS)
    ()
  }

  /** From now on so many executors are wanted of each profile. */
  def want(totals: Map[Int, Int]): Unit = synchronized { wants = totals }

  /** The id for the executor in that task: Left(true) where it may ask again soon, Left(false) where it is not wanted. */
  def executorOf(arn: String): Either[Boolean, Int] = synchronized {
    fleet.executorOf(arn).toRight(!closing && fleet.expectsTasks && !fleet.tasks.contains(arn))
  }

  /** Whether an executor with that id may register. */
  def welcomes(executorId: Int): Boolean = synchronized(!closing && fleet.welcomes(executorId))

  /** Spark has registered it. */
  def registered(executorId: Int): Unit = synchronized { fleet = fleet.registered(executorId) }

  /** Its connection is gone; true where `lost` will follow with the reason. */
  def disconnected(executorId: Int): Boolean = synchronized {
    val (next, awaited) = fleet.disconnected(executorId, now)
    fleet = next
    awaited && !closing
  }

  /** Spark has told these to end. */
  def killed(executorIds: Seq[Int]): Unit = synchronized { fleet = fleet.killed(executorIds, now) }

  /** Executors launched and not registered. */
  def pending: Int = synchronized(fleet.pending)

  /** Executors registered. */
  def running: Int = synchronized(fleet.registered)

  private def tick(): Unit = if (!closing) {
    val silent = synchronized {
      step(fleet.plan(wants, now))
      val silent = fleet.tasks.valuesIterator.filter(_.phase.isInstanceOf[Phase.Silent]).map(_.arn).toSeq
      if (silent.nonEmpty && now - askedSilentAt >= SilentAskMs) { askedSilentAt = now; silent } else Nil
    }
    silent.grouped(Fleet.DescribeMax).foreach(ask)
  }

  private def askAll(): Unit = if (!closing) synchronized(fleet.toDescribe).foreach(ask)

  private def ask(arns: Seq[String]): Unit =
    Try(ecs.describe(arns, container)) match {
      case Success(reports) => synchronized(step(fleet.observed(reports, now)))
      case Failure(error: EcsRefused) => show(error.getMessage)
      case Failure(error) => throw error
    }

  private def step(decided: (Fleet, Seq[Action])): Unit = {
    fleet = decided._1
    decided._2.foreach(perform)
  }

  private def perform(action: Action): Unit = action match {
    case Action.Launch(token, profile, count) => callers.execute(() => guarded(launch(token, profile, count)))
    case Action.Stop(arn, why) =>
      log.info(s"Stopping task ${short(arn)}: $why")
      callers.execute(() => guarded(stop(arn, why)))
    case Action.Lost(executorId, ending) =>
      Counters.lost.inc()
      log.warn(s"Executor $executorId is gone: ${ending.message}")
      listener.lost(executorId, ending)
    case Action.GiveUp(message) => if (!givenUp) {
        givenUp = true
        wants = Map.empty
        listener.giveUp(message)
      }
  }

  private def launch(token: String, profile: Int, count: Int): Unit = {
    val answer = Try(ecs.run(launchOf(profile), token, count))
    synchronized {
      answer match {
        case Success(Launched(arns, problem)) =>
          Counters.launched.inc(arns.size.toLong)
          log.info(s"ECS took ${arns.size} of $count tasks: ${arns.map(short).mkString(" ")}")
          problem.foreach(tell)
          step(fleet.launched(token, arns, problem, now))
        case Failure(refused: EcsRefused) =>
          tell(refused.problem, refused.getMessage)
          step(fleet.launchFailed(token, refused.problem, now))
        case Failure(NonFatal(error)) =>
          log.error("RunTask failed", error)
          step(fleet.launchFailed(token, LaunchProblem.Refused(String.valueOf(error.getMessage)), now))
        case Failure(fatal) => throw fatal
      }
    }
  }

  private def stop(arn: String, why: String): Unit =
    Try(ecs.stop(arn, why)) match {
      case Success(_) => Counters.stopped.inc()
      case Failure(error) => show(String.valueOf(error.getMessage)) // the fleet asks again after its grace
    }

  private def tell(problem: LaunchProblem): Unit = tell(problem, "")

  private def tell(problem: LaunchProblem, said: String): Unit = problem match {
    case LaunchProblem.NoRoom(message) => show(s"executors have to wait: $message")
    case LaunchProblem.Refused(message) => show(s"ECS refuses to run executors: $message")
    case LaunchProblem.Throttled | LaunchProblem.Unknown => show(s"$said: trying again, more slowly")
  }

  /** Says each problem once until another one comes. */
  private def show(message: String): Unit = if (message != shownProblem) {
    shownProblem = message
    log.warn(message)
  }

  private def guarded(body: => Unit): Unit =
    try body
    catch { case NonFatal(error) => if (!closing) log.error("the allocator goes on after an error of its own", error) }

  /**
   * Stop everything and see it stopped, within `spark.fargate.shutdown.timeout`. Executors that Spark told to end get a
   * moment to do so themselves; then each task is stopped by name, also those whose launch was never confirmed.
   */
  def close(): Unit = {
    closing = true
    clock.shutdownNow()
    reporter.shutdownNow()
    callers.shutdown()
    callers.awaitTermination(LastCallsSeconds, TimeUnit.SECONDS)
    val deadline = now + conf.millis(Settings.ShutdownTimeout)
    val confirmed = synchronized(fleet.launches.values.filter(_.uncertain)).flatMap(confirm(_, deadline))
    var left = round(synchronized(fleet.tasks) ++ confirmed, everyone = false)
    val grace = now + SelfEndingMs
    while (left.nonEmpty && now < deadline) {
      Thread.sleep(ClosingRoundMs)
      left = round(left, everyone = now >= grace)
    }
    if (left.nonEmpty) {
      log.error(s"these tasks may still run: ${left.keys.mkString(" ")}. They end by themselves when they miss the driver " +
        s"(${Settings.DriverTimeout.name}); see `aws ecs list-tasks --cluster ${conf.cluster} --started-by $applicationId`")
    }
  }

  /**
   * The tasks of a launch whose answer got lost. ListTasks may not show them yet; RunTask under the same token names them
   * (what never happened happens now, and is stopped with the rest).
   */
  private def confirm(launch: PendingLaunch, deadline: Long): Seq[(String, FleetTask)] =
    Try(ecs.run(launchOf(launch.profile), launch.token, launch.count)) match {
      case Success(Launched(arns, _)) => arns.map(arn => arn -> FleetTask(arn, 0, launch.profile, now, Phase.Starting))
      case Failure(refused: EcsRefused) if refused.problem.passing && now < deadline =>
        Thread.sleep(ClosingRoundMs)
        confirm(launch, deadline)
      case Failure(error) =>
        log.error(s"what became of launch ${launch.token} is not known: ${error.getMessage}")
        Nil
    }

  /** One look at what is there, and StopTask for it; answers what is not over yet (or what cannot be known). */
  private def round(known: Map[String, FleetTask], everyone: Boolean): Map[String, FleetTask] = {
    val listed = Try(ecs.list())
    val unknown = listed.getOrElse(Nil).filterNot(known.contains).map { arn =>
      arn -> FleetTask(arn, 0, 0, now, Phase.Starting)
    }
    val all = known ++ unknown
    val reports = all.keys.toSeq.grouped(Fleet.DescribeMax).flatMap { arns =>
      Try(ecs.describe(arns, container)).getOrElse(Nil)
    }.map(report => report.arn -> report).toMap
    val over = all.keySet.filter(arn => reports.get(arn).exists(_.ended))
    val accepted = (all -- over).values.filter(task => everyone || task.phase != Phase.Registered).filter { task =>
      val known = !reports.get(task.arn).exists(_.status == TaskReport.Missing)
      Try(ecs.stop(task.arn, "the application has ended")).isSuccess && known
    }.map(_.arn).toSet
    Counters.stopped.inc(accepted.size.toLong)
    // What ECS has taken StopTask for ends without us. Without a listing nobody knows what else there is.
    val left = all -- over -- accepted
    if (listed.isFailure && left.isEmpty) Map(Unlisted -> FleetTask(Unlisted, 0, 0, now, Phase.Registered)) else left - Unlisted
  }
}

object Allocator {

  private val CallThreads = 4
  private val SilentAskMs = 1000L
  private val LastCallsSeconds = 45L
  private val SelfEndingMs = 4000L
  private val ClosingRoundMs = 500L
  private val Unlisted = "(ListTasks gave no answer)"

  private def now: Long = System.nanoTime() / 1000000

  private def short(arn: String): String = arn.substring(arn.lastIndexOf('/') + 1)

  private def threads(name: String): ThreadFactory = (body: Runnable) => {
    val thread = new Thread(body, name)
    thread.setDaemon(true)
    thread
  }
}
