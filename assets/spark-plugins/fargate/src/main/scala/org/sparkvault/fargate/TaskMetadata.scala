package org.sparkvault.fargate

import java.io.IOException
import java.net.{HttpURLConnection, URI}

import scala.jdk.CollectionConverters._

import com.fasterxml.jackson.databind.ObjectMapper

/** Who the task is that this process runs in: its ARN and its private address. */
final case class TaskMetadata(arn: String, address: String) {

  /** The last part of the ARN. */
  def id: String = arn.substring(arn.lastIndexOf('/') + 1)
}

object TaskMetadata {

  private val Tries = 10

  /** The task metadata endpoint, version 4 (ECS developer guide); None outside ECS. Throws IOException. */
  def read(): Option[TaskMetadata] = sys.env.get("ECS_CONTAINER_METADATA_URI_V4").map { address =>
    def attempt(left: Int): TaskMetadata =
      try ask(address)
      catch {
        // The address is there a moment later than the container, now and then.
        case _: IOException if left > 1 => Thread.sleep(500); attempt(left - 1)
      }
    attempt(Tries)
  }

  private def ask(address: String): TaskMetadata = {
    val connection = URI.create(s"$address/task").toURL.openConnection().asInstanceOf[HttpURLConnection]
    connection.setConnectTimeout(2000)
    connection.setReadTimeout(5000)
    val root = new ObjectMapper().readTree(connection.getInputStream)
    val addresses = for {
      container <- root.path("Containers").elements().asScala
      network <- container.path("Networks").elements().asScala
      address <- network.path("IPv4Addresses").elements().asScala
    } yield address.asText()
    val arn = root.path("TaskARN").asText()
    if (arn.isEmpty || addresses.isEmpty) throw new IOException(s"the task metadata at $address has no ARN or address (yet)")
    TaskMetadata(arn, addresses.next())
  }
}
