"""Makes, starts and ends the containers that are emulated hosts, and gives them what a machine has."""

from __future__ import annotations

import contextlib
import io
import json
import re
import subprocess
import tarfile
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import docker
from docker.errors import APIError, NotFound

from emulation.ec2.errors import Ec2EmulationError
from emulation.ec2.host import DISK_VARIABLE, container_name
from emulation.ec2.host_image import host_image
from emulation.ec2.vpc_network import METADATA_ADDRESS, VpcNetwork
from emulation.hypervisor import HOST_FOLDER, Hypervisor, host_parts

#: Tag of instances that says what they are; the product's own (naming.py).
ROLE_TAG = "sparkvault:role"
VPC_LABEL = "sparkvault.emulation.vpc"
INSTANCE_LABEL = "sparkvault.emulation.instance"
OWNER_LABEL = "sparkvault.emulation.owner"
#: What this machine asks of gVisor beside `--platform=systrap`: it has no control groups that gVisor could write, and
#: gVisor's own network stack does not work in nested virtualization.
RUNSC_FLAGS = ("--ignore-cgroups", "--network=host")
#: What an ending host may take to shut down before its power goes.
SHUTDOWN_SECONDS = 25
#: How the container of a host that reboots itself ends: by SIGHUP (reboot(2), in a pid namespace).
REBOOT_EXIT_CODE = 129
#: Capabilities that a host must not have: its clock and kernel are this machine's. The rest as far as there are.
_WITHHELD = {"SYS_TIME", "SYS_MODULE", "WAKE_ALARM", "BLOCK_SUSPEND"}
_CAPABILITIES = (
    *("CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP"),
    *("LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER"),
    *("SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE"),
    *("SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP"),
    *("MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ"),
)  # in the order of linux/capability.h, as far as Docker 20.10 knows them


@dataclass(frozen=True)
class MachineOptions:
    """How emulated machines differ from each other."""

    disk_mib: int | None = None
    """Size of the data volume; None: as much as this machine has."""
    enclave_memory_mib: int | None = None
    """Memory that a host has for enclaves; None: 4096 for hosts that are enabled for enclaves."""
    registries: Mapping[str, bytes] = field(default_factory=dict)
    """Names of registries that answer beside the AWS endpoints → PEM of the authority that hosts trust for them."""


class Machines:
    """The containers of one emulation, in one engine."""

    def __init__(
        self, client: docker.DockerClient, image: str, owner: str, folder: Path, hypervisor: Hypervisor | None = None
    ) -> None:
        """`hypervisor` runs enclaves of hosts that are enabled for them; without one they can only reserve for them."""
        self._client = client
        self._image = image
        self._owner = owner
        self._folder = folder
        self._hypervisor = hypervisor
        self._building = threading.Lock()

    def create(self, instance: Mapping[str, Any], network: VpcNetwork, options: MachineOptions) -> None:
        """Make the host of an instance, unless it is there."""
        name = container_name(instance["id"])
        with contextlib.suppress(NotFound):
            self._client.api.inspect_container(name)
            return
        api = self._client.api
        volume, binds = ["/var/lib/docker"], []
        if options.disk_mib is not None:
            volume, binds = [], [f"{self._new_disk(instance['id'], options.disk_mib)}:/var/lib/docker"]
        yarn = str(instance["tags"].get(ROLE_TAG, "")).startswith("yarn-")
        parts: dict[str, tuple[bytes, int]] = {}
        if instance["enclaves"] and self._hypervisor is not None:
            binds.append(f"{self._hypervisor.attach(instance['id'])}:{HOST_FOLDER}")
            parts = host_parts()
        made = api.create_container(
            self._image_of(yarn),
            ["/usr/lib/sparkvault-emulation/init"],
            name=name,
            # Amazon Linux's host name is the whole private DNS name, and Kerberos' principals are made of it.
            hostname=str(instance["name"]) if yarn else str(instance["name"]).partition(".")[0],
            environment={"container": "docker"},
            volumes=volume,
            stop_signal="SIGRTMIN+3",
            labels={
                OWNER_LABEL: self._owner,
                VPC_LABEL: instance["vpc"],
                INSTANCE_LABEL: instance["id"],
            },
            host_config=api.create_host_config(
                cap_drop=["ALL"],
                cap_add=capabilities(),
                security_opt=["seccomp=unconfined", "apparmor=unconfined"],
                cgroupns="private",
                network_mode="none",
                binds=binds,
                dns=[network.resolver],
                dns_search=[str(instance["name"]).partition(".")[2]],
                extra_hosts=dict.fromkeys(options.registries, network.services),
                tmpfs={"/run": "exec,mode=755", "/run/lock": "", "/tmp": "exec,mode=1777"},  # noqa: S108 (the host's)
            ),
        )
        api.put_archive(made["Id"], "/", _files(instance, network, options, parts))

    def _image_of(self, yarn: bool) -> str:
        if not yarn:
            return self._image
        with self._building:
            return host_image(self._client, yarn=True)

    def start(self, instance_id: str) -> None:
        """Switch it on."""
        self._client.api.start(container_name(instance_id))

    def process(self, instance_id: str) -> int:
        """Process id of its first process on this machine; 0 while it is off."""
        with contextlib.suppress(NotFound):
            return int(self._client.api.inspect_container(container_name(instance_id))["State"]["Pid"])
        return 0

    def reboot(self, instance_id: str) -> None:
        """Press the button that asks the operating system to restart."""
        api = self._client.api
        started = api.exec_create(container_name(instance_id), ["systemctl", "--no-block", "reboot"])
        api.exec_start(started["Id"], detach=True)

    def stop(self, instance_id: str) -> None:
        """Shut it down, by force after a while; harmless when it is off or gone."""
        with contextlib.suppress(NotFound):
            self._client.api.stop(container_name(instance_id), timeout=SHUTDOWN_SECONDS)

    def remove(self, instance_id: str) -> None:
        """Take it away with its disks; harmless when it is gone."""
        with contextlib.suppress(NotFound):
            self._client.api.remove_container(container_name(instance_id), v=True, force=True)
        if self._hypervisor is not None:
            self._hypervisor.detach(instance_id)
        self._remove_disk(instance_id)

    def remove_all(self) -> None:
        """Take all of this emulation's hosts away, wherever they are."""
        wanted = {"label": f"{OWNER_LABEL}={self._owner}"}
        there = self._client.api.containers(all=True, filters=wanted)
        for container in there:
            with contextlib.suppress(NotFound, APIError):
                self._client.api.kill(container["Id"])
        # Their disks hold gigabytes each.
        with ThreadPoolExecutor() as pool:
            list(pool.map(self.remove, [container["Labels"][INSTANCE_LABEL] for container in there]))

    # --------------------------------------------------------------- disks
    def _new_disk(self, instance_id: str, size_mib: int) -> Path:
        image, mounted = self._disk(instance_id)
        mounted.mkdir(parents=True)
        with image.open("wb") as file:
            file.truncate(size_mib * 1024 * 1024)
        _run("mkfs.ext4", "-q", "-L", "sparkvault", str(image))
        _run("mount", "-o", "loop", str(image), str(mounted))
        return mounted

    def _remove_disk(self, instance_id: str) -> None:
        image, mounted = self._disk(instance_id)
        if image.exists():
            subprocess.run(["umount", "--lazy", str(mounted)], check=False, capture_output=True, timeout=60)
            image.unlink()
            with contextlib.suppress(OSError):
                mounted.rmdir()

    def _disk(self, instance_id: str) -> tuple[Path, Path]:
        return self._folder / f"{instance_id}.disk", self._folder / f"{instance_id}.mounted"


def environment(instance: Mapping[str, Any], network: VpcNetwork, options: MachineOptions) -> dict[str, str]:
    """What every unit of a host finds in its environment: by it, the AWS CLI reaches this AWS and no other."""
    found = {
        "AWS_ENDPOINT_URL": f"http://{network.services}",
        "AWS_EC2_METADATA_SERVICE_ENDPOINT": f"http://{METADATA_ADDRESS}",
        "NO_PROXY": "*",
    }
    if options.disk_mib is not None:
        found[DISK_VARIABLE] = str(options.disk_mib)
    return found


def capabilities() -> list[str]:
    """Every capability that this machine can give and a host may have, by Docker's names."""
    status = Path("/proc/self/status").read_text()
    match = re.search(r"^CapBnd:\s*([0-9a-f]+)$", status, re.MULTILINE)
    bounding = int(match[1], 16) if match else 0
    return [name for bit, name in enumerate(_CAPABILITIES) if bounding >> bit & 1 and name not in _WITHHELD]


def _files(
    instance: Mapping[str, Any],
    network: VpcNetwork,
    options: MachineOptions,
    parts: Mapping[str, tuple[bytes, int]],
) -> bytes:
    emulation: dict[str, Any] = {"esp": False, "ipvs": False, "runsc_flags": list(RUNSC_FLAGS)}
    if instance["enclaves"]:
        emulation["enclaves"] = {"memory_mib": options.enclave_memory_mib or 4096, "cpus": 4}
    units = " ".join(f'"{name}={value}"' for name, value in environment(instance, network, options).items())
    files = {
        "etc/sparkvault-emulation": json.dumps(emulation).encode() + b"\n",
        "etc/systemd/system.conf.d/10-emulation.conf": f"[Manager]\nDefaultEnvironment={units}\n".encode(),
        **{f"etc/docker/certs.d/{name}/ca.crt": pem for name, pem in options.registries.items()},
    }
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for path, (content, mode) in (
            {path: (content, 0o644) for path, content in files.items()} | dict(parts)
        ).items():
            entry = tarfile.TarInfo(path)
            entry.size, entry.mode = len(content), mode
            archive.addfile(entry, io.BytesIO(content))
    return packed.getvalue()


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    if done.returncode != 0:
        raise Ec2EmulationError(f"`{' '.join(command)}` ended with {done.returncode}: {done.stderr.strip()}")
