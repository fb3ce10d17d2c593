package org.sparkvault.fargate

import scala.collection.immutable.{Map, SortedMap}

/** How patient the fleet is, and how far it goes; all times in milliseconds. */
final case class FleetLimits(
    pendingMax: Int,
    launchTimeout: Long,
    missingTolerance: Long,
    lossReasonTimeout: Long,
    killGrace: Long,
    maxStartFailures: Int)

/** What the allocator has to do now. */
sealed trait Action

object Action {

  /** Call RunTask. The same token with the same count is the same launch, however often it is sent. */
  final case class Launch(token: String, profile: Int, count: Int) extends Action

  /** Call StopTask. */
  final case class Stop(arn: String, why: String) extends Action

  /** Tell Spark that an executor is gone. */
  final case class Lost(executorId: Int, ending: Ending) extends Action

  /** No executor can start: end the application with this message. */
  final case class GiveUp(message: String) extends Action
}

/** Where a task stands, as the driver knows it. */
sealed trait Phase

object Phase {

  /** ECS has taken it; its executor has not registered. */
  case object Starting extends Phase

  /** Its executor is registered with the driver. */
  case object Registered extends Phase

  /** Its executor's connection is gone since then; why, ECS has to say. */
  final case class Silent(since: Long) extends Phase

  /** It was told to end (by Spark or by us) and is given until `deadline` before StopTask is called (again). */
  final case class Ending(deadline: Long) extends Phase
}

/** A task of ours that may still cost money. */
final case class FleetTask(arn: String, executorId: Int, profile: Int, launchedAt: Long, phase: Phase,
    missingSince: Option[Long] = None)

/**
 * A RunTask call without a final answer: on its way (`dueAt` is empty), or to be sent again then.
 *
 * @param uncertain whether an answer got lost: there may be tasks of it that nobody knows
 */
final case class PendingLaunch(token: String, profile: Int, count: Int, attempt: Int, dueAt: Option[Long],
    uncertain: Boolean = false)

/** Why a RunTask call did not go through. */
sealed trait LaunchProblem {

  /** Whether the same call may go through in a moment. */
  def passing: Boolean = this == LaunchProblem.Throttled || this == LaunchProblem.Unknown
}

object LaunchProblem {
  case object Throttled extends LaunchProblem

  /** No answer, or an answer that promises nothing (timeout, 5xx): the launch may have happened. */
  case object Unknown extends LaunchProblem

  /** No capacity, no address, quota used up: it may go later. */
  final case class NoRoom(message: String) extends LaunchProblem

  /** AWS says no: permissions, parameters, names. */
  final case class Refused(message: String) extends LaunchProblem
}

/**
 * The decisions of the allocator, without threads, clocks or AWS: what Spark wants against what ECS has.
 *
 * A value; every method answers with the next value and what is to be done. Times are milliseconds of any clock that
 * never goes back.
 */
final case class Fleet(
    limits: FleetLimits,
    tokenPrefix: String,
    rate: LaunchRate,
    tasks: Map[String, FleetTask] = Map.empty,
    launches: SortedMap[String, PendingLaunch] = SortedMap.empty,
    nextExecutorId: Int = 1,
    nextToken: Int = 1,
    notBefore: Long = Long.MinValue,
    noRoomInARow: Int = 0,
    refusals: Int = 0,
    startFailures: Int = 0,
    everRegistered: Boolean = false) {

  import Action._
  import Fleet._

  type Step = (Fleet, Seq[Action])

  /** Executors that are there or on their way, of one profile. */
  def has(profile: Int): Int = alive.count(_.profile == profile) +
    launches.valuesIterator.filter(_.profile == profile).map(_.count).sum

  /** Launched and not registered, or being launched. */
  def pending: Int = tasks.valuesIterator.count(_.phase == Phase.Starting) + launches.valuesIterator.map(_.count).sum

  /** Executors that run tasks, by number. */
  def registered: Int = tasks.valuesIterator.count(_.phase == Phase.Registered)

  /** The id of the executor in that task; None for a task that is not (or no more) wanted. */
  def executorOf(arn: String): Option[Int] = tasks.get(arn).filterNot(ending).map(_.executorId)

  /** Whether this executor may register. */
  def welcomes(executorId: Int): Boolean = tasks.valuesIterator.exists(task => task.executorId == executorId && !ending(task))

  /** Whether an answer to some RunTask call is outstanding: an unknown task may then be one of ours. */
  def expectsTasks: Boolean = launches.nonEmpty

  /** What to ask DescribeTasks: at most a hundred a call (its limit). */
  def toDescribe: Seq[Seq[String]] = tasks.keys.toSeq.sorted.grouped(DescribeMax).toSeq

  /** Compare wants (executors by profile) with what there is. */
  def plan(wants: Map[Int, Int], now: Long): Step =
    overdue(now).andThen(_.retries(now)).andThen(_.surplus(wants, now)).andThen(_.deficit(wants, now)).result

  private def alive: Iterator[FleetTask] = tasks.valuesIterator.filterNot(ending).filterNot(silent)

  private def begin: Chain = Chain(this, Vector.empty)

  /** Tasks that did not register in time, are missing for too long, ended too slowly, or whose reason never came. */
  private def overdue(now: Long): Chain = tasks.values.toSeq.sortBy(_.executorId).foldLeft(begin) { (chain, task) =>
    task.phase match {
      case Phase.Starting if now - task.launchedAt >= limits.launchTimeout =>
        chain.andThen(_.dropStarting(task, now, s"executor ${task.executorId} did not register within " +
          s"${limits.launchTimeout / 1000} s (spark.fargate.launch.timeout): see its log and whether it may reach the driver"))
      case Phase.Starting if task.missingSince.exists(now - _ >= limits.missingTolerance) =>
        chain.andThen(_.dropStarting(task, now, s"ECS does not know the task of executor ${task.executorId}"))
      case Phase.Silent(since) if now - since >= limits.lossReasonTimeout =>
        chain.andThen { fleet =>
          // It may still run, cut off from us: it must not come back, nor cost.
          (fleet.put(task.copy(phase = Phase.Ending(now + limits.killGrace))), Seq(
            Stop(task.arn, "the driver lost its connection"),
            Lost(task.executorId, org.sparkvault.fargate.Ending(None, causedByApp = false,
              "the connection is gone and ECS could not say why in time"))))
        }
      case Phase.Ending(deadline) if now >= deadline =>
        chain.andThen(fleet => (fleet.put(task.copy(phase = Phase.Ending(now + limits.killGrace))),
          Seq(Stop(task.arn, "the application needs it no more"))))
      case _ => chain
    }
  }

  private def dropStarting(task: FleetTask, now: Long, why: String): Step = {
    val dropped = put(task.copy(phase = Phase.Ending(now + limits.killGrace)))
    val (counted, more) = dropped.startFailed(why)
    (counted, Seq(Stop(task.arn, "its executor did not register"), Lost(task.executorId,
      org.sparkvault.fargate.Ending(None, causedByApp = false, why, neverStarted = true))) ++ more)
  }

  /** Launches whose answer never came or was a throttle, once more under the same token. */
  private def retries(now: Long): Step = {
    val due = launches.values.filter(launch => launch.dueAt.exists(_ <= now)).toSeq
    due.foldLeft(begin) { (chain, launch) =>
      chain.andThen { fleet =>
        if (fleet.rate.available(now) < launch.count) (fleet, Nil)
        else (fleet.copy(rate = fleet.rate.take(launch.count, now),
          launches = fleet.launches.updated(launch.token, launch.copy(dueAt = None))),
          Seq(Launch(launch.token, launch.profile, launch.count)))
      }
    }.result
  }

  /** More than wanted: the youngest that have not registered go. Registered ones Spark itself asks for by name. */
  private def surplus(wants: Map[Int, Int], now: Long): Step = {
    val profiles = tasks.valuesIterator.map(_.profile).toSet
    profiles.toSeq.sorted.foldLeft(begin) { (chain, profile) =>
      val starting = tasks.values.filter(task => task.profile == profile && task.phase == Phase.Starting)
        .toSeq.sortBy(-_.executorId)
      val tooMany = alive.count(_.profile == profile) - wants.getOrElse(profile, 0)
      starting.take(math.max(0, tooMany)).foldLeft(chain) { (chain, task) =>
        chain.andThen(fleet => (fleet.put(task.copy(phase = Phase.Ending(now + limits.killGrace))),
          Seq(Stop(task.arn, "no longer wanted"), Lost(task.executorId,
            org.sparkvault.fargate.Ending(None, causedByApp = false, "no longer wanted before it started")))))
      }
    }.result
  }

  /** Fewer than wanted: full calls of ten, and a smaller one only where no more are wanted. */
  private def deficit(wants: Map[Int, Int], now: Long): Step =
    wants.toSeq.sortBy(_._1).foldLeft(begin) { case (chain, (profile, want)) =>
      Iterator.iterate((chain, true)) { case (chain, _) =>
        val fleet = chain.fleet
        val missing = math.min(want - fleet.has(profile), limits.pendingMax - fleet.pending)
        val count = math.min(missing, RunTaskMax)
        if (count <= 0 || now < fleet.notBefore || fleet.rate.available(now) < count) (chain, false)
        else (chain.andThen(_.launch(profile, count, now)), true)
      }.dropWhile(_._2).next()._1
    }.result

  private def launch(profile: Int, count: Int, now: Long): Step = {
    val token = f"$tokenPrefix-$nextToken%06d"
    (copy(nextToken = nextToken + 1, rate = rate.take(count, now),
      launches = launches.updated(token, PendingLaunch(token, profile, count, 0, None))),
      Seq(Launch(token, profile, count)))
  }

  /** RunTask answered: these tasks are there; `problem` says why others are not. */
  def launched(token: String, arns: Seq[String], problem: Option[LaunchProblem], now: Long): Step =
    launches.get(token).fold((this, Seq.empty[Action])) { launch =>
      val fresh = arns.filterNot(tasks.contains).zipWithIndex.map { case (arn, index) =>
        arn -> FleetTask(arn, nextExecutorId + index, launch.profile, now, Phase.Starting)
      }
      val grown = copy(tasks = tasks ++ fresh, launches = launches - token, rate = rate.accepted,
        nextExecutorId = nextExecutorId + fresh.size, refusals = 0,
        noRoomInARow = if (arns.nonEmpty && problem.isEmpty) 0 else noRoomInARow)
      problem.fold((grown, Seq.empty[Action]))(grown.later(_, now))
    }

  /** RunTask did not go through. */
  def launchFailed(token: String, problem: LaunchProblem, now: Long): Step =
    launches.get(token).fold((this, Seq.empty[Action])) { launch =>
      problem match {
        case LaunchProblem.Throttled => (again(launch, now).copy(rate = rate.throttled(now)), Nil)
        case LaunchProblem.Unknown => (again(launch.copy(uncertain = true), now), Nil)
        case other => copy(launches = launches - token).later(other, now)
      }
    }

  private def again(launch: PendingLaunch, now: Long): Fleet = {
    val pause = backOff(launch.attempt, FirstRetryMs, LastRetryMs, launch.token.hashCode)
    copy(launches = launches.updated(launch.token, launch.copy(attempt = launch.attempt + 1, dueAt = Some(now + pause))))
  }

  private def later(problem: LaunchProblem, now: Long): Step = problem match {
    case LaunchProblem.Refused(message) =>
      val next = copy(refusals = refusals + 1, notBefore = now + backOff(refusals, NoRoomFirstMs, NoRoomLastMs, refusals))
      (next, if (next.refusals >= RefusalsMax && tasks.isEmpty) Seq(GiveUp(s"ECS refuses to run executors: $message")) else Nil)
    case _ =>
      (copy(noRoomInARow = noRoomInARow + 1,
        notBefore = now + backOff(noRoomInARow, NoRoomFirstMs, NoRoomLastMs, noRoomInARow)), Nil)
  }

  /** An executor is registered with Spark. */
  def registered(executorId: Int): Fleet = byId(executorId).filter(_.phase == Phase.Starting).fold(this) { task =>
    put(task.copy(phase = Phase.Registered, missingSince = None)).copy(startFailures = 0, everRegistered = true)
  }

  /** Its connection is gone: ECS has to say why. False in the answer where nothing is awaited. */
  def disconnected(executorId: Int, now: Long): (Fleet, Boolean) =
    byId(executorId) match {
      case Some(task) if !ending(task) && !silent(task) => (put(task.copy(phase = Phase.Silent(now))), true)
      case Some(task) => (this, silent(task))
      case None => (this, false)
    }

  /** Spark has given these up and told them to end; StopTask follows for those that do not. */
  def killed(executorIds: Seq[Int], now: Long): Fleet = executorIds.flatMap(byId).foldLeft(this) { (fleet, task) =>
    if (ending(task)) fleet else fleet.put(task.copy(phase = Phase.Ending(now + limits.killGrace)))
  }

  /** What DescribeTasks says. */
  def observed(reports: Seq[TaskReport], now: Long): Step = reports.foldLeft(begin) { (chain, report) =>
    chain.andThen(_.observe(report, now))
  }.result

  private def observe(report: TaskReport, now: Long): Step = tasks.get(report.arn).fold((this, Seq.empty[Action])) { task =>
    if (report.ended) gone(task, org.sparkvault.fargate.Ending.of(report))
    else if (report.status != TaskReport.Missing) (put(task.copy(missingSince = None)), Nil)
    else {
      val since = task.missingSince.getOrElse(now)
      val overdue = now - since >= limits.missingTolerance
      task.phase match {
        case Phase.Ending(_) if overdue => (copy(tasks = tasks - task.arn), Nil) // ECS forgets the stopped after a while
        case _ => (put(task.copy(missingSince = Some(since))), Nil)
      }
    }
  }

  private def gone(task: FleetTask, why: org.sparkvault.fargate.Ending): Step = {
    val without = copy(tasks = tasks - task.arn)
    task.phase match {
      case Phase.Ending(_) => (without, Nil) // Spark was told when it was given up
      case Phase.Starting =>
        val (counted, more) =
          if (why.fatal && !everRegistered) (without, Seq(GiveUp(why.message))) else without.startFailed(why.message)
        (counted, Lost(task.executorId, why) +: more)
      case _ => (without, Seq(Lost(task.executorId, why)))
    }
  }

  private def startFailed(why: String): Step = {
    val failures = startFailures + 1
    val hopeless = failures >= limits.maxStartFailures && registered == 0
    (copy(startFailures = failures), if (!hopeless) Nil else Seq(GiveUp(
      s"$failures executors in a row did not start (spark.fargate.launch.maxFailures); the last: $why")))
  }

  private def byId(executorId: Int): Option[FleetTask] = tasks.valuesIterator.find(_.executorId == executorId)

  private def put(task: FleetTask): Fleet = copy(tasks = tasks.updated(task.arn, task))
}

object Fleet {

  /** ECS API reference: RunTask `count`, DescribeTasks `tasks`. */
  val RunTaskMax = 10
  val DescribeMax = 100

  private val FirstRetryMs = 200L
  private val LastRetryMs = 10000L
  private val NoRoomFirstMs = 1000L
  private val NoRoomLastMs = 15000L
  private val RefusalsMax = 3

  /** Exponential, capped, spread by up to a fifth so that applications do not call in step. */
  def backOff(attempt: Int, first: Long, last: Long, seed: Int): Long = {
    val pause = math.min(last.toDouble, first * math.pow(2, math.min(attempt, 20)))
    (pause * (1 + math.floorMod(seed, 21) / 100.0)).toLong
  }

  private def ending(task: FleetTask): Boolean = task.phase.isInstanceOf[Phase.Ending]

  private def silent(task: FleetTask): Boolean = task.phase.isInstanceOf[Phase.Silent]

  /** A fleet and what was decided on the way to it. */
  final private case class Chain(fleet: Fleet, actions: Vector[Action]) {
    def andThen(step: Fleet => (Fleet, Seq[Action])): Chain = {
      val (next, more) = step(fleet)
      Chain(next, actions ++ more)
    }

    def result: (Fleet, Seq[Action]) = (fleet, actions)
  }
}
