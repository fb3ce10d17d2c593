// Lists all that Spark's SQL has: every registered function, every plan node and every expression in the jars.

import java.io.File;
import java.lang.reflect.Modifier;
import java.util.TreeSet;
import java.util.zip.ZipFile;

/** Arguments: jar files. Prints lines "function NAME CLASS", "table-function NAME CLASS", "plan CLASS", "expression CLASS". */
public class SqlInventory {
  public static void main(String[] jars) throws Exception {
    System.setProperty("log4j2.level", "OFF");
    ClassLoader loader = SqlInventory.class.getClassLoader();
    registry("function", org.apache.spark.sql.catalyst.analysis.FunctionRegistry$.MODULE$.builtin());
    registry("table-function", org.apache.spark.sql.catalyst.analysis.TableFunctionRegistry$.MODULE$.builtin());
    Class<?> plan = Class.forName("org.apache.spark.sql.catalyst.plans.logical.LogicalPlan");
    Class<?> expression = Class.forName("org.apache.spark.sql.catalyst.expressions.Expression");
    TreeSet<String> found = new TreeSet<>();
    for (String jar : jars) {
      try (ZipFile zip = new ZipFile(new File(jar))) {
        for (var entries = zip.entries(); entries.hasMoreElements(); ) {
          String name = entries.nextElement().getName();
          if (!name.startsWith("org/apache/spark/sql/") || !name.endsWith(".class")) {
            continue;
          }
          Class<?> kind;
          try {
            kind = Class.forName(name.substring(0, name.length() - 6).replace('/', '.'), false, loader);
          } catch (LinkageError unloadable) {
            found.add("unloadable " + name); // the test knows which may be, and why
            continue;
          }
          if (Modifier.isAbstract(kind.getModifiers())) {
            continue;
          }
          if (plan.isAssignableFrom(kind)) {
            found.add("plan " + kind.getName());
          } else if (expression.isAssignableFrom(kind)) {
            found.add("expression " + kind.getName());
          }
        }
      }
    }
    found.forEach(System.out::println);
  }

  private static void registry(String kind, org.apache.spark.sql.catalyst.analysis.FunctionRegistryBase<?> registry) {
    var names = registry.listFunction();
    for (var each = names.iterator(); each.hasNext(); ) {
      var name = each.next();
      System.out.println(kind + " " + name.funcName() + " " + registry.lookupFunction(name).get().getClassName());
    }
  }
}
