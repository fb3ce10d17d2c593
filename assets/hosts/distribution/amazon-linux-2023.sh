# shellcheck shell=bash
# shellcheck disable=SC2034 # boot.sh reads them
# Amazon Linux 2023: dnf, cgroup v2, packages of the release that the machine image is pinned to.
# Another distribution is another file with the same names in it.

# The unit that keeps the clock, from the Amazon Time Sync Service.
DISTRIBUTION_CLOCK_UNIT=chronyd.service

# Docker, firewall rules for the metadata guard, the data volume's file system, the clock.
DISTRIBUTION_PACKAGES=(docker iptables-nft xfsprogs chrony)

# The allocator, nitro-cli and the vsock proxy; the allocator's script calls "file", the way to the enclave is socat's.
DISTRIBUTION_ENCLAVE_PACKAGES=(aws-nitro-enclaves-cli file socat)

# distribution_install_packages ENCLAVES: ENCLAVES is empty where the host has none.
distribution_install_packages() {
  local packages=("${DISTRIBUTION_PACKAGES[@]}")
  if [[ -n $1 ]]; then
    packages+=("${DISTRIBUTION_ENCLAVE_PACKAGES[@]}")
  fi
  # Packages come from Amazon Linux's own buckets through the S3 endpoint, signatures checked by dnf.
  dnf install --assumeyes --quiet --setopt=install_weak_deps=False --setopt=retries=10 "${packages[@]}" ||
    fail "dnf could not install ${packages[*]}"
}

# Java for Hadoop, Kerberos' programs, and what its archives are packed with; the realm itself is the master's.
DISTRIBUTION_YARN_PACKAGES=(java-17-amazon-corretto-headless krb5-workstation tar zstd)
DISTRIBUTION_YARN_MASTER_PACKAGES=(krb5-server)

# distribution_install_yarn_packages ROLE: in addition to what every host has.
distribution_install_yarn_packages() {
  local packages=("${DISTRIBUTION_YARN_PACKAGES[@]}")
  if [[ $1 == yarn-master ]]; then
    packages+=("${DISTRIBUTION_YARN_MASTER_PACKAGES[@]}")
  fi
  dnf install --assumeyes --quiet --setopt=install_weak_deps=False --setopt=retries=10 "${packages[@]}" ||
    fail "dnf could not install ${packages[*]}"
}
