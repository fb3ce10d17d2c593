package org.apache.spark.deploy.fargate

import org.sparkvault.fargate.{AuthSecret, Ending, FargateConf, SecretRefused, Settings, TaskMetadata}

import org.apache.spark.deploy.SparkSubmit
import org.apache.spark.scheduler.cluster.fargate.FargateClusterManager

/**
 * The process in a driver's container, and of whoever runs a driver in client mode: spark-submit with the secret in place.
 *
 * Arguments are spark-submit's. With `SPARK_FARGATE_CIPHERTEXT` the secret is opened; else, with a key, a new one is made.
 */
object FargateDriver {

  private val ConnectServer = "org.apache.spark.sql.connect.service.SparkConnectServer"

  def main(arguments: Array[String]): Unit = {
    val asked = SubmitArguments.settings(arguments.toList)
    val tenant = sys.env.getOrElse("SPARK_FARGATE_TENANT", asked.getOrElse(Settings.Tenant.name, Settings.Tenant.default))
    val application = sys.env.get("SPARK_FARGATE_APPLICATION").orElse(asked.get("spark.app.id"))
      .getOrElse(FargateClusterManager.newApplicationId())
    put("spark.app.id", application)
    put(Settings.Tenant.name, tenant)
    TaskMetadata.read().foreach { task =>
      put("spark.driver.host", task.address)
      put("spark.driver.bindAddress", task.address)
    }
    if (!asked.get(Settings.Insecure.name).contains("true")) {
      Seq("spark.authenticate", "spark.network.crypto.enabled", "spark.io.encryption.enabled").foreach(put(_, "true"))
      val key = sys.env.get("SPARK_FARGATE_KEY").orElse(asked.get(Settings.Key.name))
      val region = sys.env.get("SPARK_FARGATE_REGION").orElse(asked.get("--master").flatMap(FargateDriver.region))
      (key, region) match {
        case (Some(key), Some(region)) =>
          val secret = unlock(AuthSecret(region, key, tenant, application))
          if (asked.get("--class").contains(ConnectServer)) put("spark.connect.authenticate.token", AuthSecret.connectToken(secret))
        case _ => end(s"${Settings.Key.name} and a master spark-fargate://REGION/CLUSTER are needed: " +
            s"the secret between driver and executors travels under that key (or ${Settings.Insecure.name}=true)")
      }
    }
    SparkSubmit.main(arguments)
  }

  private def unlock(wrapped: AuthSecret): String =
    try {
      val (secret, ciphertext) = sys.env.get("SPARK_FARGATE_CIPHERTEXT") match {
        case Some(ciphertext) => (wrapped.unwrap(ciphertext), ciphertext)
        case None => wrapped.fresh()
      }
      put("spark.authenticate.secret", secret)
      put(Settings.Key.name, wrapped.key)
      put(Settings.Ciphertext.name, ciphertext)
      secret
    } catch { case refused: SecretRefused => end(refused.getMessage) }

  private def region(master: String): Option[String] =
    if (FargateConf.isOurs(master)) Some(master.stripPrefix("spark-fargate://").takeWhile(_ != '/')).filter(_.nonEmpty)
    else None

  private def put(name: String, value: String): Unit = {
    System.setProperty(name, value)
    ()
  }

  private def end(why: String): Nothing = {
    System.err.println(s"the driver does not start: $why")
    System.exit(Ending.SecretRefused)
    throw new IllegalStateException("unreachable")
  }
}
