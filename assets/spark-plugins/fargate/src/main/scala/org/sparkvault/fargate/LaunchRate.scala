package org.sparkvault.fargate

/**
 * A token bucket that slows down when AWS says so: how many tasks may be launched now.
 *
 * @param tokens tasks that may be launched at `at`
 * @param at milliseconds
 * @param rate tasks a second now, between `LaunchRate.Floor` and `LaunchRate.PerSecond`
 */
final case class LaunchRate(tokens: Double, at: Long, rate: Double) {

  /** The bucket at a later time. */
  def refilled(now: Long): LaunchRate =
    if (now <= at) this
    else copy(math.min(LaunchRate.Burst, tokens + rate * (now - at) / 1000.0), now)

  /** Whole tasks that may be launched at `now`. */
  def available(now: Long): Int = refilled(now).tokens.toInt

  /** The bucket after a launch of `count` tasks. */
  def take(count: Int, now: Long): LaunchRate = { val full = refilled(now); full.copy(tokens = full.tokens - count) }

  /** AWS throttled: half the rate, and nothing is saved up any more. */
  def throttled(now: Long): LaunchRate = {
    val full = refilled(now)
    full.copy(tokens = math.min(full.tokens, 0.0), rate = math.max(LaunchRate.Floor, rate / 2))
  }

  /** A call went through: a little faster again. */
  def accepted: LaunchRate = copy(rate = math.min(LaunchRate.PerSecond, rate + LaunchRate.Recovery))
}

object LaunchRate {

  /** Fargate's launch limits for an account and region: Amazon ECS developer guide, "AWS Fargate throttling limits". */
  val Burst = 100.0

  /** Tasks a second once the burst is used up; the same page. */
  val PerSecond = 20.0

  /** However often AWS throttles, a call a second is still tried: ten tasks. */
  val Floor = 4.0

  private val Recovery = 2.0

  /** A full bucket. */
  def full(now: Long): LaunchRate = LaunchRate(Burst, now, PerSecond)
}
