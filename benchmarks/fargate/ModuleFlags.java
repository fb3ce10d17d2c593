import org.apache.spark.launcher.JavaModuleOptions;

/** Prints the flags with which Spark's own launcher starts a JVM. */
public final class ModuleFlags {
  private ModuleFlags() {}

  public static void main(String[] arguments) {
    System.out.println(JavaModuleOptions.defaultModuleOptions());
  }
}
