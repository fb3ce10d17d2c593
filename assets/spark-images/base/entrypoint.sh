#!/usr/bin/env bash
# Starts what the image is for: master, worker, submit, history, connect, shell or zookeeper. Shared by all images.
# The mode is the first argument, or SPARK_MODE. Only /tmp and /opt/spark/work-dir have to be writable.
set -euo pipefail

fail() { # CODE MESSAGE: sysexits.h, 64 wrong use, 78 wrong configuration
    echo "entrypoint: $2" >&2
    exit "$1"
}

mode="${1:-${SPARK_MODE:-}}"
shift || true

# `inspect` and `ps` show a container's environment and arguments: secrets come as files only.
for name in SPARK_AUTHENTICATE_SECRET SPARK_RPC_AUTHENTICATION_SECRET _SPARK_AUTH_SECRET; do
    if [[ -n "${!name:-}" ]]; then
        fail 78 "${name} holds a secret in the environment: mount it as a file and name that in SPARK_SECRET_FILE"
    fi
done
for argument in "$@"; do
    if [[ "${argument}" == *spark.authenticate.secret* ]]; then
        fail 78 "an argument holds the RPC secret: mount it as a file and name that in SPARK_SECRET_FILE"
    fi
done

# Settings from a container's variables, in a folder that only this user can read: the secret is among them.
settings() {
    umask 077
    local secret_file="${SPARK_SECRET_FILE:-/run/secrets/spark-rpc-secret}"
    if [[ ! -r "${secret_file}" ]]; then
        fail 78 "no RPC secret in ${secret_file}: mount one there; Spark does not start without it"
    fi
    # Scratch data goes where the orchestrator mounted something, not into the container's memory.
    export SPARK_LOCAL_DIRS="${SPARK_LOCAL_DIRS:-/opt/spark/work-dir/local}"
    export SPARK_WORKER_DIR="${SPARK_WORKER_DIR:-/opt/spark/work-dir/work}"
    mkdir -p "${SPARK_LOCAL_DIRS%%,*}"
    local given="${SPARK_CONF_DIR:-/opt/spark/conf}"
    SPARK_CONF_DIR="$(mktemp --directory)"
    export SPARK_CONF_DIR
    cp "${given}"/* "${SPARK_CONF_DIR}/"
    chmod -R u=rwX,go= "${SPARK_CONF_DIR}"
    conf="${SPARK_CONF_DIR}/spark-defaults.conf"
    set_from SPARK_S3_ENDPOINT spark.hadoop.fs.s3a.endpoint
    set_from AWS_ENDPOINT_URL_S3 spark.hadoop.fs.s3a.endpoint
    set_from AWS_REGION spark.hadoop.fs.s3a.endpoint.region
    set_from SPARK_WAREHOUSE spark.sql.warehouse.dir
    set_from SPARK_EVENT_LOG_DIR spark.eventLog.dir
    if [[ -n "${SPARK_EVENT_LOG_DIR:-}" ]]; then
        add spark.eventLog.enabled true
    fi
    if [[ -n "${SPARK_S3_KMS_KEY:-}" ]]; then
        add spark.hadoop.fs.s3a.encryption.algorithm SSE-KMS
        add spark.hadoop.fs.s3a.encryption.key "${SPARK_S3_KMS_KEY}"
    fi
    set_from SPARK_RECOVERY_MODE spark.deploy.recoveryMode
    set_from SPARK_RECOVERY_DIR spark.deploy.recoveryDirectory
    set_from SPARK_ZOOKEEPER_URL spark.deploy.zookeeper.url
    printf 'spark.authenticate.secret %s\n' "$(<"${secret_file}")" >>"${conf}"
}

set_from() { # VARIABLE SETTING
    if [[ -n "${!1:-}" ]]; then
        add "$2" "${!1}"
    fi
}

add() { # SETTING VALUE, which is one line and nothing else
    if [[ "$2" == *$'\n'* ]]; then
        fail 78 "the value of $1 is more than one line"
    fi
    printf '%s %s\n' "$1" "$2" >>"${conf}"
}

master_url() {
    if [[ -z "${SPARK_MASTER_URL:-}" ]]; then
        fail 78 "SPARK_MASTER_URL is not set: name the master, for example spark://spark-master:7077"
    fi
}

# A worker whose first question finds no master asks again only after 5 to 15 seconds: it is started once one listens.
# After so many seconds it starts anyway, and says itself what it cannot find.
wait_for_master() {
    local deadline=$((SECONDS + ${SPARK_MASTER_WAIT_SECONDS:-30})) addresses address
    IFS=, read -ra addresses <<<"${SPARK_MASTER_URL#spark://}"
    while ((SECONDS < deadline)); do
        for address in "${addresses[@]}"; do
            # shellcheck disable=SC2016 # the inner shell's own arguments
            if timeout 1 bash -c 'exec 3<>"/dev/tcp/$1/$2"' bash "${address%:*}" "${address##*:}" 2>/dev/null; then
                return
            fi
        done
        sleep 0.2
    done
}

# The health check looks into it: what should answer, and where.
healthy_when() { # KIND PORT
    printf '%s %s\n' "$1" "${2:-0}" >/tmp/sparkvault-mode
}

# Small daemons that compute little: the collector and the compiler that start fastest.
daemon() {
    export SPARK_DAEMON_MEMORY="${SPARK_DAEMON_MEMORY:-512m}"
    export SPARK_DAEMON_JAVA_OPTS="-XX:+UseSerialGC -XX:TieredStopAtLevel=1 -XX:-UsePerfData ${SPARK_DAEMON_JAVA_OPTS:-}"
}

case "${mode}" in
    master)
        settings
        daemon
        healthy_when master "${SPARK_MASTER_WEBUI_PORT:-8080}"
        exec spark-class org.apache.spark.deploy.master.Master --host "${SPARK_MASTER_HOST:-$(hostname)}" \
            --port "${SPARK_MASTER_PORT:-7077}" --webui-port "${SPARK_MASTER_WEBUI_PORT:-8080}" "$@"
        ;;
    worker)
        settings
        daemon
        master_url
        healthy_when worker "${SPARK_WORKER_WEBUI_PORT:-8081}"
        wait_for_master
        exec /opt/drain.sh spark-class org.apache.spark.deploy.worker.Worker \
            --host "${SPARK_WORKER_HOST:-$(hostname)}" \
            --cores "${SPARK_WORKER_CORES:-${CORES:-3}}" --memory "${SPARK_WORKER_MEMORY:-${MEMORY:-6G}}" \
            --work-dir "${SPARK_WORKER_DIR}" --webui-port "${SPARK_WORKER_WEBUI_PORT:-8081}" "$@" "${SPARK_MASTER_URL}"
        ;;
    submit)
        settings
        master_url
        healthy_when application
        exec spark-submit --master "${SPARK_MASTER_URL}" "$@"
        ;;
    history)
        settings
        daemon
        add spark.history.fs.logDirectory "${SPARK_HISTORY_LOG_DIR:-${SPARK_EVENT_LOG_DIR:-/opt/spark/work-dir/events}}"
        add spark.history.ui.port "${SPARK_HISTORY_UI_PORT:-18080}"
        healthy_when history "${SPARK_HISTORY_UI_PORT:-18080}"
        exec spark-class org.apache.spark.deploy.history.HistoryServer "$@"
        ;;
    connect)
        settings
        master_url
        # Whoever reaches the port may run anything: without a token it listens for this container alone.
        if [[ -n "${SPARK_CONNECT_TOKEN_FILE:-}" ]]; then
            add spark.connect.authenticate.token "$(<"${SPARK_CONNECT_TOKEN_FILE}")"
            add spark.connect.grpc.binding.address "${SPARK_CONNECT_HOST:-0.0.0.0}"
        else
            add spark.connect.grpc.binding.address 127.0.0.1
        fi
        healthy_when connect "${SPARK_CONNECT_PORT:-15002}"
        add spark.connect.grpc.binding.port "${SPARK_CONNECT_PORT:-15002}"
        exec spark-submit --master "${SPARK_MASTER_URL}" --name "Spark Connect" \
            --class org.apache.spark.sql.connect.service.SparkConnectServer "$@" spark-internal
        ;;
    shell)
        settings
        master_url
        language="${1:-python}"
        shift || true
        case "${language}" in
            python) program=pyspark ;;
            scala) program=spark-shell ;;
            sql) program=spark-sql ;;
            *) fail 64 "there is no shell for ${language}; there are python, scala and sql" ;;
        esac
        healthy_when application
        exec "${program}" --master "${SPARK_MASTER_URL}" "$@"
        ;;
    zookeeper)
        # From Spark's own jars: what three masters need to agree on one.
        umask 077
        data="${ZOO_DATA_DIR:-/opt/spark/work-dir/zookeeper}"
        mkdir -p "${data}"
        printf '%s\n' "${ZOO_MY_ID:-1}" >"${data}/myid"
        {
            printf 'dataDir=%s\nclientPort=%s\n' "${data}" "${ZOO_CLIENT_PORT:-2181}"
            printf 'tickTime=2000\ninitLimit=10\nsyncLimit=5\nadmin.enableServer=false\n'
            printf '4lw.commands.whitelist=ruok,srvr\nautopurge.purgeInterval=1\nautopurge.snapRetainCount=3\n'
            printf 'quorumListenOnAllIPs=true\n'
            # As ZooKeeper's own image takes them: `server.1=host:2888:3888;2181 server.2=…`
            for server in ${ZOO_SERVERS:-}; do
                printf '%s\n' "${server}"
            done
        } >/tmp/zoo.cfg
        healthy_when zookeeper "${ZOO_CLIENT_PORT:-2181}"
        exec java -Xmx"${SPARK_DAEMON_MEMORY:-256m}" -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -XX:-UsePerfData \
            -cp '/opt/spark/jars/*' org.apache.zookeeper.server.quorum.QuorumPeerMain /tmp/zoo.cfg
        ;;
    *)
        fail 64 "${mode:-nothing} was asked for; there are master, worker, submit, history, connect, shell, zookeeper"
        ;;
esac
