package org.sparkvault.fargate

import org.scalacheck.{Gen, Prop, Test}
import org.scalatest.funsuite.AnyFunSuite

/** The allocator's decisions, against an ECS and a Spark that do at random what they may. */
class FleetSuite extends AnyFunSuite {

  private val limits = FleetLimits(pendingMax = 200, launchTimeout = 300000, missingTolerance = 60000,
    lossReasonTimeout = 20000, killGrace = 20000, maxStartFailures = 1000000)

  private def fresh = Fleet(limits, "app", LaunchRate.full(0))

  /** Executors that Spark believes in, ECS's tasks, and everything that was decided. */
  private class Surroundings(seed: Long) {
    private val random = new scala.util.Random(seed)
    var fleet: Fleet = fresh
    var now = 0L
    var wants = Map(0 -> 0)
    var tokens = Map.empty[String, Seq[String]]
    var existing = Set.empty[String]
    var stopped = Set.empty[String]
    var lost = Vector.empty[Int]
    var launches = Vector.empty[(Long, Int)]
    var inFlight = Vector.empty[Action.Launch]

    def apply(step: (Fleet, Seq[Action])): Unit = {
      fleet = step._1
      step._2.foreach {
        case launch: Action.Launch => inFlight :+= launch
        case Action.Stop(arn, _) => stopped += arn
        case Action.Lost(executorId, _) => lost :+= executorId
        case _ => ()
      }
    }

    private def run(launch: Action.Launch): Seq[String] = tokens.getOrElse(launch.token, {
      val arns = (1 to launch.count).map(number => s"arn/${launch.token}/$number")
      tokens += launch.token -> arns
      existing ++= arns
      launches :+= (now -> launch.count)
      arns
    })

    def answerOne(healthy: Boolean): Unit = inFlight.headOption.foreach { launch =>
      inFlight = inFlight.tail
      (if (healthy) 0 else random.nextInt(6)) match {
        case 1 => apply(fleet.launchFailed(launch.token, LaunchProblem.Throttled, now))
        case 2 => run(launch); apply(fleet.launchFailed(launch.token, LaunchProblem.Unknown, now)) // the answer was lost
        case 3 if !tokens.contains(launch.token) => apply(fleet.launchFailed(launch.token, LaunchProblem.NoRoom("none"), now))
        case _ => apply(fleet.launched(launch.token, run(launch), None, now))
      }
    }

    def observe(healthy: Boolean): Unit = fleet.toDescribe.foreach { arns =>
      apply(fleet.observed(arns.map { arn =>
        if (!existing(arn) || stopped(arn)) TaskReport(arn, "STOPPED", "UserInitiated", "", Some(143))
        else if (!healthy && random.nextInt(8) == 0) TaskReport(arn, TaskReport.Missing)
        else if (!healthy && random.nextInt(12) == 0) {
          existing -= arn
          TaskReport(arn, "STOPPED", "EssentialContainerExited", "", Some(1))
        } else TaskReport(arn, "RUNNING")
      }, now))
    }

    def register(): Unit = fleet.tasks.values.filter(_.phase == Phase.Starting).take(5).foreach { task =>
      fleet = fleet.registered(task.executorId)
    }

    def turn(healthy: Boolean): Unit = {
      now += random.nextInt(1500)
      (if (healthy) random.nextInt(4) else random.nextInt(7)) match {
        case 0 => apply(fleet.plan(wants, now))
        case 1 => (1 to 4).foreach(_ => answerOne(healthy))
        case 2 => observe(healthy)
        case 3 => register()
        case 4 => wants = Map(0 -> random.nextInt(60), 1 -> random.nextInt(20))
        case 5 => fleet.tasks.values.find(_.phase == Phase.Registered).foreach { task =>
            fleet = fleet.disconnected(task.executorId, now)._1
          }
        case _ => fleet = fleet.killed(fleet.tasks.values.take(2).map(_.executorId).toSeq, now)
      }
    }
  }

  private def holds(prop: Prop, runs: Int = 150): Unit = {
    val result = Test.check(Test.Parameters.default.withMinSuccessfulTests(runs), prop)
    assert(result.passed, result.status)
  }

  test("whatever happens, never more launched than AWS lets, never more pending than allowed, nobody lost twice") {
    holds(Prop.forAll(Gen.long) { seed =>
      val world = new Surroundings(seed)
      (1 to 400).foreach { _ =>
        world.turn(healthy = false)
        assert(world.fleet.pending <= limits.pendingMax)
        assert(world.inFlight.forall(_.count <= Fleet.RunTaskMax))
        assert(world.fleet.toDescribe.forall(_.size <= Fleet.DescribeMax))
      }
      val ids = world.fleet.tasks.values.map(_.executorId).toSeq
      assert(ids.distinct == ids, "an id for each executor")
      assert(world.lost.distinct == world.lost, "each is reported once")
      val starts = world.launches.map(_._1).distinct
      starts.foreach { from =>
        val window = world.launches.filter { case (at, _) => at >= from && at < from + 10000 }.map(_._2).sum
        assert(window <= LaunchRate.Burst + 10 * LaunchRate.PerSecond, "burst and rate")
      }
      true
    })
  }

  test("once everything goes well again, exactly what is wanted is there, and every other task was stopped") {
    holds(Prop.forAll(Gen.long) { seed =>
      val world = new Surroundings(seed)
      (1 to 200).foreach(_ => world.turn(healthy = false))
      (1 to 3000).foreach(_ => world.turn(healthy = true))
      val alive = world.fleet.tasks.values.filter(_.phase == Phase.Registered).groupBy(_.profile).view.mapValues(_.size).toMap
      world.wants.foreach { case (profile, want) =>
        assert(alive.getOrElse(profile, 0) >= want, s"$profile: $alive of ${world.wants}")
      }
      val known = world.fleet.tasks.keySet
      val forgotten = world.existing -- known -- world.stopped
      assert(forgotten.isEmpty, s"tasks that nobody looks after: $forgotten")
      true
    }, runs = 60)
  }

  test("a thousand executors take the fewest calls, as fast as AWS lets") {
    var fleet = Fleet(limits.copy(pendingMax = 2000), "app", LaunchRate.full(0))
    var calls = 0
    var now = 0L
    while (fleet.has(0) < 1000) {
      val (next, actions) = fleet.plan(Map(0 -> 1000), now)
      fleet = next
      actions.foreach { case Action.Launch(token, _, count) =>
          calls += 1
          fleet = fleet.launched(token, (1 to count).map(n => s"$token/$n"), None, now)._1
        case _ => ()
      }
      now += 500
    }
    assert(calls == 100)
    assert(now <= 46000)
  }

  test("a lost answer is asked for again under the same token, and launches nothing twice") {
    val (asked, actions) = fresh.plan(Map(0 -> 3), 0)
    val Seq(Action.Launch(token, _, 3)) = actions: @unchecked
    val (waiting, _) = asked.launchFailed(token, LaunchProblem.Unknown, 10)
    assert(waiting.plan(Map(0 -> 3), 20)._2.isEmpty)
    assert(waiting.plan(Map(0 -> 3), 5000)._2 == Seq(Action.Launch(token, 0, 3)))
  }

  test("what ECS refuses for good ends the application, what may pass does not") {
    def after(problem: LaunchProblem) = (1 to 5).foldLeft((fresh, Seq.empty[Action])) { case ((fleet, _), turn) =>
      val (next, actions) = fleet.plan(Map(0 -> 1), turn * 100000L)
      val Seq(Action.Launch(token, _, _)) = actions: @unchecked
      next.launchFailed(token, problem, turn * 100000L)
    }._2
    assert(after(LaunchProblem.NoRoom("no capacity")).isEmpty)
    assert(after(LaunchProblem.Refused("not authorized")) ==
      Seq(Action.GiveUp("ECS refuses to run executors: not authorized")))
  }

  test("a task that registers late is welcome until it was given up, then not") {
    val (asked, _) = fresh.plan(Map(0 -> 1), 0)
    val (fleet, _) = asked.launched("app-000001", Seq("arn/1"), None, 0)
    assert(fleet.welcomes(1) && fleet.executorOf("arn/1").contains(1))
    val (late, actions) = fleet.plan(Map(0 -> 1), limits.launchTimeout)
    assert(actions.exists { case Action.Stop("arn/1", _) => true; case _ => false })
    assert(!late.welcomes(1) && late.executorOf("arn/1").isEmpty)
  }
}
