package org.apache.spark.scheduler.cluster.fargate

import org.scalatest.funsuite.AnyFunSuite

/** The parts of Spark that are no public API, and what is said where one is not there. */
class FittingSparkSuite extends AnyFunSuite {

  test("this Spark has everything that the plugin uses") { FittingSpark.check(org.apache.spark.SPARK_VERSION) }

  test("a member that is gone, or takes something else, is noticed") {
    val backend = "org.apache.spark.scheduler.cluster.CoarseGrainedSchedulerBackend"
    assert(!FittingSpark.has(backend, "doKillExecutors", Seq("java.lang.String")))
    assert(!FittingSpark.has(backend, "noSuchMember", Nil))
    assert(!FittingSpark.has("org.apache.spark.NoSuchClass", "run", Nil))
  }

  test("JVM options are parted as a shell would") {
    assert(ExecutorCommand.options("-Da=1 '-Db=x y' -Dc=\"z\"") == Seq("-Da=1", "-Db=x y", "-Dc=z"))
  }
}
