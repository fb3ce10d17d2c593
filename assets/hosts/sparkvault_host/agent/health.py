"""What makes a host sick: its clock, its disk, its memory. Each must last before it counts."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

#: Seconds that something must be wrong before the host is given up.
LASTING_SECONDS = 60.0

#: Seconds by which the clock may be off: TLS, signatures of requests (5 minutes) and Kerberos need less.
CLOCK_SECONDS = 30.0
#: Percent of the volume of images and spill. Spark's own tasks fail first, and are done elsewhere.
DISK_PERCENT = 97.0
#: Percent of time in which some process waits for memory, over a minute (kernel documentation, "PSI").
MEMORY_PERCENT = 60.0

DATA_FOLDER = Path("/var/lib/docker")
_PRESSURE = Path("/proc/pressure/memory")


def troubles() -> dict[str, str]:
    """What is wrong right now, by kind; what cannot be measured here is not wrong."""
    found = {"clock": clock_trouble(), "disk": disk_trouble(DATA_FOLDER), "memory": memory_trouble(_PRESSURE)}
    return {kind: trouble for kind, trouble in found.items() if trouble}


def clock_trouble() -> str:
    """From chrony's own estimate."""
    try:
        done = subprocess.run(["chronyc", "-c", "tracking"], capture_output=True, text=True, timeout=10, check=False)
        offset = abs(float(done.stdout.split(",")[4]))
    except (OSError, subprocess.TimeoutExpired, ValueError, IndexError):
        return ""
    return f"the clock is off by {offset:.0f} s" if offset > CLOCK_SECONDS else ""


def disk_trouble(folder: Path) -> str:
    """Space that only root could still use counts as used: containers do not get it."""
    try:
        volume = os.statvfs(folder)
    except OSError as error:
        return f"{folder} cannot be read: {error.strerror}"
    used = volume.f_blocks - volume.f_bfree
    percent = 100.0 * used / max(1, used + volume.f_bavail)
    return f"{folder} is {percent:.0f} % full" if percent > DISK_PERCENT else ""


def memory_trouble(file: Path) -> str:
    """Kernels without pressure information say nothing."""
    try:
        first = file.read_text(encoding="ascii").splitlines()[0]
        percent = float(dict(part.split("=") for part in first.split()[1:])["avg60"])
    except (OSError, ValueError, KeyError, IndexError):
        return ""
    return f"processes wait for memory {percent:.0f} % of the time" if percent > MEMORY_PERCENT else ""


class Sickness:
    """Remembers since when something has been wrong."""

    def __init__(self, look: Callable[[], dict[str, str]] = troubles) -> None:
        self._look = look
        self._since: dict[str, float] = {}

    def reason(self, now: float) -> str:
        """What has been wrong for long enough; empty where nothing has."""
        wrong = self._look()
        self._since = {kind: self._since.get(kind, now) for kind in wrong}
        lasting = [wrong[kind] for kind, since in self._since.items() if now - since >= LASTING_SECONDS]
        return "; ".join(sorted(lasting))
