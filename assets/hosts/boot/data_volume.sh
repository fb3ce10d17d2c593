# shellcheck shell=bash
# The encrypted volume for images, containers, shuffle and spill.

DATA_LABEL=sparkvault
DATA_FOLDER=/var/lib/docker

# disk_of DEVICE: the disk a partition is on, by its name in /sys/block.
disk_of() {
  local parent
  parent=$(lsblk --noheadings --nodeps --output PKNAME "$1")
  echo "${parent:-$(basename "$1")}"
}

# find_data_disks ROOT ROOT_DISK: the NVMe disks of EBS but that of the system, by name.
# Instance types with local disks have NVMe disks too; those are not encrypted under our key, and not ours to format.
find_data_disks() {
  local disk
  for disk in "$1/sys/block/nvme"*; do
    [[ -r $disk/device/model ]] || continue
    [[ $(< "$disk/device/model") == "Amazon Elastic Block Store"* ]] || continue
    [[ $(basename "$disk") == "$2" ]] || basename "$disk"
  done
}

# prepare_data_volume: find it, and format it if it is new. The unit var-lib-docker.mount mounts it, at every boot.
prepare_data_volume() {
  if mountpoint --quiet "$DATA_FOLDER"; then
    return 0
  fi
  local disks disk
  udevadm settle --timeout=60
  disks=$(find_data_disks "" "$(disk_of "$(findmnt --noheadings --output SOURCE /)")")
  [[ -n $disks ]] || fail "the data volume is not attached: there is no EBS disk beside that of the system"
  [[ $disks != *$'\n'* ]] || fail "which is the data volume? there are several EBS disks: ${disks//$'\n'/, }"
  disk=/dev/$disks
  # Never over something that is there: a signature means that this volume has been in use.
  if [[ -z $(blkid --probe --output value --match-tag TYPE "$disk" || true) ]]; then
    mkfs.xfs -q -L "$DATA_LABEL" "$disk" || fail "the data volume $disk could not be formatted"
  fi
  udevadm settle --timeout=60
  [[ $(blkid --probe --output value --match-tag LABEL "$disk" || true) == "$DATA_LABEL" ]] ||
    fail "the data volume $disk holds another file system, and is left alone"
}
