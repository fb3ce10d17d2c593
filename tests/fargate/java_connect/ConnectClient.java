import org.apache.spark.sql.SparkSession;

/** A client of Spark Connect, led by SPARK_REMOTE alone: counts what the server's executors make. */
public final class ConnectClient {
  private ConnectClient() {}

  public static void main(String[] arguments) throws Exception {
    SparkSession spark = SparkSession.builder().config("spark.api.mode", "connect").getOrCreate();
    System.out.println("x" + spark.range(0, 1000, 1, 4).count() + "x by " + spark.getClass().getName());
    spark.close();
  }
}
