"""Our own images in this engine, built with the project's Dockerfile and kept under a fingerprint of its context."""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import docker
from filelock import Timeout

from emulation.engine import client_program
from emulation.engine.base_image import NAME as BASE
from emulation.engine.errors import EngineError
from emulation.engine.home import EngineHome

CONTEXT = Path(__file__).resolve().parents[2] / "assets" / "spark-images"
#: Seconds for one image: some five minutes where nothing is cached and others work on the machine too.
BUILD_TIMEOUT_SECONDS = 2400
#: Older builds of an image that are kept.
_KEPT = 2
_NOT_IN_CONTEXT = {".md", ".pyc"}


def ensure(
    home: EngineHome, client: Callable[[], docker.DockerClient], name: str, progress: Callable[[str], None]
) -> str:
    """Reference of the image of stage ``name``. Raises EngineError."""
    engine = client()
    try:
        reference = f"{repository(name)}:{fingerprint(str(engine.images.get(BASE).id))}"
        if _is_there(engine, reference):
            return reference
        try:
            with home.lock("build").acquire(timeout=BUILD_TIMEOUT_SECONDS):
                if not _is_there(engine, reference):
                    progress(f"building image {name} (minutes the first time, seconds afterwards)")
                    _build(home, name, reference)
                    _remove_old(engine, name)
        except Timeout as error:
            raise EngineError(
                f"waited {BUILD_TIMEOUT_SECONDS} s for another build of our images, in vain", "end it, then try again"
            ) from error
        return reference
    finally:
        engine.close()


def repository(name: str) -> str:
    """Name without tag of our image of that stage."""
    return f"sparkvault/spark-{name}"


def fingerprint(base_id: str, context: Path = CONTEXT) -> str:
    """Twelve hex digits that change with any file of the context, its mode, and the base."""
    digest = hashlib.sha256(base_id.encode())
    for path in sorted(context.rglob("*")):
        if path.is_file() and path.suffix not in _NOT_IN_CONTEXT:
            kind = "x" if os.access(path, os.X_OK) else "-"
            digest.update(f"{path.relative_to(context)}\0{kind}\0".encode())
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:12]


def _is_there(engine: docker.DockerClient, reference: str) -> bool:
    try:
        engine.images.get(reference)
    except docker.errors.ImageNotFound:
        return False
    return True


def _build(home: EngineHome, name: str, reference: str) -> None:
    program = client_program.write(home)
    log = home.root / f"build-{name}.log"
    command = [program, "build", "--target", name, "--tag", reference, "--tag", f"{repository(name)}:latest"]
    with log.open("wb") as output:
        try:
            done = subprocess.run(
                [*command, str(CONTEXT)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                timeout=BUILD_TIMEOUT_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise EngineError(
                f"building image {name} took longer than {BUILD_TIMEOUT_SECONDS} s", f"its log is {log}"
            ) from error
    if done.returncode:
        said = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-12:]
        raise EngineError(f"image {name} could not be built:\n" + "\n".join(said), f"the whole log is {log}")


def _remove_old(engine: docker.DockerClient, name: str) -> None:
    """Leave this build and the last few; those that containers use stay in any case."""
    images = engine.images.list(name=repository(name))
    for image in sorted(images, key=lambda one: str(one.attrs["Created"]), reverse=True)[1 + _KEPT :]:
        for tag in image.tags:
            try:
                engine.images.remove(tag)
            except docker.errors.APIError:
                continue
