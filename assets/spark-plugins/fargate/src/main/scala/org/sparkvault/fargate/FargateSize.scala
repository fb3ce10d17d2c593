package org.sparkvault.fargate

import scala.io.Source
import scala.util.Using

/**
 * A task size that Fargate offers.
 *
 * @param cpuUnits 1024 for one vCPU
 * @param memoryMib memory of the whole task in MiB
 */
final case class FargateSize(cpuUnits: Int, memoryMib: Int) {

  /** vCPU as people write them: 0.25, 1, 4. */
  def vcpu: String = if (cpuUnits % 1024 == 0) (cpuUnits / 1024).toString else (cpuUnits / 1024.0).toString
}

object FargateSize {

  /** Every size there is, smallest first. The file holds what `spark_constructs/fargate_sizes.py` says; a test compares. */
  val all: Seq[FargateSize] =
    Using.resource(Source.fromInputStream(getClass.getResourceAsStream("fargate-sizes.csv"), "UTF-8")) { file =>
      file.getLines().drop(1).toList.flatMap { line =>
        val Array(cpu, memories) = line.split(",", 2): @unchecked
        memories.split(" ").map(memory => FargateSize(cpu.toInt, memory.toInt))
      }
    }

  /** The smallest size with at least so many whole cores and MiB; None where Fargate has none so large. */
  def fitting(cores: Int, memoryMib: Long): Option[FargateSize] =
    all.filter(size => size.cpuUnits >= cores * 1024 && size.memoryMib >= memoryMib)
      .minByOption(size => (size.cpuUnits, size.memoryMib))

  /** What was rounded, for people. */
  def rounding(cores: Int, memoryMib: Long, size: FargateSize): String =
    if (size.cpuUnits == cores * 1024 && size.memoryMib == memoryMib) {
      s"${size.vcpu} vCPU and ${size.memoryMib} MiB, exactly what was asked for"
    } else {
      s"${size.vcpu} vCPU and ${size.memoryMib} MiB: the smallest size Fargate has for $cores cores and $memoryMib MiB " +
        s"(rounded up by ${size.memoryMib - memoryMib} MiB)"
    }
}
