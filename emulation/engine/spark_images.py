"""Our own images in this engine, built by the product's own code with the project's Dockerfile."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import docker
from filelock import Timeout

from emulation.engine import client_program
from emulation.engine.errors import EngineError
from emulation.engine.home import EngineHome
from sparkvault import spark_images
from sparkvault.errors import SparkvaultError

_T = TypeVar("_T")

#: Older builds of an image that are kept.
_KEPT = 2


def ensure(
    home: EngineHome, client: Callable[[], docker.DockerClient], name: str, progress: Callable[[str], None]
) -> str:
    """Reference of the image of stage ``name``. Raises EngineError."""
    program = client_program.write(home)
    if spark_images.is_built(name, program):
        return spark_images.reference(name)
    log = home.root / f"build-{name}.log"
    made = _one_at_a_time(home, lambda: spark_images.ensure(name, program, log, progress))
    engine = client()
    remove_images(engine, spark_images.REPOSITORY.format(name=name), keep=1 + _KEPT)
    engine.close()
    return made


def build_anew(home: EngineHome, name: str, tag: str, progress: Callable[[str], None]) -> None:
    """Build the image of stage ``name`` from nothing, under a tag of its own. Raises EngineError."""
    program, log = client_program.write(home), home.root / f"build-{name}-anew.log"
    _one_at_a_time(home, lambda: spark_images.build(name, [tag], program, log, progress, anew=True))


def _one_at_a_time(home: EngineHome, build: Callable[[], _T]) -> _T:
    try:
        with home.lock("build").acquire(timeout=spark_images.BUILD_TIMEOUT_SECONDS):
            return build()
    except Timeout as error:
        raise EngineError(
            f"waited {spark_images.BUILD_TIMEOUT_SECONDS} s for another build of our images, in vain",
            "end it, then try again",
        ) from error
    except SparkvaultError as error:
        raise EngineError(error.what, error.remedy) from error


def forget_all(client: docker.DockerClient) -> None:
    """Remove all of them: they stand on a base that there is no more."""
    remove_images(client, spark_images.REPOSITORY.format(name="*"), keep=0)


def remove_images(engine: docker.DockerClient, repository: str, keep: int) -> None:
    """Leave the newest; those that containers or other images stand on stay in any case."""
    images = engine.images.list(filters={"reference": repository})
    for image in sorted(images, key=lambda one: str(one.attrs["Created"]), reverse=True)[keep:]:
        for tag in image.tags:
            try:
                engine.images.remove(tag)
            except docker.errors.APIError:
                continue
