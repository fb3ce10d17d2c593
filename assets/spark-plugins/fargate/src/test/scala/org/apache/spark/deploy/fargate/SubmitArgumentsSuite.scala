package org.apache.spark.deploy.fargate

import org.scalatest.funsuite.AnyFunSuite

/** Whose words count: the person's last ones, and never the application's own. */
class SubmitArgumentsSuite extends AnyFunSuite {

  private def settings(words: String*): Map[String, String] = SubmitArguments.settings(words.toList)

  test("the last word wins") {
    assert(settings("--conf", "spark.a=1", "--conf", "spark.a=2", "app.jar") == Map("spark.a" -> "2"))
  }

  test("an application's arguments are its own") {
    assert(settings("--master", "m", "--class", "C", "app.jar", "--conf", "spark.fargate.insecure=true") ==
      Map("--master" -> "m", "--class" -> "C"))
  }

  test("flags without a value do not swallow the next word") {
    assert(settings("run-example", "--verbose", "--driver-memory", "8g", "SparkPi", "20") == Map("spark.driver.memory" -> "8g"))
  }
}
