"""The `docker` program for this engine: builds use the machine's network, as there is no default bridge."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from functools import cache

from emulation.engine.capability import PROGRAM_PATH
from emulation.engine.errors import EngineMissing
from emulation.engine.home import EngineHome


def write(home: EngineHome) -> str:
    """An executable that calls `docker`; for `CDK_DOCKER` and our own builds."""
    path = home.root / "docker"
    home.root.mkdir(parents=True, exist_ok=True)
    (home.root / "client").mkdir(exist_ok=True, mode=0o700)
    program, buildkit = _client()
    text = f"""#!/bin/sh
# Written by the engine for tests and the demo: `docker build` there has no other network than the machine's.
export DOCKER_HOST={shlex.quote(f"unix://{home.socket}")}
export DOCKER_CONFIG={shlex.quote(str(home.root / "client"))}
export DOCKER_BUILDKIT={int(buildkit)}
if [ "$1" = build ]; then
    shift
    set -- build --network host "$@"
fi
exec {shlex.quote(program)} "$@"
"""
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        partial = path.with_suffix(".partial")
        partial.write_text(text, encoding="utf-8")
        partial.chmod(0o700)
        partial.replace(path)
    return str(path)


@cache
def _client() -> tuple[str, bool]:
    """A docker client, and whether it can build with BuildKit: up to 22 by itself, later ones with buildx."""
    # Debian's own client first: a newer one without buildx has the old builder only.
    program = shutil.which("docker", path=f"/usr/bin:{PROGRAM_PATH}")
    if program is None:
        raise EngineMissing("the docker client is not installed", "apt-get install docker.io")
    told = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=20, check=False).stdout
    version = re.search(r"(\d+)\.", told)
    if version and int(version[1]) < 23:
        return program, True
    buildx = subprocess.run([program, "buildx", "version"], capture_output=True, timeout=20, check=False)
    return program, buildx.returncode == 0
