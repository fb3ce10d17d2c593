package org.apache.spark.examples;

import java.util.Collections;
import org.apache.spark.SparkConf;
import org.apache.spark.api.java.JavaSparkContext;

/** Stands for Spark's own example of that name, which the package on PyPI leaves out of its wheel. */
public final class SparkPi {
  private SparkPi() {}

  public static void main(String[] arguments) {
    int slices = arguments.length > 0 ? Integer.parseInt(arguments[0]) : 2;
    try (JavaSparkContext context = new JavaSparkContext(new SparkConf().setAppName("Spark Pi"))) {
      // Leibniz's series, a slice of it in each task: the same answer each time.
      double quarter = context.parallelize(Collections.nCopies(slices, 0), slices).mapPartitionsWithIndex((slice, none) -> {
        double sum = 0;
        for (long term = slice; term < 200_000; term += slices) {
          sum += (term % 2 == 0 ? 1.0 : -1.0) / (2 * term + 1);
        }
        return Collections.singletonList(sum).iterator();
      }, false).reduce(Double::sum);
      System.out.println("Pi is roughly " + 4 * quarter);
    }
  }
}
