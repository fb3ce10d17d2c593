"""The places where Spark runs. Each is one module that implements `protocol.Target`."""
