import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.spark.SparkConf;
import org.apache.spark.SparkContext;
import org.apache.spark.api.java.JavaPairRDD;
import org.apache.spark.api.java.JavaSparkContext;
import org.apache.spark.scheduler.SparkListener;
import org.apache.spark.scheduler.SparkListenerTaskEnd;
import scala.Tuple2;

/** Shuffles, sits idle as somebody at a notebook does, and asks for the same shuffle's result again. */
public final class ShuffleDriver {
  private static final int MAPS = 8;
  private static final int REDUCES = 4;

  private ShuffleDriver() {}

  public static void main(String[] arguments) throws Exception {
    long idleSeconds = Long.parseLong(arguments[0]);
    AtomicInteger tasks = new AtomicInteger();
    try (JavaSparkContext context = new JavaSparkContext(new SparkContext(new SparkConf()))) {
      context.sc().addSparkListener(new SparkListener() {
        @Override
        public void onTaskEnd(SparkListenerTaskEnd event) {
          tasks.incrementAndGet();
        }
      });
      List<Integer> parts = new ArrayList<>();
      for (int part = 0; part < MAPS; part++) {
        parts.add(part);
      }
      JavaPairRDD<Integer, Long> shuffled = context.parallelize(parts, MAPS).flatMapToPair(part -> {
        List<Tuple2<Integer, Long>> pairs = new ArrayList<>();
        for (int record = 0; record < 20000; record++) {
          long number = part * 20000L + record;
          pairs.add(new Tuple2<>((int) (number % 997), number));
        }
        return pairs.iterator();
      }).reduceByKey(Long::sum, REDUCES);
      long first = sum(shuffled);
      say("first " + first);
      Thread.sleep(idleSeconds * 1000);
      Thread.sleep(500);
      int before = tasks.get();
      long second = sum(shuffled);
      Thread.sleep(500);
      say("second " + second);
      say("recomputed " + (tasks.get() - before - REDUCES));
    }
    say("over");
  }

  private static long sum(JavaPairRDD<Integer, Long> shuffled) {
    long total = 0;
    for (Tuple2<Integer, Long> pair : shuffled.collect()) {
      total += pair._2();
    }
    return total;
  }

  private static void say(String words) {
    System.out.println(words);
    System.out.flush();
  }
}
