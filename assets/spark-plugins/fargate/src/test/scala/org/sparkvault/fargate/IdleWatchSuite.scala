package org.sparkvault.fargate

import java.util.Properties

import org.scalatest.funsuite.AnyFunSuite

import org.apache.spark.scheduler.{JobSucceeded, SparkListenerEvent, SparkListenerExecutorRemoved, SparkListenerJobEnd, SparkListenerJobStart}

/** What counts as use of a driver that waits for its person. */
class IdleWatchSuite extends AnyFunSuite {

  private var clock = 0L
  private def watch = new IdleWatch(1000, () => clock)

  test("a driver that runs nothing is over when its time is") {
    val idle = watch
    clock += 999
    assert(!idle.isOver)
    clock += 1
    assert(idle.isOver)
  }

  test("a job keeps it, however long, and its time begins when the job has ended") {
    val idle = watch
    idle.onJobStart(SparkListenerJobStart(1, clock, Nil, new Properties))
    clock += 100000
    assert(!idle.isOver)
    idle.onJobEnd(SparkListenerJobEnd(1, clock, JobSucceeded))
    clock += 999
    assert(!idle.isOver)
    clock += 1
    assert(idle.isOver)
  }

  test("queries count though they run no job, and executors that go do not") {
    val idle = watch
    clock += 900
    idle.onOtherEvent(org.apache.spark.sql.fargate.AQuery())
    clock += 900
    assert(!idle.isOver)
    idle.onExecutorRemoved(SparkListenerExecutorRemoved(clock, "1", "idle"))
    idle.onOtherEvent(new SparkListenerEvent {})
    clock += 100
    assert(idle.isOver)
  }
}
