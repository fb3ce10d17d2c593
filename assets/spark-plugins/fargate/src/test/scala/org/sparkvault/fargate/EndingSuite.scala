package org.sparkvault.fargate

import org.scalatest.funsuite.AnyFunSuite

/** Whether the tasks of a lost executor count a failure, for everything that ECS may say. */
class EndingSuite extends AnyFunSuite {

  private def of(stopCode: String, exitCode: Option[Int], stopped: String = "", container: String = ""): Ending =
    Ending.of(TaskReport("arn", "STOPPED", stopCode, stopped, exitCode, container))

  test("what AWS takes away is not the tasks' fault") {
    assert(!of("SpotInterruption", Some(137), "Your Spot Task was interrupted.").causedByApp)
    assert(!of("TerminationNotice", Some(143)).causedByApp)
    assert(!of("UserInitiated", Some(137)).causedByApp)
  }

  test("memory and exit codes are") {
    val memory = of("EssentialContainerExited", Some(137), container = "OutOfMemoryError: Container killed due to memory usage")
    assert(memory.causedByApp && memory.message.contains("spark.executor.memoryOverhead"))
    assert(of("EssentialContainerExited", Some(137)).causedByApp)
    assert(of("EssentialContainerExited", Some(52)).causedByApp)
  }

  test("heartbeats, SIGTERM and a normal end are not") {
    Seq(56, 143, 0).foreach(code => assert(!of("EssentialContainerExited", Some(code)).causedByApp))
  }

  test("what never started says how to mend it") {
    val pull = of("TaskFailedToStart", None, "CannotPullContainerError: not found")
    assert(pull.neverStarted && pull.message.contains("execution role"))
    val address = of("TaskFailedToStart", None, "InsufficientFreeAddressesInSubnet")
    assert(address.message.contains("larger ones in spark.fargate.executor.subnets"))
  }

  test("a secret that does not open is for good") { assert(of("EssentialContainerExited", Some(Ending.SecretRefused)).fatal) }

  test("a container that is over counts before ECS has taken the task apart") {
    assert(TaskReport("arn", "DEPROVISIONING", exitCode = Some(1)).ended)
    assert(!TaskReport("arn", "RUNNING").ended)
  }
}
