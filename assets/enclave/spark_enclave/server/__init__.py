"""The broker inside the enclave: TLS, attestation, keys and sessions. It runs no Spark; each session's JVM does."""

import os

# gRPC reads this when it is imported. The broker starts programs and never forks itself: handlers get in the way.
os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "false"
