"""The data volume is found among the disks, formatted when it is new, and never formatted over anything."""

from pathlib import Path

import pytest

from tests.support.boot_sandbox import BootSandbox

EBS = "Amazon Elastic Block Store"
LOCAL = "Amazon EC2 NVMe Instance Storage"

PREPARE = """
set -Eeuo pipefail
source {bundle}/boot/failure.sh
source {bundle}/boot/data_volume.sh
prepare_data_volume
"""


@pytest.fixture
def host(tmp_path: Path) -> BootSandbox:
    """A host with a new data volume beside a local disk, of which only the system's disk has anything on it."""
    sandbox = BootSandbox(tmp_path)
    sandbox.install_bundle()
    sandbox.disks({"nvme0n1": EBS, "nvme1n1": EBS, "nvme2n1": LOCAL})
    sandbox.stand_in("mountpoint", "exit 1")
    # A disk has the signature that formatting it gives.
    formatted = sandbox.root / "formatted"
    sandbox.stand_in("mkfs.xfs", f"touch {formatted}")
    sandbox.stand_in(
        "blkid", f'[ -e {formatted} ] || exit 2\ncase "$*" in *TYPE*) echo xfs;; *LABEL*) echo sparkvault;; esac'
    )
    return sandbox


def prepare(host: BootSandbox) -> int:
    return host.run("bash", "-c", PREPARE.format(bundle=host.bundle)).returncode


def formatted(host: BootSandbox) -> list[str]:
    return [call for call in host.calls if call.startswith("mkfs.xfs")]


def test_a_new_volume_is_formatted_with_the_label_that_is_mounted(host: BootSandbox) -> None:
    assert prepare(host) == 0
    assert formatted(host) == ["mkfs.xfs -q -L sparkvault /dev/nvme1n1"]
    assert "What=/dev/disk/by-label/sparkvault" in (host.bundle / "systemd/var-lib-docker.mount").read_text()


def test_a_second_boot_leaves_it_alone(host: BootSandbox) -> None:
    assert prepare(host) == 0
    assert prepare(host) == 0
    assert len(formatted(host)) == 1


def test_a_folder_that_is_a_volume_already_needs_none(host: BootSandbox) -> None:
    host.stand_in("mountpoint", "")
    host.disks({})
    assert prepare(host) == 0
    assert formatted(host) == []


def test_a_volume_with_another_file_system_is_left_alone(host: BootSandbox) -> None:
    host.stand_in("blkid", 'case "$*" in *TYPE*) echo ext4;; *LABEL*) echo somebodys;; esac')
    assert prepare(host) == 1
    assert formatted(host) == []
    assert host.reason() == "the data volume /dev/nvme1n1 holds another file system, and is left alone"


def test_a_missing_volume_is_the_reason(host: BootSandbox) -> None:
    (host.root / "sys/block/nvme1n1/device/model").unlink()
    assert prepare(host) == 1
    assert host.reason() == "the data volume is not attached: there is no EBS disk beside that of the system"


def test_two_volumes_are_not_guessed_between(host: BootSandbox) -> None:
    host.disks({"nvme3n1": EBS})
    assert prepare(host) == 1
    assert host.reason() == "which is the data volume? there are several EBS disks: nvme1n1, nvme3n1"
    assert formatted(host) == []


def test_the_systems_disk_is_found_wherever_it_is(host: BootSandbox) -> None:
    host.stand_in("findmnt", "echo /dev/nvme1n1p1")
    host.stand_in("lsblk", "echo nvme1n1")
    assert prepare(host) == 0
    assert formatted(host) == ["mkfs.xfs -q -L sparkvault /dev/nvme0n1"]
