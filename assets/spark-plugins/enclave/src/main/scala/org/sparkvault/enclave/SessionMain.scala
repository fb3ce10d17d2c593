// The session worker: one session's Spark, on pipes. Started by the broker; see the README of this module.
package org.sparkvault.enclave

import java.io.{BufferedInputStream, BufferedOutputStream, FileDescriptor, FileInputStream, FileOutputStream}
import java.io.{OutputStream, PrintStream}

object SessionMain {
  def main(arguments: Array[String]): Unit = {
    val input = new BufferedInputStream(new FileInputStream(FileDescriptor.in), 1 << 16)
    val output = new BufferedOutputStream(new FileOutputStream(FileDescriptor.out), 1 << 16)
    // From here on nothing but frames can reach standard output, and no library's words standard error.
    val nowhere = new PrintStream(OutputStream.nullOutputStream())
    System.setOut(nowhere)
    System.setErr(nowhere)
    Thread.setDefaultUncaughtExceptionHandler { (_, error) =>
      Diagnostics.warn(s"a thread ended with ${error.getClass.getName}")
    }
    val code =
      try new Session(new FrameReader(input), new FrameWriter(output)).serve()
      catch {
        case error: BrokenProtocol => Diagnostics.warn(s"the broker sent ${error.getMessage}"); 2
        case error: Throwable => Diagnostics.warn(s"ended by ${error.getClass.getName}"); 3
      } finally SessionKeys.wipe()
    // Spark's threads are not waited for: what they hold is gone with the process.
    Runtime.getRuntime.halt(code)
  }
}
