"""AWS's own session-manager-plugin, built from its sources: the client's end of a session is the real one in tests.

The sources are a Go module without a go.mod; ``plugin/`` holds one, with every dependency pinned by its hash.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

MODULE = "github.com/aws/session-manager-plugin"
VERSION = "v0.0.0-20260401221635-b79d06c1d3a2"  # release 1.3.0.0
PROGRAM = "session-manager-plugin"

_PINS = Path(__file__).with_name("plugin")
_DOWNLOAD_SECONDS = 120
_BUILD_SECONDS = 600


class PluginMissing(Exception):
    """The plugin is not there and cannot be built; the message says what is missing."""


def plugin() -> Path:
    """The program: as installed, else built once and kept. Raises PluginMissing."""
    installed = shutil.which(PROGRAM)
    if installed is not None:
        return Path(installed)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sparkvault" / PROGRAM
    pins = hashlib.sha256(VERSION.encode() + b"".join((_PINS / name).read_bytes() for name in ("go.mod", "go.sum")))
    built = cache / pins.hexdigest()[:16] / PROGRAM
    if not built.exists():
        _build(built)
    return built


def _build(target: Path) -> None:
    if shutil.which("go") is None:
        raise PluginMissing(f"{PROGRAM} is not installed, and there is no Go to build it with")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as name:
        folder = Path(name)
        found = json.loads(
            _go("mod", "download", "-json", f"{MODULE}@{VERSION}", folder=folder, seconds=_DOWNLOAD_SECONDS)
        )
        shutil.copytree(Path(found["Dir"]) / "src", folder / "src")
        for pin in ("go.mod", "go.sum"):
            shutil.copy(_PINS / pin, folder / pin)
        program = folder / PROGRAM
        arguments = ("-mod=readonly", "-trimpath", "-o", str(program), "./src/sessionmanagerplugin-main")
        _go("build", *arguments, folder=folder, seconds=_BUILD_SECONDS)
        program.replace(target)


def _go(*arguments: str, folder: Path, seconds: float) -> str:
    try:
        return subprocess.run(
            ["go", *arguments], cwd=folder, capture_output=True, text=True, timeout=seconds, check=True
        ).stdout
    except subprocess.CalledProcessError as error:
        raise PluginMissing(f"`go {arguments[0]}` failed: {error.stderr.strip()[-500:]}") from error
    except subprocess.TimeoutExpired as error:
        raise PluginMissing(f"`go {arguments[0]}` took over {seconds:.0f} s") from error
