import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.spark.SparkConf;
import org.apache.spark.SparkContext;
import org.apache.spark.api.java.JavaPairRDD;
import org.apache.spark.api.java.JavaSparkContext;
import org.apache.spark.scheduler.SparkListener;
import org.apache.spark.scheduler.SparkListenerExecutorAdded;
import org.apache.spark.scheduler.SparkListenerExecutorRemoved;
import org.apache.spark.scheduler.SparkListenerTaskEnd;
import scala.Tuple2;

/** A Spark driver that is told what to do in lines of JSON, so that one JVM serves many scenarios, one context each. */
public final class ScenarioDriver {
  private static final ObjectMapper JSON = new ObjectMapper();
  private static JavaSparkContext context;
  private static JavaPairRDD<Integer, Long> shuffled;
  private static final Map<String, String> removed = new ConcurrentHashMap<>();
  private static final Map<String, String> links = new ConcurrentHashMap<>();
  private static final AtomicInteger tasksEnded = new AtomicInteger();
  private static final AtomicInteger registered = new AtomicInteger();

  private ScenarioDriver() {}

  public static void main(String[] arguments) throws Exception {
    BufferedReader input = new BufferedReader(new InputStreamReader(System.in));
    for (String line = input.readLine(); line != null; line = input.readLine()) {
      JsonNode wanted = JSON.readTree(line);
      if (wanted.path("do").asText().equals("job")) {
        Thread job = new Thread(() -> answer(wanted), "scenario-job");
        job.setDaemon(true);
        job.start();
      } else {
        answer(wanted);
      }
    }
    System.exit(0);
  }

  private static void answer(JsonNode wanted) {
    Map<String, Object> told = new TreeMap<>();
    told.put("id", wanted.path("id").asInt());
    try {
      switch (wanted.path("do").asText()) {
        case "start" -> told.put("application", start(wanted.path("conf")));
        case "job" -> told.put("answer", job(wanted));
        case "again" -> told.put("answer", sums());
        case "state" -> state(told);
        case "stop" -> context.stop();
        default -> throw new IllegalArgumentException("unknown command " + wanted);
      }
    } catch (Throwable error) {
      told.put("error", String.valueOf(error.getMessage()));
    }
    say(told);
  }

  private static synchronized void say(Map<String, Object> told) {
    try {
      System.out.println("@@ " + JSON.writeValueAsString(told));
    } catch (Exception error) {
      throw new IllegalStateException(error);
    }
  }

  private static String start(JsonNode settings) {
    SparkConf conf = new SparkConf();
    settings.fields().forEachRemaining(field -> conf.set(field.getKey(), field.getValue().asText()));
    removed.clear();
    links.clear();
    tasksEnded.set(0);
    registered.set(0);
    context = new JavaSparkContext(new SparkContext(conf));
    context.sc().addSparkListener(new SparkListener() {
      @Override
      public void onExecutorRemoved(SparkListenerExecutorRemoved event) {
        removed.put(event.executorId(), event.reason());
      }

      @Override
      public void onExecutorAdded(SparkListenerExecutorAdded event) {
        registered.incrementAndGet();
        scala.jdk.javaapi.CollectionConverters.asJava(event.executorInfo().logUrlMap()).forEach(links::put);
      }

      @Override
      public void onTaskEnd(SparkListenerTaskEnd event) {
        tasksEnded.incrementAndGet();
      }
    });
    return context.sc().applicationId();
  }

  /** Sums the numbers below maps x records by their remainder; the answer is known without Spark. */
  private static String job(JsonNode wanted) {
    int maps = wanted.path("maps").asInt();
    int records = wanted.path("records").asInt(1000);
    long pause = wanted.path("pause").asLong(0);
    List<Integer> parts = new ArrayList<>();
    for (int part = 0; part < maps; part++) {
      parts.add(part);
    }
    shuffled = context.parallelize(parts, maps).flatMapToPair(part -> {
      Thread.sleep(pause);
      List<Tuple2<Integer, Long>> pairs = new ArrayList<>();
      for (int record = 0; record < records; record++) {
        long number = (long) part * records + record;
        pairs.add(new Tuple2<>((int) (number % 97), number));
      }
      return pairs.iterator();
    }).reduceByKey(Long::sum, wanted.path("reduces").asInt(4));
    return sums();
  }

  private static String sums() {
    long total = 0;
    List<Tuple2<Integer, Long>> pairs = shuffled.collect();
    for (Tuple2<Integer, Long> pair : pairs) {
      total += pair._2();
    }
    return pairs.size() + ":" + total;
  }

  private static void state(Map<String, Object> told) {
    told.put("stopped", context == null || context.sc().isStopped());
    told.put("removed", new HashMap<>(removed));
    told.put("links", new HashMap<>(links));
    told.put("tasks", tasksEnded.get());
    told.put("registered", registered.get());
    told.put("executors", context == null || context.sc().isStopped()
        ? 0 : context.sc().statusTracker().getExecutorInfos().length - 1);
  }
}
