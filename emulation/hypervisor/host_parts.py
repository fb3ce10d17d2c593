"""What a host with emulated enclaves has more than another: nitro-cli, vsock-proxy, and vsock for its programs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from spark_enclave_image.native_programs import compile_program
from spark_enclave_image.pinned_inputs import InputLock, InputStore

#: Where a host sees the hypervisor (`host/usr/bin/nitro-cli`, `vsock_over_unix.c`).
HOST_FOLDER: Final = "/var/lib/sparkvault-emulation/hypervisor"

_HERE: Final = Path(__file__).resolve().parent
#: For the C library of the hosts' Debian.
_LIBRARY_FLAGS: Final = ("-target", "x86_64-linux-gnu.2.36", "-shared", "-fPIC", "-Os", "-s", "-std=c11", "-Wall",
                         "-Wextra", "-Werror")  # fmt: skip


def host_parts() -> dict[str, tuple[bytes, int]]:
    """Path below the root → content and mode. Raises EifInputError where the library cannot be compiled."""
    library = compile_program(_HERE / "vsock_over_unix.c", InputLock.load(), InputStore(), _LIBRARY_FLAGS)
    parts = {"usr/lib/sparkvault-emulation/vsock-over-unix.so": (library.read_bytes(), 0o644)}
    root = _HERE / "host"
    for file in sorted(path for path in root.rglob("*") if path.is_file()):
        parts[str(file.relative_to(root))] = (file.read_bytes(), 0o755 if os.access(file, os.X_OK) else 0o644)
    return parts
