"""Images for the tests, built with what the cache has, and what a machine must have for them."""

from __future__ import annotations

import os
import platform
import shutil
from pathlib import Path

import pytest

from emulation.enclave_vm import missing_programs, simulator_ramdisk
from spark_enclave_image.application_part import CODE_FOLDER
from spark_enclave_image.image_build import BuiltImage, SessionWorker, build_image
from sparkvault.plugins import plugin_jar

SESSION_OPTIONS = Path(__file__).parents[2] / "assets" / "spark-plugins" / "enclave" / "session-jvm.options"


def build_test_image(out: Path, *, code: Path = CODE_FOLDER) -> BuiltImage:
    return build_image(
        "vm-test",
        out,
        SessionWorker(jar=plugin_jar("enclave"), options=SESSION_OPTIONS),
        extras=[simulator_ramdisk],
        code=code,
    )


def require_image_tools() -> None:
    """An image can be built on Linux on x86-64, with Maven for the session's worker."""
    lacking = [] if platform.machine() == "x86_64" else ["an x86-64 processor"]
    lacking += [] if shutil.which("mvn") else ["maven (Debian)"]
    _require(lacking)


def require_vm() -> None:
    """QEMU and the vsock device."""
    _require(missing_programs())


def _require(lacking: list[str]) -> None:
    if lacking:
        reason = f"the enclave's image needs {', '.join(lacking)}"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
