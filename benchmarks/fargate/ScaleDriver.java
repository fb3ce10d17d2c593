import java.io.BufferedReader;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.spark.SecurityManager;
import org.apache.spark.SparkConf;
import org.apache.spark.SparkContext;
import org.apache.spark.rpc.RpcEndpointRef;
import org.apache.spark.rpc.RpcEnv;
import org.apache.spark.scheduler.SparkListener;
import org.apache.spark.scheduler.SparkListenerExecutorAdded;
import org.apache.spark.scheduler.cluster.fargate.AskAgain$;
import org.apache.spark.scheduler.cluster.fargate.WhoAmI;
import org.apache.spark.scheduler.cluster.fargate.YouAre;
import scala.reflect.ClassTag;

/**
 * A driver that asks for many executors at once. Those without a process are registered from here, through the driver's own
 * network endpoint, by the messages that an executor sends.
 */
public final class ScaleDriver {
  private ScaleDriver() {}

  public static void main(String[] arguments) throws Exception {
    int wanted = Integer.parseInt(arguments[0]);
    SparkContext context = new SparkContext(new SparkConf());
    AtomicInteger registered = new AtomicInteger();
    context.addSparkListener(new SparkListener() {
      @Override
      public void onExecutorAdded(SparkListenerExecutorAdded event) {
        registered.incrementAndGet();
      }
    });
    Thread registrar = new Thread(() -> register(context, Path.of(arguments[1])), "registrar");
    registrar.setDaemon(true);
    registrar.start();
    context.requestTotalExecutors(wanted, 0, scala.collection.immutable.Map$.MODULE$.<String, Object>empty());
    say("asked");
    while (registered.get() < wanted) {
      Thread.sleep(20);
    }
    say("registered");
    Thread.sleep(60000);
  }

  private static void say(String word) {
    System.out.println(word);
    System.out.flush();
  }

  /** Follows the list of tasks that run without a process and registers an executor for each. */
  private static void register(SparkContext context, Path list) {
    try (BufferedReader lines = Files.newBufferedReader(list)) {
      SparkConf conf = context.getConf();
      RpcEnv rpc = RpcEnv.create("simulated", "127.0.0.1", "127.0.0.1", 0, conf, new SecurityManager(conf,
          scala.Option.empty(), org.apache.spark.internal.config.package$.MODULE$.AUTH_SECRET_FILE()), 2, false);
      RpcEndpointRef driver = rpc.setupEndpointRefByURI(
          "spark://CoarseGrainedScheduler@" + conf.get("spark.driver.host") + ":" + conf.get("spark.driver.port"));
      while (true) {
        String arn = lines.readLine();
        if (arn == null) {
          Thread.sleep(20);
          continue;
        }
        Object answer = AskAgain$.MODULE$;
        while (!(answer instanceof YouAre)) {
          answer = driver.askSync(new WhoAmI(arn), ClassTag.apply(Object.class));
          if (!(answer instanceof YouAre)) {
            Thread.sleep(10);
          }
        }
        SimulatedExecutor.register(rpc, driver, ((YouAre) answer).executorId());
      }
    } catch (Exception error) {
      error.printStackTrace();
      System.exit(1);
    }
  }
}
