"""The programs of this machine that sparkvault drives: Node.js, the CDK CLI, a Docker engine."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from sparkvault.errors import SparkvaultError
from sparkvault.project import project_root

#: jsii, under the CDK, supports Node.js 22 and later.
OLDEST_NODE = 22


def tool_environment(base: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment for child programs: this Python's own folder, where Node.js may lie too, comes first."""
    environment = dict(os.environ if base is None else base)
    own = str(Path(sys.executable).parent)
    environment["PATH"] = f"{own}{os.pathsep}{environment.get('PATH', os.defpath)}"
    return environment


def find_node(environment: Mapping[str, str]) -> str:
    """Path of a Node.js that the CDK supports. Raises SparkvaultError where there is none."""
    program = shutil.which("node", path=environment["PATH"])
    found = _version(program) if program else None
    if program is None or found is None:
        raise SparkvaultError(
            f"the CDK needs Node.js {OLDEST_NODE} or later, and this machine has none",
            "run `make setup`, which installs it into .venv",
        )
    if found < OLDEST_NODE:
        raise SparkvaultError(
            f"the CDK needs Node.js {OLDEST_NODE} or later, and {program} is version {found}",
            "run `make setup`, which installs a newer one into .venv",
        )
    return program


def _version(program: str) -> int | None:
    try:
        answer = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    match = re.match(r"v(\d+)\.", answer.stdout)
    return int(match[1]) if match else None


def find_cdk() -> Path:
    """Path of the CDK CLI that package-lock.json pins. Raises SparkvaultError where it is not installed."""
    program = project_root() / "node_modules" / ".bin" / "cdk"
    if not program.exists():
        raise SparkvaultError("the pinned CDK CLI is not installed", "run `make setup`")
    return program


def docker_engine() -> str | None:
    """Version of the Docker engine that the docker client reaches, None where it reaches none."""
    program = shutil.which(os.environ.get("CDK_DOCKER", "docker"))
    if program is None:
        return None
    try:
        answer = subprocess.run(
            [program, "version", "--format", "{{.Server.Version}}"],
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip() or None if answer.returncode == 0 else None
