"""The Docker engine of the emulated node: configured by our own template, with one default runtime, for YARN alone."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import docker
import requests
from filelock import FileLock, Timeout

from assets.yarn.sparkvault_yarn import render
from emulation.engine import Engine
from emulation.engine.capability import find
from emulation.engine.spark_images import remove_images
from emulation.yarn import downloads
from emulation.yarn.errors import YarnEmulationError

#: The containers' network; the node's daemons listen at its gateway. Neither Docker's nor the demo's VPCs lie there.
SUBNET, GATEWAY, NETWORK, BRIDGE = "10.214.7.0/24", "10.214.7.1", "yarn-containers", "svyarn0"

#: What this machine asks of gVisor: no KVM, no control groups that it could write, and a network stack that works in
#: nested virtualization. Production has `--platform=kvm` where there is KVM, and gVisor's own network stack.
RUNSC_FLAGS = ("--platform=systrap", "--ignore-cgroups", "--network=host")

_OPTION = "com.docker.network.bridge"
START_SECONDS = 60.0
STOP_SECONDS = 40.0
_IMAGE_SECONDS = 900
_LOCK_SECONDS = 900


@contextlib.contextmanager
def alone_on_this_machine() -> Iterator[None]:
    """One node at a time: engines share a folder of images, a bridge and its addresses. Raises YarnEmulationError."""
    try:
        with FileLock(downloads.cache() / "node.lock").acquire(timeout=_LOCK_SECONDS):
            yield
    except Timeout as error:
        raise YarnEmulationError(
            f"another YARN node has been running on this machine for {_LOCK_SECONDS} s", "end it"
        ) from error


class NodeEngine:
    """A dockerd with our `daemon.json`; its images are kept from one cluster to the next."""

    def __init__(self, work: Path, runtime: str, variants: Mapping[str, Sequence[str]] | None = None) -> None:
        """``variants``: names of more runtimes → flags that each gives gVisor, for comparisons."""
        self.work = work
        self.runtime = runtime
        self._variants = variants or {}
        self.socket = work / "docker.sock"
        self.log = work / "dockerd.log"
        self._process: subprocess.Popen[bytes] | None = None
        # dockerd ends with the thread that started it (prctl(2), PR_SET_PDEATHSIG): with one that lives as long as we.
        self._starter = ThreadPoolExecutor(1, "dockerd")

    def configure(self, progress: Callable[[str], None]) -> None:
        """Write daemon.json. Docker 20.10 knows no containerd shims there, so that Kata's entry has no place here.

        Nor has `icc`, which needs Docker's packet filter: this machine's is left alone.
        """
        program = str(downloads.runsc(progress))
        known = json.loads(render.docker_runtimes(program, RUNSC_FLAGS, None))
        more = {name: {"path": program, "runtimeArgs": list(flags)} for name, flags in self._variants.items()}
        runtimes = json.dumps(known | more)
        text = render.rendered("daemon.json", {"runtime": self.runtime, "runtimes": runtimes})
        settings = {name: value for name, value in json.loads(text).items() if name != "icc"}
        render.write(self.work / "daemon.json", json.dumps(settings, indent=2))

    def start(self) -> None:
        """Start it, or start it again after it was killed. Raises YarnEmulationError."""
        dockerd, setpriv = find("dockerd"), find("setpriv")
        if dockerd is None or setpriv is None:
            raise YarnEmulationError("dockerd or setpriv is not installed", "apt-get install docker.io util-linux")
        with self.log.open("ab") as log:
            self._process = self._starter.submit(
                subprocess.Popen,
                [
                    *(setpriv, "--pdeathsig", "TERM", dockerd, "--config-file", str(self.work / "daemon.json")),
                    *("--bridge=none", "--iptables=false", "--ip6tables=false", "--storage-driver", "overlay2"),
                    *("--data-root", str(downloads.cache() / "docker"), "--exec-root", str(self.work / "docker")),
                    *("--pidfile", str(self.work / "docker.pid"), "--host", f"unix://{self.socket}"),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={"PATH": os.defpath + ":/usr/sbin:/sbin", "HOME": str(self.work)},
            ).result(START_SECONDS)
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                client = self.client(timeout=5)
                client.ping()
                client.close()
                return
            except (docker.errors.DockerException, requests.exceptions.RequestException) as error:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    said = self.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-3:]
                    raise YarnEmulationError(
                        "the node's dockerd did not start: " + " | ".join(said), "see above"
                    ) from error
                time.sleep(0.1)

    def prepare(self, images: Engine, image: str) -> None:
        """Empty it of containers, make the containers' network, take the image over from the machine's engine."""
        client = self.client()
        for container in client.containers.list(all=True, ignore_removed=True):
            container.remove(force=True, v=True)
        for network in client.networks.list(names=[NETWORK]):
            network.remove()
        client.networks.create(
            NETWORK,
            driver="bridge",
            options={f"{_OPTION}.name": BRIDGE, f"{_OPTION}.enable_ip_masquerade": "false"},
            ipam=docker.types.IPAMConfig(pool_configs=[docker.types.IPAMPool(subnet=SUBNET, gateway=GATEWAY)]),
        )
        if not [one for one in client.images.list() if image in one.tags]:
            remove_images(client, image.split(":")[0], keep=0)
            copy = subprocess.run(
                ["sh", "-c", 'docker -H "$1" save "$3" | docker -H "$2" load', "sh",
                 f"unix://{images.socket}", f"unix://{self.socket}", image],
                env={"PATH": "/usr/bin:/bin", "HOME": str(self.work)},
                capture_output=True, text=True, timeout=_IMAGE_SECONDS, check=False,
            )  # fmt: skip
            if copy.returncode:
                raise YarnEmulationError(f"image {image}: {copy.stderr.strip()}", f"the engine's log is {self.log}")
        client.close()

    def client(self, timeout: int = 60) -> docker.DockerClient:
        """A client of Docker's own library."""
        return docker.DockerClient(base_url=f"unix://{self.socket}", timeout=timeout)

    def kill(self) -> None:
        """End dockerd as a crash would; containers live on, as daemon.json says."""
        if self._process is None:
            return
        self._process.kill()
        self._process.wait(STOP_SECONDS)
        # Its containerd dies with it. Where nobody collects it, the next dockerd takes it for alive, and waits in vain.
        noted = self.work / "docker" / "containerd" / "containerd.pid"
        deadline = time.monotonic() + STOP_SECONDS
        while noted.exists() and _lives(int(noted.read_text(encoding="utf-8"))):
            if time.monotonic() > deadline:
                raise YarnEmulationError("the node's containerd outlives its dockerd", f"the log is {self.log}")
            time.sleep(0.1)
        noted.unlink(missing_ok=True)

    def stop(self) -> None:
        """Remove all containers, then end dockerd."""
        if self._process is None or self._process.poll() is not None:
            return
        try:
            client = self.client()
            for container in client.containers.list(all=True, ignore_removed=True):
                container.remove(force=True, v=True)
            for network in client.networks.list(names=[NETWORK]):
                network.remove()
            client.close()
        except docker.errors.DockerException:
            # What is left is removed at the next start.
            pass
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(10)


def _lives(pid: int) -> bool:
    """Whether there is such a process that is more than a zombie (proc_pid_stat(5))."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return False
    return not text.rpartition(")")[2].split()[0].startswith(("Z", "X"))
