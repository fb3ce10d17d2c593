"""The kernels that images start: AWS's for Nitro, pinned by digest; Debian's for the virtual machine of the tests."""

from __future__ import annotations

import json
import lzma
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from spark_enclave_image import debian_packages
from spark_enclave_image.errors import EifInputError
from spark_enclave_image.pinned_inputs import InputLock, InputStore, sha256_of

#: Where the package aws-nitro-enclaves-cli-devel puts them.
AWS_BLOBS_FOLDER: Final = Path("/usr/share/nitro_enclaves/blobs")
BLOB_PINS_FILE: Final = Path(__file__).parent.parent / "blobs" / "nitro-x86_64.json"
BLOB_NAMES: Final = ("bzImage", "cmdline", "nsm.ko")

#: The parent's address on vsock: AWS Nitro Enclaves User Guide; for a virtual machine its host (VMADDR_CID_HOST).
_NITRO_PARENT: Final = 3
_VM_HOST: Final = 2

#: A machine without console ends at once when it must, and takes nothing from firmware.
_VM_CMDLINE: Final = "console=ttyS0 reboot=t panic=-1 loglevel=4"
_VM_MODULES: Final = ("virtio_mmio", "vsock", "vmw_vsock_virtio_transport_common", "vmw_vsock_virtio_transport")
_SIMULATOR_MODULES: Final = ("cuse",)
_MODULES_FOLDER: Final = "usr/lib/modules"

_HOW_TO_PIN: Final = """\
The kernel, its command line and nsm.ko of AWS come with Amazon Linux 2023. On such a machine run

    sudo dnf install -y aws-nitro-enclaves-cli-devel
    sparkvault pins update --blobs /usr/share/nitro_enclaves/blobs

which checks them against the signed package and writes their SHA-256 to
assets/enclave/blobs/nitro-x86_64.json; commit that."""


class BlobsNotPinned(EifInputError):
    """AWS's kernel is not pinned, missing, or not the pinned one; the message says what to run where."""


@dataclass(frozen=True, slots=True)
class Module:
    """A kernel module: its place in the image and its data, not compressed."""

    path: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Kernel:
    """What boots an image. `blobs` are the SHA-256 of its files, as measurements.json records them."""

    image: Path
    cmdline: str
    modules: tuple[Module, ...]
    parent_cid: int
    blobs: dict[str, str]
    version: str
    simulator_modules: tuple[Module, ...] = ()


def nitro_kernel(folder: Path = AWS_BLOBS_FOLDER, pins_file: Path = BLOB_PINS_FILE) -> Kernel:
    """AWS's kernel out of that folder; raises BlobsNotPinned."""
    pins = read_blob_pins(pins_file)
    missing = [name for name in BLOB_NAMES if not pins.get(name)]
    if missing:
        raise BlobsNotPinned(
            f"No digest is pinned for {', '.join(missing)}, so no image for Nitro can be built.\n{_HOW_TO_PIN}"
        )
    for name in BLOB_NAMES:
        if not (folder / name).is_file():
            raise BlobsNotPinned(f"{folder / name} is missing.\n{_HOW_TO_PIN}")
        found = sha256_of(folder / name)
        if found != pins[name]:
            raise BlobsNotPinned(f"{folder / name} has the SHA-256 {found}, but {pins[name]} is pinned.\n{_HOW_TO_PIN}")
    return Kernel(
        image=folder / "bzImage",
        cmdline=(folder / "cmdline").read_text(encoding="ascii").strip(),
        modules=(Module(f"{_MODULES_FOLDER}/nsm.ko", (folder / "nsm.ko").read_bytes()),),
        parent_cid=_NITRO_PARENT,
        blobs={name: str(pins[name]) for name in BLOB_NAMES},
        version=pins.get("package") or "unknown",
    )


def read_blob_pins(path: Path = BLOB_PINS_FILE) -> dict[str, str | None]:
    """File name → SHA-256 or None, and `package`; raises BlobsNotPinned."""
    try:
        pins = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise BlobsNotPinned(f"The pins of AWS's kernel in {path} cannot be read: {error}.") from None
    if not isinstance(pins, dict) or not all(value is None or isinstance(value, str) for value in pins.values()):
        raise BlobsNotPinned(f"{path} is not a list of names and digests.")
    return pins


def vm_kernel(lock: InputLock, store: InputStore, cache: Path) -> Kernel:
    """Debian's kernel of the lock file, for QEMU. Raises EifInputError."""
    package = lock.debian["kernel-vm-test"][0]
    archive = store.debian(package, lock.snapshot)
    image = cache / f"vmlinuz-{package.sha256}"
    wanted = dict.fromkeys((*_VM_MODULES, *_SIMULATOR_MODULES), b"")
    for path, member, data in debian_packages.members(archive):
        name = PurePosixPath(path).name
        if path.startswith("boot/vmlinuz-") and not image.is_file():
            partial = image.with_suffix(".partial")
            partial.write_bytes(data)
            partial.replace(image)
        elif member.isfile() and name.split(".")[0] in wanted and ".ko" in name:
            wanted[name.split(".")[0]] = lzma.decompress(data) if name.endswith(".xz") else data
    absent = [name for name, data in wanted.items() if not data]
    if absent or not image.is_file():
        raise EifInputError(f"{package.name} has no {', '.join(absent) or 'kernel'}.")
    modules = {name: Module(f"{_MODULES_FOLDER}/{name}.ko", data) for name, data in wanted.items()}
    return Kernel(
        image=image,
        cmdline=_VM_CMDLINE,
        modules=tuple(modules[name] for name in _VM_MODULES),
        simulator_modules=tuple(modules[name] for name in _SIMULATOR_MODULES),
        parent_cid=_VM_HOST,
        blobs={"kernel": sha256_of(image)},
        version=package.version,
    )
