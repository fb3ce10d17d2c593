// The keys of this session's files, and the one way by which Parquet's readers get at them.
package org.sparkvault.enclave

import java.util.concurrent.ConcurrentHashMap

import scala.jdk.CollectionConverters._

import org.apache.hadoop.conf.Configuration
import org.apache.hadoop.fs.Path
import org.apache.parquet.crypto.{DecryptionPropertiesFactory, FileDecryptionProperties, ParquetCryptoRuntimeException}

/** What opens one file, footer and columns alike: an AES key of 16 or 32 bytes, and the additional data that say which
 * table, version and file it is.
 */
final class FileKeys(val key: Array[Byte], val aadPrefix: Array[Byte]) {
  def wipe(): Unit = Seq(key, aadPrefix).foreach(java.util.Arrays.fill(_, 0.toByte))
}

/** The keys of this session by the path of the file. A JVM serves one session, so there is one registry and nobody to
 * share it with.
 */
object SessionKeys {
  private val byPath = new ConcurrentHashMap[String, FileKeys]

  def register(path: java.nio.file.Path, keys: FileKeys): Unit =
    byPath.put(path.toAbsolutePath.normalize.toString, keys)

  def forget(path: java.nio.file.Path): Unit =
    Option(byPath.remove(path.toAbsolutePath.normalize.toString)).foreach(_.wipe())

  def find(path: String): Option[FileKeys] = Option(byPath.get(path))

  /** Overwrites every key. Copies that Parquet made live until the JVM ends, which is the next thing that happens. */
  def wipe(): Unit = {
    byPath.values.asScala.foreach(_.wipe())
    byPath.clear()
  }
}

/** Parquet's decryption with this session's keys and nothing else.
  *
  * No key is ever looked up by what a file says about itself: there is no key retriever, so key metadata, key-service
  * names and addresses
  * in a file are not read. A file without keys here is not opened at all, a plaintext file neither, and a file whose
  * additional
  * data name another table, version or file fails authentication. Nothing is cached here.
  */
final class SessionDecryption extends DecryptionPropertiesFactory {
  override def getFileDecryptionProperties(configuration: Configuration, file: Path): FileDecryptionProperties = {
    val path = Path.getPathWithoutSchemeAndAuthority(file).toString
    val keys = SessionKeys
      .find(path)
      .getOrElse(throw new ParquetCryptoRuntimeException("a file that does not belong to this session"))
    FileDecryptionProperties.builder().withFooterKey(keys.key).withAADPrefix(keys.aadPrefix).build()
  }
}
