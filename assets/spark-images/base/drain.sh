#!/usr/bin/env bash
# Runs a Spark worker, and has it hand over what its executors hold before it ends.
# SIGTERM or SIGPWR: decommission, wait until the executors are gone or SPARK_DRAIN_SECONDS (60) are over, end.
set -uo pipefail

"$@" &
worker=$!
draining=false

# shellcheck disable=SC2329 # called by drain
# Processes whose parent is the worker: its executors. The field after the last `)` is the state, then comes the parent.
executors() {
    local stat line count=0
    for stat in /proc/[0-9]*/stat; do
        if read -r line 2>/dev/null <"${stat}"; then
            # shellcheck disable=SC2086 # two words of a line of numbers
            set -- ${line##*)}
            if [[ "${2:-}" == "${worker}" && "${1:-}" != Z ]]; then
                count=$((count + 1))
            fi
        fi
    done
    echo "${count}"
}

# shellcheck disable=SC2329 # called by a trap
drain() {
    if [[ "${draining}" == true ]]; then
        return
    fi
    draining=true
    local deadline=$((SECONDS + ${SPARK_DRAIN_SECONDS:-60}))
    if kill -PWR "${worker}" 2>/dev/null; then
        echo "drain: the worker is decommissioned; its executors hand over what they hold" >&2
        while kill -0 "${worker}" 2>/dev/null && [[ "$(executors)" != 0 ]] && ((SECONDS < deadline)); do
            sleep 0.2
        done
        echo "drain: $(executors) executors are left" >&2
    fi
    kill -TERM "${worker}" 2>/dev/null
}

trap drain TERM PWR
trap 'kill -INT "${worker}" 2>/dev/null' INT
# A signal interrupts `wait`; the worker's own end is what counts.
while kill -0 "${worker}" 2>/dev/null; do
    wait "${worker}"
    code=$?
done
exit "${code:-0}"
