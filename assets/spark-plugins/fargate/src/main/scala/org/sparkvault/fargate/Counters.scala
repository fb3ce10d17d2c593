package org.sparkvault.fargate

import com.codahale.metrics.{Counter, MetricRegistry}

/** What is counted, for Spark's metrics system (source `fargate`). One for a JVM, as SparkContext is. */
object Counters {

  val registry = new MetricRegistry

  val throttled: Counter = registry.counter("throttled")
  val launched: Counter = registry.counter("tasksLaunched")
  val stopped: Counter = registry.counter("tasksStopped")
  val lost: Counter = registry.counter("executorsLost")

  /** Calls of one ECS action. */
  def calls(action: String): Counter = registry.counter(s"calls.$action")
}
