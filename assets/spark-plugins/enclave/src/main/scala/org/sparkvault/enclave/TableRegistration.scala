// Takes a table into the session: every file is checked against the manifest before Spark or Parquet open it.
package org.sparkvault.enclave

import java.io.IOException
import java.nio.file.{Files, LinkOption, Path, Paths}
import java.security.{DigestInputStream, MessageDigest}
import java.util.{Base64, HexFormat}

import scala.jdk.CollectionConverters._
import scala.util.control.NonFatal

import com.fasterxml.jackson.databind.JsonNode
import org.apache.hadoop.fs.{Path => HadoopPath}
import org.apache.parquet.HadoopReadOptions
import org.apache.parquet.hadoop.ParquetFileReader
import org.apache.parquet.hadoop.metadata.FileMetaData.EncryptionType
import org.apache.parquet.hadoop.util.HadoopInputFile
import org.apache.spark.sql.{classic, DataFrame}
import org.apache.spark.sql.execution.datasources.parquet.ParquetToSparkSchemaConverter
import org.apache.spark.sql.sparkvault.SparkInternals
import org.apache.spark.sql.types.StructType

/** A file as the manifest describes it. */
final case class TableFile(path: Path, length: Long, sha256: String, keys: FileKeys)

/** A table of this session: its name in SQL, and the relation that stands for it. */
final class SessionTable(val name: String, val files: Seq[TableFile], val schema: StructType, val frame: DataFrame)

object TableRegistration {
  private val Name = "[a-z_][a-z0-9_]{0,62}".r
  private val FileName = "[a-z0-9][a-z0-9._-]{0,126}".r
  private val Sha256 = "[0-9a-f]{64}".r
  private val Magic = "PARE".getBytes("US-ASCII")

  /** Registers a table of a `tables` message. Raises Refused with the rules of the README; nothing stays registered
   * then.
   */
  def register(spark: classic.SparkSession, table: JsonNode, taken: Set[String]): SessionTable = {
    val name = Message.text(table, "name")
    if (!Name.matches(name)) {
      throw new Refused("table-name", "a table's name has lower-case letters, digits and underscores only, at most 63")
    }
    if (taken(name)) throw new Refused("table-name", s"there is a table $name in this session already")
    val files = filesOf(table, Paths.get(Message.text(table, "directory")))
    val schema = schemaOf(table)
    files.foreach(checkBytes)
    files.foreach(file => SessionKeys.register(file.path, file.keys))
    try {
      files.foreach(checkFooter(spark, _, schema))
      val frame = spark.read
        .schema(schema)
        .option("recursiveFileLookup", "true") // nothing about columns is read out of a path
        .parquet(files.map(_.path.toUri.toString): _*)
      new SessionTable(name, files, schema, frame)
    } catch {
      case NonFatal(error) => files.foreach(file => SessionKeys.forget(file.path)); throw error
    }
  }

  private def filesOf(table: JsonNode, directory: Path): Seq[TableFile] = {
    val files = Message.list(table, "files").map { file =>
      val name = Message.text(file, "name")
      val digest = Message.text(file, "sha256")
      if (!FileName.matches(name) || !Sha256.matches(digest)) throw new BrokenProtocol("a file's name or digest")
      val keys = new FileKeys(decoded(Message.text(file, "key")), decoded(Message.text(file, "aad_prefix")))
      if (keys.key.length != 16 && keys.key.length != 32) {
        throw new BrokenProtocol("a key of a length that is not allowed")
      }
      if (keys.aadPrefix.isEmpty) throw new BrokenProtocol("a file without additional data")
      TableFile(directory.resolve(name), Message.number(file, "length"), digest, keys)
    }
    if (files.isEmpty) throw new Refused("file-missing", "a table has at least one file")
    files
  }

  private def schemaOf(table: JsonNode): StructType =
    try SparkInternals.fromArrow(decoded(Message.text(table, "schema")))
    catch {
      case broken: BrokenProtocol => throw broken
      case NonFatal(_) => throw new Refused("schema", "the manifest's schema has types that Spark does not know")
    }

  /** Length, digest, and that both ends say "encrypted footer": of the very bytes that are in the enclave. */
  private def checkBytes(file: TableFile): Unit = {
    val name = file.path.getFileName
    if (!Files.isRegularFile(file.path, LinkOption.NOFOLLOW_LINKS)) {
      throw new Refused("file-missing", s"the file $name of the manifest is not there")
    }
    try {
      val length = Files.size(file.path)
      if (length != file.length) {
        throw new Refused("file-length", s"the file $name has $length bytes, the manifest says ${file.length}")
      }
      val digest = MessageDigest.getInstance("SHA-256")
      val input = new DigestInputStream(Files.newInputStream(file.path), digest)
      val (first, last) =
        try ends(input)
        finally input.close()
      if (HexFormat.of().formatHex(digest.digest()) != file.sha256) {
        throw new Refused("file-digest", s"the file $name is not the one that the manifest names")
      }
      if (!first.sameElements(Magic) || !last.sameElements(Magic)) {
        throw new Refused("file-plaintext", s"the file $name is not Parquet with an encrypted footer")
      }
    } catch {
      case _: IOException => throw new Refused("file-missing", s"the file $name cannot be read")
    }
  }

  /** The first and last four bytes; reads the whole. */
  private def ends(input: DigestInputStream): (Array[Byte], Array[Byte]) = {
    val first = input.readNBytes(4)
    var last = first
    val buffer = new Array[Byte](1 << 16)
    var count = input.readNBytes(buffer, 0, buffer.length)
    while (count > 0) {
      last = (last ++ buffer.slice(math.max(0, count - 4), count)).takeRight(4)
      count = input.readNBytes(buffer, 0, buffer.length)
    }
    (first, last)
  }

  /** The footer opens with this session's key for this table, version and file; columns are encrypted and of the
   * manifest's types.
   */
  private def checkFooter(spark: classic.SparkSession, file: TableFile, schema: StructType): Unit = {
    val name = file.path.getFileName
    val configuration = spark.sessionState.newHadoopConf()
    val footer =
      try {
        val path = new HadoopPath(file.path.toUri)
        val options = HadoopReadOptions.builder(configuration, path).build() // asks SessionDecryption for the keys
        val reader = ParquetFileReader.open(HadoopInputFile.fromPath(path, configuration), options)
        try reader.getFooter
        finally reader.close()
      } catch {
        case NonFatal(_) =>
          throw new Refused("file-key", s"the file $name does not open with the key of this table, version and file")
      }
    if (footer.getFileMetaData.getEncryptionType != EncryptionType.ENCRYPTED_FOOTER) {
      throw new Refused("file-plaintext", s"the footer of the file $name is not encrypted")
    }
    val columns = footer.getBlocks.asScala.flatMap(_.getColumns.asScala)
    // A chunk's own isEncrypted speaks of keys per column only; the decryptor knows of the footer's key, too.
    val decryptor = footer.getFileMetaData.getFileDecryptor
    columns.find(column => !decryptor.getColumnSetup(column.getPath).isEncrypted).foreach { column =>
      val path = column.getPath.toDotString
      throw new Refused("file-plaintext", s"the column $path of the file $name is not encrypted")
    }
    val found = new ParquetToSparkSchemaConverter(spark.sessionState.conf).convert(footer.getFileMetaData.getSchema)
    if (!SparkInternals.sameTypes(found, schema)) {
      throw new Refused("file-schema", s"the file $name does not have the columns that the manifest names")
    }
  }

  private def decoded(text: String): Array[Byte] =
    try Base64.getDecoder.decode(text)
    catch { case _: IllegalArgumentException => throw new BrokenProtocol("a value that is not base64") }
}
