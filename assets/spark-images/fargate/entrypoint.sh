#!/usr/bin/env bash
# Runs what the task says, an executor's JVM or a driver's program, once nothing secret stands where it can be read.
set -euo pipefail

for name in SPARK_AUTHENTICATE_SECRET SPARK_RPC_AUTHENTICATION_SECRET _SPARK_AUTH_SECRET; do
    if [[ -n "${!name:-}" ]]; then
        echo "entrypoint: ${name} holds a secret in the environment: tasks get it wrapped by KMS, and unwrap it" >&2
        exit 78
    fi
done
for argument in "$@"; do
    if [[ "${argument}" == *spark.authenticate.secret* ]]; then
        echo "entrypoint: an argument holds the RPC secret: tasks get it wrapped by KMS, and unwrap it" >&2
        exit 78
    fi
done
if (($# == 0)); then
    echo "entrypoint: nothing to run: a task of the cluster says what, or give spark-submit and its arguments" >&2
    exit 64
fi
exec "$@"
