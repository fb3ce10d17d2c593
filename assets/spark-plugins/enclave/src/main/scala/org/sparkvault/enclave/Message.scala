// Fields of the broker's messages. The broker is trusted code: a field of the wrong form is a fault, and ends the
// worker.
package org.sparkvault.enclave

import scala.jdk.CollectionConverters._

import com.fasterxml.jackson.databind.JsonNode

object Message {
  def text(node: JsonNode, field: String): String = required(node, field, _.isTextual).asText

  def number(node: JsonNode, field: String): Long = required(node, field, _.canConvertToLong).asLong

  def flag(node: JsonNode, field: String): Boolean = required(node, field, _.isBoolean).asBoolean

  def list(node: JsonNode, field: String): Seq[JsonNode] = required(node, field, _.isArray).elements.asScala.toSeq

  def texts(node: JsonNode, field: String): Seq[String] = list(node, field).map { element =>
    if (element.isTextual) element.asText else throw new BrokenProtocol(s"the field $field")
  }

  def map(node: JsonNode, field: String): Map[String, JsonNode] =
    required(node, field, _.isObject).properties.asScala.map(entry => entry.getKey -> entry.getValue).toMap

  /** None where the field is absent or null. */
  def optional(node: JsonNode, field: String): Option[JsonNode] = Option(node.get(field)).filterNot(_.isNull)

  private def required(node: JsonNode, field: String, fits: JsonNode => Boolean): JsonNode =
    optional(node, field).filter(fits).getOrElse(throw new BrokenProtocol(s"the field $field"))
}
