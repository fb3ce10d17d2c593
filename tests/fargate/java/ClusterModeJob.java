import java.util.ArrayList;
import java.util.List;
import org.apache.spark.SparkConf;
import org.apache.spark.SparkContext;
import org.apache.spark.api.java.JavaSparkContext;
import scala.Tuple2;

/** The scenario driver's job, as a program of its own: run, print, end. */
public final class ClusterModeJob {
  private ClusterModeJob() {}

  public static void main(String[] arguments) {
    SparkConf conf = new SparkConf().setAppName("cluster-mode");
    String secret = System.getenv("SCENARIO_SECRET");
    if (secret != null) {
      conf.set("spark.authenticate.secret", secret);
    }
    try (JavaSparkContext context = new JavaSparkContext(new SparkContext(conf))) {
      List<Integer> parts = new ArrayList<>();
      for (int part = 0; part < 8; part++) {
        parts.add(part);
      }
      List<Tuple2<Integer, Long>> sums = context.parallelize(parts, 8).flatMapToPair(part -> {
        List<Tuple2<Integer, Long>> pairs = new ArrayList<>();
        for (int record = 0; record < 500; record++) {
          long number = (long) part * 500 + record;
          pairs.add(new Tuple2<>((int) (number % 97), number));
        }
        return pairs.iterator();
      }).reduceByKey(Long::sum, 4).collect();
      long total = 0;
      for (Tuple2<Integer, Long> pair : sums) {
        total += pair._2();
      }
      System.out.println("on Spark " + context.version() + " the answer is " + sums.size() + ":" + total);
    }
  }
}
