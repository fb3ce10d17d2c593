package org.sparkvault.fargate

import org.scalatest.funsuite.AnyFunSuite

/** What is refused before anything runs, and how it is said. */
class FargateConfSuite extends AnyFunSuite {

  private val good = Map(
    "spark.fargate.container.image" -> "repository@sha256:0",
    "spark.fargate.executionRole" -> "arn:aws:iam::123456789012:role/execution",
    "spark.fargate.executor.subnets" -> "subnet-1, subnet-2",
    "spark.fargate.executor.securityGroups" -> "sg-1",
    "spark.authenticate" -> "true",
    "spark.network.crypto.enabled" -> "true",
    "spark.io.encryption.enabled" -> "true",
    "spark.authenticate.kms.key" -> "alias/key")

  private def problems(settings: Map[String, String], master: String = "spark-fargate://eu-central-1/spark"): Seq[String] =
    try { FargateConf.read(master, settings); Nil }
    catch { case refused: SettingsRefused => refused.problems }

  test("what is right is read, in the units that are needed") {
    val conf = FargateConf.read("spark-fargate://eu-central-1/spark", good + ("spark.fargate.report.interval" -> "5s"))
    assert(conf.region == "eu-central-1" && conf.cluster == "spark")
    assert(conf.list(Settings.Subnets) == Seq("subnet-1", "subnet-2"))
    assert(conf.millis(Settings.ReportInterval) == 5000)
  }

  test("an image that is not pinned is warned of") {
    def warnings(image: String) =
      FargateConf.read("spark-fargate://eu-central-1/spark", good + ("spark.fargate.container.image" -> image)).warnings
    assert(warnings("repository@sha256:0").isEmpty)
    assert(warnings("repository:latest").exists(_.contains("pin it")))
  }

  test("everything that is wrong is told at once") {
    val found = problems(good ++ Map("spark.fargate.executor.subnet" -> "x", "spark.fargate.stopTimeout" -> "10m",
      "spark.fargate.pending.max" -> "many", "spark.authenticate" -> "false") - "spark.fargate.executor.securityGroups")
    assert(found.size == 5)
    assert(found.exists(_.contains("the closest is spark.fargate.executor.subnets")))
  }

  test("without encryption nothing runs unless that is said") {
    val open = good - "spark.authenticate" - "spark.network.crypto.enabled" - "spark.authenticate.kms.key"
    assert(problems(open).size == 3)
    assert(problems(open + ("spark.fargate.insecure" -> "true")).isEmpty)
  }

  test("mixes of capacity are read") {
    assert(CapacityShare.parse("FARGATE:base=2:weight=1,FARGATE_SPOT:weight=4") ==
      Right(Seq(CapacityShare("FARGATE", 2, 1), CapacityShare("FARGATE_SPOT", 0, 4))))
    Seq("EC2", "FARGATE:weight=x", "FARGATE,FARGATE", "FARGATE:weight=0", "").foreach { value =>
      assert(CapacityShare.parse(value).isLeft, value)
    }
  }

  test("executors are fitted to the sizes that there are") {
    assert(FargateSize.fitting(4, 9011).contains(FargateSize(4096, 9216)))
    assert(FargateSize.fitting(3, 1000).contains(FargateSize(4096, 8192)))
    assert(FargateSize.fitting(4, 40000).contains(FargateSize(8192, 40960)))
    assert(FargateSize.fitting(32, 1000).isEmpty)
  }

  test("the old shuffle settings become Spark's own") {
    val mapped = FargateConf.shuffleStorage(Map("spark.shuffle.s3.enabled" -> "true", "spark.shuffle.s3.bucket" -> "b"), "app-1")
    assert(mapped("spark.storage.decommission.fallbackStorage.path") == "s3a://b/.sparkStaging/app-1/shuffle/")
  }
}
