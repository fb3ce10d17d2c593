"""A node without Hadoop: the engine, the guard and containers started as YARN's are. For probes and benchmarks."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from assets.yarn.sparkvault_yarn import render
from assets.yarn.sparkvault_yarn.container_guard import checked
from emulation.engine import Engine
from emulation.yarn.errors import YarnEmulationError
from emulation.yarn.node_engine import NETWORK, NodeEngine, alone_on_this_machine


class BareNode:
    """Containers under any runtime, each behind the guard. Made by `bare_node`."""

    def __init__(self, engine: NodeEngine, work: Path, image: str, limits: Sequence[str]) -> None:
        self.engine = engine
        self.work = work
        self.image = image
        #: A folder of the host that containers may have.
        self.shared = work / "local"
        self.shared.mkdir()
        self._docker = ["/usr/bin/docker", "-H", f"unix://{engine.socket}"]
        self._limits = list(limits)

    def run(
        self, runtime: str, uid: int, command: Sequence[str], options: Sequence[str] = (), seconds: float = 240
    ) -> str:
        """What a container of that runtime says to its end (its id with ``-d``). Raises YarnEmulationError."""
        kernel = Path("/proc/version").read_text(encoding="utf-8").strip()
        about = self.work / f"node-{runtime}"
        render.write(about, f"{runtime}\n{kernel}\n")
        policy = {
            "runtime": runtime,
            "network": NETWORK,
            "images": {"*": [self.image]},
            "ro_mounts": [],
            "rw_mounts": [str(self.shared)],
            "add": [*self._limits, "-v", f"{about}:/run/sparkvault/node:ro"],
        }
        usual = ["run", *options, f"--user={uid}:{uid}", f"--net={NETWORK}", "--cap-drop=ALL", self.image, *command]
        done = subprocess.run(
            [*self._docker, *checked(usual, policy)], capture_output=True, text=True, timeout=seconds, check=False
        )
        if done.returncode:
            raise YarnEmulationError(
                f"a container under {runtime} ended with {done.returncode}: {(done.stderr or done.stdout)[-800:]}",
                f"the engine's log is {self.engine.log}",
            )
        return done.stdout

    def build(self, folder: Path, name: str) -> None:
        """Make the image of that folder's Dockerfile, on the node's own image, the one that runs from now on."""
        command = ["build", "--network", "host", "--build-arg", f"BASE_IMAGE={self.image}", "--tag", name, str(folder)]
        done = subprocess.run([*self._docker, *command], capture_output=True, text=True, timeout=900, check=False)
        if done.returncode:
            raise YarnEmulationError(f"image {name}: {done.stderr[-800:]}", "is Debian's archive reachable?")
        self.image = name


@contextmanager
def bare_node(
    images: Engine,
    runtime: str,
    limits: Sequence[str],
    progress: Callable[[str], None] = lambda text: None,
    variants: Mapping[str, Sequence[str]] | None = None,
) -> Iterator[BareNode]:
    """A node whose engine has that default runtime; ``limits`` are options that each container gets.

    ``variants``: names of more runtimes → flags that each gives gVisor.
    """
    image = images.spark_image("yarn", progress)
    with alone_on_this_machine():
        # Tenants' users go through it; sockets' paths are bounded.
        work = Path(tempfile.mkdtemp(prefix="node-", dir="/var/lib"))
        work.chmod(0o755)
        engine = NodeEngine(work, runtime, variants)
        try:
            engine.configure(progress)
            engine.start()
            engine.prepare(images, image)
            yield BareNode(engine, work, image, limits)
        finally:
            engine.stop()
            shutil.rmtree(work, ignore_errors=True)
