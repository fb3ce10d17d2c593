#!/usr/bin/env bash
# Exit code 0 if what this container runs answers; what that is, the entrypoint wrote down.
# It runs every few seconds for as long as the container lives: a shell takes a tenth of what Python's start takes.
set -euo pipefail

SECONDS_MOST=4

fail() { # MESSAGE
    echo "$1" >&2
    exit 1
}

# What a port says to a question; nothing is waited for where there is no question.
ask() { # HOST PORT [QUESTION]
    # shellcheck disable=SC2016 # the inner shell's own arguments
    timeout "${SECONDS_MOST}" bash -c 'exec 3<>"/dev/tcp/$1/$2"; [[ -z "$3" ]] || { printf "%b" "$3" >&3; cat <&3; }' \
        bash "$1" "$2" "${3:-}" 2>/dev/null || fail "nothing answers on port $2 of $1"
}

read -r kind port 2>/dev/null </tmp/sparkvault-mode || fail "nothing has been started yet"
case "${kind}" in
    master)
        state="$(ask "${SPARK_MASTER_HOST:-${HOSTNAME}}" "${port}" 'GET /json/ HTTP/1.0\r\n\r\n')"
        status='"status"[[:space:]]*:[[:space:]]*"(ALIVE|STANDBY|RECOVERING|COMPLETING_RECOVERY)"'
        [[ "${state}" =~ ${status} ]] || fail "the master does not say that it is alive"
        ;;
    worker)
        state="$(ask "${SPARK_WORKER_HOST:-${HOSTNAME}}" "${port}" 'GET /json/ HTTP/1.0\r\n\r\n')"
        registered='"masterurl"[[:space:]]*:[[:space:]]*"[^"]'
        [[ "${state}" =~ ${registered} ]] || fail "the worker has no master"
        ;;
    zookeeper)
        [[ "$(ask 127.0.0.1 "${port}" ruok)" == imok ]] || fail "ZooKeeper does not answer"
        ;;
    history) ask "${HOSTNAME}" "${port}" ;;
    connect) ask 127.0.0.1 "${port}" ;;
    # Applications have nothing that could be asked.
    *) ;;
esac
