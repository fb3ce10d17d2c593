// Frames on standard input and output, as the README describes them.
package org.sparkvault.enclave

import java.io.{DataInputStream, EOFException, InputStream, OutputStream}
import java.nio.ByteBuffer
import java.nio.charset.StandardCharsets.UTF_8

import com.fasterxml.jackson.core.{JsonProcessingException, StreamReadFeature}
import com.fasterxml.jackson.databind.{DeserializationFeature, JsonNode}
import com.fasterxml.jackson.databind.json.JsonMapper
import com.fasterxml.jackson.databind.node.ObjectNode

object Frames {
  /** Bytes of a frame towards the worker: a table of many files, or a long query. */
  val MaxIn: Int = 64 * 1024 * 1024

  /** Bytes of a payload from the worker; longer Arrow messages are cut over several frames. */
  val MaxOut: Int = 4 * 1024 * 1024

  val json: JsonMapper = JsonMapper
    .builder()
    .enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION)
    .enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS)
    .build()
}

/** Reads the broker's messages; None at the end of the input. Raises BrokenProtocol. */
final class FrameReader(input: InputStream) {
  private val data = new DataInputStream(input)

  def next(): Option[JsonNode] = {
    val first = data.read()
    if (first < 0) return None
    try {
      val rest = data.readNBytes(3)
      if (rest.length < 3) throw new EOFException
      val length = ByteBuffer.allocate(4).put(first.toByte).put(rest).getInt(0)
      if (length < 1 || length > Frames.MaxIn) throw new BrokenProtocol("a frame of a length that is not allowed")
      if (data.read() != 'J') throw new BrokenProtocol("a frame that is not JSON")
      val payload = data.readNBytes(length - 1)
      if (payload.length < length - 1) throw new EOFException
      val message = Frames.json.readTree(payload)
      if (!message.isObject) throw new BrokenProtocol("a message that is not an object")
      Some(message)
    } catch {
      case _: EOFException => throw new BrokenProtocol("the input ends within a frame")
      case _: JsonProcessingException => throw new BrokenProtocol("a message that is not JSON")
    }
  }
}

/** Writes frames; every call is whole and in order, whichever thread it comes from. */
final class FrameWriter(output: OutputStream) {
  def json(fields: ObjectNode => Unit): Unit = {
    val message = Frames.json.createObjectNode()
    fields(message)
    write('J', message.toString.getBytes(UTF_8))
  }

  /** Bytes of an Arrow stream, over as many frames as they need. */
  def binary(bytes: Array[Byte]): Unit =
    bytes.grouped(Frames.MaxOut).foreach(write('B', _))

  private def write(kind: Char, payload: Array[Byte]): Unit = synchronized {
    output.write(ByteBuffer.allocate(5).putInt(payload.length + 1).put(kind.toByte).array)
    output.write(payload)
    output.flush()
  }
}
