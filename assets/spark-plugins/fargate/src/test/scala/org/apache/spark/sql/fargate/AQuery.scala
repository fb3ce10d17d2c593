package org.apache.spark.sql.fargate

import org.apache.spark.scheduler.SparkListenerEvent

/** An event from where Spark SQL and Spark Connect have theirs. */
final case class AQuery() extends SparkListenerEvent
