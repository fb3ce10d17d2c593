#!/usr/bin/env bash
# Starts what the image is for: master, worker or submit. Shared by all images.
set -euo pipefail

# The RPC secret comes as a file that the orchestrator mounts, never as an environment variable of the container or an
# argument, where `inspect` and `ps` would show it.
secret_file="${SPARK_SECRET_FILE:-/run/secrets/spark-rpc-secret}"
if [[ ! -r "${secret_file}" ]]; then
    echo "entrypoint: no RPC secret in ${secret_file}: mount one there; Spark does not start without it" >&2
    exit 78
fi

# Spark reads the secret from its configuration; a folder of our own that only this user can read holds it.
umask 077
SPARK_CONF_DIR="$(mktemp --directory)"
export SPARK_CONF_DIR
cp /opt/spark/conf/* "${SPARK_CONF_DIR}/"
printf 'spark.authenticate.secret %s\n' "$(<"${secret_file}")" >>"${SPARK_CONF_DIR}/spark-defaults.conf"

mode="${1:-}"
shift || true
case "${mode}" in
    master)
        exec spark-class org.apache.spark.deploy.master.Master \
            --host "${SPARK_MASTER_HOST:-$(hostname)}" --port 7077 --webui-port 8080 "$@"
        ;;
    worker)
        : "${SPARK_MASTER_URL:?entrypoint: name the master, for example spark://spark-master:7077}"
        exec spark-class org.apache.spark.deploy.worker.Worker \
            --cores "${CORES:-3}" --memory "${MEMORY:-6G}" --webui-port 8081 "$@" "${SPARK_MASTER_URL}"
        ;;
    submit)
        : "${SPARK_MASTER_URL:?entrypoint: name the master, for example spark://spark-master:7077}"
        exec spark-submit --master "${SPARK_MASTER_URL}" "$@"
        ;;
    *)
        echo "entrypoint: ${mode:-nothing} was asked for; this image knows master, worker and submit" >&2
        exit 64
        ;;
esac
