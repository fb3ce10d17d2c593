#!/usr/bin/env bash
# Sets a new host up, once, in this order: packages, volume, enclaves' memory, Docker, everything else.
# Can be run again after a failure: each step leaves alone what is already as it should be.
set -Eeuo pipefail

BUNDLE=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# shellcheck source=failure.sh
source "$BUNDLE/boot/failure.sh"
# shellcheck source=host_identity.sh
source "$BUNDLE/boot/host_identity.sh"
# shellcheck source=enclave_reservation.sh
source "$BUNDLE/boot/enclave_reservation.sh"
# shellcheck source=data_volume.sh
source "$BUNDLE/boot/data_volume.sh"
# shellcheck source=units.sh
source "$BUNDLE/boot/units.sh"
# shellcheck source=yarn_programs.sh
source "$BUNDLE/boot/yarn_programs.sh"

rm -f "$FAILURE_FILE"
trap 'unexpected "$BASH_COMMAND" "$LINENO" "${BASH_SOURCE[0]}"' ERR

# load_distribution: what differs between distributions: packages and names of units.
load_distribution() {
  local release
  # shellcheck source=/dev/null
  release=$(. /etc/os-release && echo "$ID-$VERSION_ID")
  case $release in
    amzn-2023*)
      # shellcheck source=../distribution/amazon-linux-2023.sh
      source "$BUNDLE/distribution/amazon-linux-2023.sh"
      ;;
    *) fail "$release is not supported: this bundle knows Amazon Linux 2023" ;;
  esac
}

# set_kernel_parameters: all of them, or boot ends. At later boots systemd sets them by itself.
set_kernel_parameters() {
  install -m 0644 "$BUNDLE/sysctl/60-sparkvault.conf" /etc/sysctl.d/60-sparkvault.conf
  systemctl restart systemd-sysctl.service ||
    fail "kernel parameters could not be set: $(last_words systemd-sysctl.service)"
}

# reserve_enclave_memory: before Docker, which would break memory into pieces too small for huge pages.
reserve_enclave_memory() {
  local count memory_mib cpus
  count=$(host_value enclaves.count)
  memory_mib=$((count * $(host_value enclaves.memory_mib)))
  cpus=$((count * $(host_value enclaves.cpus)))
  check_allocator_config "" "$memory_mib" "$cpus" > /dev/null || write_allocator_config "" "$memory_mib" "$cpus"
  # Its drop-in runs bin/check-enclave-reservation, so that the unit fails where the allocator only says it succeeded.
  start_unit nitro-enclaves-allocator.service
}

# start_docker: with our configuration, on the encrypted volume, behind the metadata guard (see its drop-in).
start_docker() {
  if ! cmp --silent "$BUNDLE/docker/daemon.json" /etc/docker/daemon.json; then
    install -m 0644 -D "$BUNDLE/docker/daemon.json" /etc/docker/daemon.json
    # Some distributions start it as soon as it is installed.
    systemctl try-restart docker.service
  fi
  start_unit docker.service
}

# bound_agent: a host that does not get ready says why while its stack still waits for the signal.
bound_agent() {
  local timeout
  timeout=$(host_value boot_timeout_seconds)
  mkdir -p /etc/systemd/system/sparkvault-agent.service.d
  printf '[Service]\nTimeoutStartSec=%s\n' "$((${timeout:-900} * 3 / 4))" \
    > /etc/systemd/system/sparkvault-agent.service.d/20-boot-timeout.conf
}

role=$(host_value role)
enclaves=$(host_value enclaves.count)
mapfile -t folders < <(unit_folders "$BUNDLE" "$role" "$enclaves")

load_distribution
distribution_install_packages "$enclaves"
if [[ $role == yarn-* ]]; then
  distribution_install_yarn_packages "$role"
  fetch_yarn_programs
fi
chmod 0755 "$BUNDLE"/bin/*
# Once here, and not at each start of each program.
python3 -m compileall -q "$BUNDLE"
prepare_data_volume
install_units /etc/systemd/system "${folders[@]}"
bound_agent
systemctl daemon-reload
set_kernel_parameters
if [[ -n $enclaves ]]; then
  reserve_enclave_memory
fi
start_docker
start_unit "$DISTRIBUTION_CLOCK_UNIT"
if [[ $role == yarn-* ]]; then
  make_yarn_volume
fi
mapfile -t units < <(units_in "${folders[@]}")
for unit in "${units[@]}"; do
  start_unit "$unit"
done
echo "sparkvault: this $role is set up"
