"""What emulated hosts need of this machine beside a Docker engine."""

from __future__ import annotations

import os
import shutil
import sys

from emulation.ec2.errors import Ec2EmulationError

#: Where Debian has them; not on everybody's PATH.
PROGRAM_PATH = "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin"

#: Programs → Debian packages that bring them.
_NEEDED = {"docker-registry": "docker-registry", "ip": "iproute2", "iptables": "iptables", "nsenter": "util-linux"}


def check_host_programs() -> None:
    """Raises `Ec2EmulationError` with all that is missing, and what mends it."""
    if sys.platform != "linux" or os.geteuid() != 0:
        raise Ec2EmulationError("emulated hosts need root: run this as root, on Linux")
    missing = {program: package for program, package in _NEEDED.items() if not shutil.which(program, path=PROGRAM_PATH)}
    if missing:
        raise Ec2EmulationError(
            f"emulated hosts need {', '.join(sorted(missing))}: apt-get install {' '.join(sorted(missing.values()))}"
        )
