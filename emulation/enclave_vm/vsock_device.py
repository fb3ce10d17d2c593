"""Finds the program that gives QEMU a real vsock in user space, building it once where it is missing."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Final

from filelock import FileLock

from spark_enclave_image.pinned_inputs import cache_folder

CRATE: Final = "vhost-device-vsock"
VERSION: Final = "0.3.0"
_BUILD_SECONDS: Final = 1200


class VsockDeviceMissing(Exception):
    """The program is not there and cannot be built; the message says what to install."""


def vsock_device() -> Path:
    """The executable; the first call of a machine compiles it (minutes). Raises VsockDeviceMissing."""
    root = cache_folder() / "tools" / f"{CRATE}-{VERSION}"
    program = root / "bin" / CRATE
    if program.is_file():
        return program
    cargo = shutil.which("cargo") or shutil.which("cargo", path=str(Path.home() / ".cargo" / "bin"))
    if cargo is None:
        raise VsockDeviceMissing(f"{CRATE} is not built and there is no cargo; install Rust (https://rustup.rs).")
    root.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{root}.lock", timeout=_BUILD_SECONDS):
        if not program.is_file():
            command = [cargo, "install", CRATE, "--version", f"={VERSION}", "--locked", "--root", str(root)]
            done = subprocess.run(command, capture_output=True, text=True, timeout=_BUILD_SECONDS, check=False)
            if done.returncode != 0:
                raise VsockDeviceMissing(f"cargo cannot build {CRATE} {VERSION}: {done.stderr.strip()[-400:]}")
    return program
