"""The engine as a lessee sees it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import docker

from emulation.engine import base_image, client_program, spark_images
from emulation.engine.home import EngineHome

Progress = Callable[[str], None]


def silent(text: str) -> None:
    """Tell nobody."""


class Engine:
    """A running Docker engine; made by `engine_lease`."""

    def __init__(self, home: EngineHome) -> None:
        self.home = home

    @property
    def socket(self) -> Path:
        """The Unix socket of its API."""
        return self.home.socket

    @property
    def pushed_images(self) -> Path:
        """Where emulated registries keep what is pushed to them: the same image is packed once, not each time."""
        return self.home.root / "registry"

    def client(self, timeout: int = 120) -> docker.DockerClient:
        """A new client of Docker's own library; ``timeout`` in seconds for each call."""
        return docker.DockerClient(base_url=f"unix://{self.socket}", timeout=timeout)

    def environment(self) -> dict[str, str]:
        """What makes `docker` and the CDK CLI use this engine.

        The client's configuration is a folder of the engine's, so that no login of ours lands in the user's.
        """
        program = client_program.write(self.home)
        return {
            "DOCKER_HOST": f"unix://{self.socket}",
            "DOCKER_CONFIG": str(self.home.root / "client"),
            "CDK_DOCKER": str(program),
        }

    def base_image(self, progress: Progress = silent) -> str:
        """`debian:bookworm-slim`, made on the first call (a minute), then kept. Raises EngineError."""
        return base_image.ensure(self.home, self.client, progress)

    def spark_image(self, name: str, progress: Progress = silent) -> str:
        """Reference of our image of that stage (`master`, `worker`, `submit`, …), built where it is not there yet.

        The name holds a fingerprint of `assets/spark-images`: a change there makes another image.
        Raises EngineError with the build's last lines.
        """
        self.base_image(progress)
        return spark_images.ensure(self.home, self.client, name, progress)

    def spark_image_anew(self, name: str, tag: str, progress: Progress = silent) -> None:
        """Build that image under `tag` with nothing from earlier builds; raises `EngineError`."""
        spark_images.build_anew(self.home, name, tag, progress)
