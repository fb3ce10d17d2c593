package org.sparkvault.fargate

import java.io.IOException
import java.net.{InetSocketAddress, Socket}

import scala.util.Using

/** Ends an executor whose driver cannot be reached any more, also when no connection ever broke: nothing costs for nobody. */
object DriverWatchdog {

  /** Watch from a thread of its own; `gone` is called once, after `timeoutMs` without an answer at that address. */
  def watch(host: String, port: Int, timeoutMs: Long)(gone: => Unit): Thread = {
    val pause = math.max(250L, timeoutMs / 4)
    val thread = new Thread(() => {
      var answered = System.nanoTime()
      var waiting = true
      while (waiting) {
        if (reachable(host, port, math.min(5000L, timeoutMs).toInt)) answered = System.nanoTime()
        if ((System.nanoTime() - answered) / 1000000 >= timeoutMs) { waiting = false; gone }
        else Thread.sleep(pause)
      }
    }, "fargate-driver-watchdog")
    thread.setDaemon(true)
    thread.start()
    thread
  }

  private def reachable(host: String, port: Int, timeoutMs: Int): Boolean =
    try { Using.resource(new Socket())(_.connect(new InetSocketAddress(host, port), timeoutMs)); true }
    catch { case _: IOException => false }
}
