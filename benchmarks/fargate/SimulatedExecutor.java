import java.io.Serializable;
import org.apache.spark.rpc.RpcEndpoint;
import org.apache.spark.rpc.RpcEndpointRef;
import org.apache.spark.rpc.RpcEnv;
import org.apache.spark.scheduler.cluster.CoarseGrainedClusterMessages.RegisterExecutor;
import scala.PartialFunction;
import scala.reflect.ClassTag;
import scala.runtime.AbstractPartialFunction;
import scala.runtime.BoxedUnit;

/** Registers as an executor does, and then listens to nothing. */
final class SimulatedExecutor implements RpcEndpoint {
  private final RpcEnv rpc;

  private SimulatedExecutor(RpcEnv rpc) {
    this.rpc = rpc;
  }

  @Override
  public RpcEnv rpcEnv() {
    return rpc;
  }

  @Override
  public PartialFunction<Object, BoxedUnit> receive() {
    return new Ignoring();
  }

  static void register(RpcEnv rpc, RpcEndpointRef driver, int executorId) {
    RpcEndpointRef self = rpc.setupEndpoint("Executor-" + executorId, new SimulatedExecutor(rpc));
    driver.askSync(new RegisterExecutor(String.valueOf(executorId), self, "127.0.0.1", 1, none(), none(), none(), 0),
        ClassTag.apply(Object.class));
  }

  private static <V> scala.collection.immutable.Map<String, V> none() {
    return scala.collection.immutable.Map$.MODULE$.<String, V>empty();
  }

  private static final class Ignoring extends AbstractPartialFunction<Object, BoxedUnit> implements Serializable {
    @Override
    public boolean isDefinedAt(Object message) {
      return true;
    }

    @Override
    public BoxedUnit apply(Object message) {
      return BoxedUnit.UNIT;
    }
  }
}
