"""Whether this machine can run the engine, and what it lacks."""

from __future__ import annotations

import os
import shutil
import sys

from emulation.engine.errors import EngineMissing

#: Where Debian has dockerd and debootstrap; not on everybody's PATH.
PROGRAM_PATH = "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin"

#: Programs → Debian packages that bring them.
_NEEDED = {"dockerd": "docker.io", "debootstrap": "debootstrap", "setpriv": "util-linux"}


def check_machine() -> None:
    """Raises EngineMissing with all that is missing, and what mends it."""
    if sys.platform != "linux":
        raise EngineMissing("an engine of our own needs Linux", "run this on a Linux machine")
    if os.geteuid() != 0:
        raise EngineMissing("an engine of our own needs root", "run this as root")
    missing = {program: package for program, package in _NEEDED.items() if not find(program)}
    if missing:
        raise EngineMissing(
            f"these programs are not installed: {', '.join(sorted(missing))}",
            f"apt-get install {' '.join(sorted(set(missing.values())))}",
        )


def find(program: str) -> str | None:
    """Path of a system program."""
    return shutil.which(program, path=PROGRAM_PATH)
