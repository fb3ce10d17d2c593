"""This clone's own `sparkvault`, run by what stands around an emulated account."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from sparkvault.project import project_root


def sparkvault(
    *arguments: str, environment: Mapping[str, str], seconds: float, clone: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run it to its end, at most `seconds`, in that clone or this one; both outputs are kept together, without input.

    Raises subprocess.TimeoutExpired.
    """
    return subprocess.run(
        [sys.executable, "-m", "sparkvault", *arguments],
        cwd=clone or project_root(),
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=seconds,
        check=False,
    )
