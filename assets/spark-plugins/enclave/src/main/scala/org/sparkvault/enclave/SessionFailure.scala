// Why something did not happen, in the form in which the broker and, sealed, the client learn it.
package org.sparkvault.enclave

/** Not done, because a rule forbids it. `rule` is stable and listed in the README; the message is for the client. */
final class Refused(val rule: String, message: String) extends RuntimeException(message)

/** Allowed, but it did not work out. `kind` is one of those in the README. */
final class Failed(val kind: String, message: String) extends RuntimeException(message)

/** The broker sent what is no frame or no message: there is nobody to answer to. */
final class BrokenProtocol(message: String) extends RuntimeException(message)

/** The worker's own remarks on standard error: fixed sentences and class names, never data. */
object Diagnostics {
  private val out = new java.io.PrintStream(new java.io.FileOutputStream(java.io.FileDescriptor.err), true, "UTF-8")

  /** One line. `sentence` must be a constant or built from class names and numbers only. */
  def warn(sentence: String): Unit = out.println(s"session worker: $sentence")
}
