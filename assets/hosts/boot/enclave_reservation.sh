# shellcheck shell=bash
# Memory and CPUs that are set aside for enclaves: asking for them, and checking that they are really there.
#
# Every function takes the root of the file system first ("" on a host), so that it can be tried on any tree. Checks
# print the reason and return 1 where something is missing.

# write_allocator_config ROOT MEMORY_MIB CPUS: totals for all enclaves of the host.
# The allocator skips everything before the line "---"; without it, it would find nothing to allocate.
write_allocator_config() {
  local file="$1/etc/nitro_enclaves/allocator.yaml"
  mkdir -p "$(dirname "$file")"
  printf -- '---\nmemory_mib: %d\ncpu_count: %d\n' "$2" "$3" > "$file"
}

# check_allocator_config ROOT MEMORY_MIB CPUS: whether the file says what was asked for.
# Installing the allocator's package may have put its own file in place of ours.
check_allocator_config() {
  local file="$1/etc/nitro_enclaves/allocator.yaml"
  if [[ ! -r $file ]]; then
    echo "$file is missing"
    return 1
  fi
  if [[ $(grep --invert-match --max-count=1 '^[[:space:]]*#' "$file") != "---" ]]; then
    echo "$file does not start with '---', so the allocator would reserve nothing"
    return 1
  fi
  local key value
  for key in "memory_mib $2" "cpu_count $3"; do
    value=$(sed -n "s/^${key% *}:[[:space:]]*\([0-9]*\)[[:space:]]*$/\1/p" "$file")
    if [[ $value != "${key#* }" ]]; then
      echo "$file has ${key% *}: ${value:-nothing} where ${key#* } is wanted"
      return 1
    fi
  done
}

# enclave_cpus ROOT: the CPUs of the pool, one a line; the driver shows them as "2-3,6".
enclave_cpus() {
  local pool="$1/sys/module/nitro_enclaves/parameters/ne_cpus" range
  [[ -r $pool ]] || return 0
  tr ',' '\n' < "$pool" | while read -r range || [[ -n $range ]]; do
    if [[ $range =~ ^[0-9]+(-[0-9]+)?$ ]]; then
      seq "${range%-*}" "${range#*-}"
    fi
  done
}

# reserved_mib ROOT NODE: MiB of huge pages on a NUMA node, over all page sizes.
reserved_mib() {
  local total_kib=0 folder size
  for folder in "$1/sys/devices/system/node/$2/hugepages/hugepages-"*kB; do
    [[ -r $folder/nr_hugepages ]] || continue
    size=${folder##*-}
    total_kib=$((total_kib + ${size%kB} * $(< "$folder/nr_hugepages")))
  done
  echo $((total_kib / 1024))
}

# node_of_cpu ROOT CPU: the NUMA node a CPU belongs to; its link stays when the CPU is taken offline.
node_of_cpu() {
  local link
  for link in "$1/sys/devices/system/cpu/cpu$2/node"[0-9]*; do
    [[ -e $link ]] && basename "$link" && return 0
  done
  return 1
}

# check_enclave_cpus ROOT CPUS: whether the pool has so many CPUs, all of one NUMA node. Prints nothing if so.
check_enclave_cpus() {
  local cpus count nodes
  cpus=$(enclave_cpus "$1")
  count=$(grep -c . <<< "$cpus" || true)
  if ((count < $2)); then
    echo "the enclave CPU pool has $count CPUs where $2 are wanted"
    return 1
  fi
  nodes=$(for cpu in $cpus; do node_of_cpu "$1" "$cpu"; done | sort -u)
  if [[ $(grep -c . <<< "$nodes") -ne 1 ]]; then
    echo "the enclave CPU pool is spread over several NUMA nodes: ${nodes//$'\n'/, }"
    return 1
  fi
}

# check_enclave_memory ROOT MEMORY_MIB: whether the node of the pool's CPUs has so much memory in huge pages.
# An enclave gets CPUs and memory of one node, so pages on another node do not count.
check_enclave_memory() {
  local first='' node mib
  read -r first < <(enclave_cpus "$1") || true
  if [[ -z $first ]] || ! node=$(node_of_cpu "$1" "$first"); then
    echo "no NUMA node is known for the enclave CPU pool"
    return 1
  fi
  mib=$(reserved_mib "$1" "$node")
  if ((mib < $2)); then
    echo "$mib MiB of enclave memory are reserved on $node where $2 MiB are wanted"
    return 1
  fi
}

# check_enclave_reservation ROOT MEMORY_MIB CPUS: all of it. The allocator's own exit code does not tell.
check_enclave_reservation() {
  check_allocator_config "$1" "$2" "$3" && check_enclave_cpus "$1" "$3" && check_enclave_memory "$1" "$2"
}
