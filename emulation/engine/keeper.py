"""The process that has dockerd as its child, and ends it when nobody holds a lease any more.

Run as `python -m emulation.engine.keeper HOME`. It needs nobody to say goodbye: it looks at the lessees' processes.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType

import docker
import psutil
import requests
from filelock import Timeout

from emulation.engine.capability import find
from emulation.engine.errors import EngineError
from emulation.engine.home import EngineHome, process_identity

#: Seconds that the engine waits for another lease after the last: test modules follow one another.
LINGER_SECONDS = 5.0
#: Seconds dockerd gets to end its containers.
STOP_TIMEOUT_SECONDS = 40.0
_POLL_SECONDS = 0.5

#: Docker's own group of all containers, in version 1 of control groups, and its weight: that of eight processes.
#: It begins with the weight of a single one, and then whole hosts share what any other program on the machine gets.
_CPU_SHARES = Path("/sys/fs/cgroup/cpu/docker/cpu.shares")
_CPU_SHARES_OF_ALL = 8 * 1024

#: Networks of containers come from here, where neither VPCs of the demo nor Docker's own defaults lie.
_ADDRESS_POOL = "base=10.213.0.0/16,size=24"


def main(root: str) -> int:
    """Keep the engine of that folder until its last lease is gone."""
    home = EngineHome(Path(root))
    # Containers inherit it from dockerd: whole hosts must not run at the first lessee's low priority.
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, 0)
    _await_predecessor(home)
    dockerd = _start_dockerd(home)
    asked_to_end = False

    def end(number: int, frame: FrameType | None) -> None:
        nonlocal asked_to_end
        asked_to_end = True

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if not _await_answer(home, dockerd):
        _stop(dockerd)
        return 1
    _remove_leftovers(home)
    partial = home.keeper.with_suffix(".partial")
    partial.write_text(json.dumps(process_identity(os.getpid()) | {"dockerd": dockerd.pid}), encoding="utf-8")
    partial.replace(home.keeper)
    idle_since: float | None = None
    weighed = False
    while dockerd.poll() is None:
        time.sleep(_POLL_SECONDS)
        weighed = weighed or _weigh_containers()
        try:
            with home.lock().acquire(timeout=0):
                if home.live_lessees() and not asked_to_end:
                    idle_since = None
                    continue
                idle_since = idle_since or time.monotonic()
                if asked_to_end or time.monotonic() - idle_since > LINGER_SECONDS:
                    # Whoever wants a lease now waits for the lock, and starts a new engine.
                    _stop(dockerd)
                    home.keeper.unlink(missing_ok=True)
                    return 0
        except Timeout:
            continue
    home.keeper.unlink(missing_ok=True)
    return 1


def _start_dockerd(home: EngineHome) -> subprocess.Popen[bytes]:
    dockerd, setpriv = find("dockerd"), find("setpriv")
    if dockerd is None or setpriv is None:
        raise EngineError("dockerd or setpriv is not installed", "apt-get install docker.io util-linux")
    return subprocess.Popen(
        [
            # A keeper that is killed takes dockerd with it.
            *(setpriv, "--pdeathsig", "TERM", dockerd),
            # No bridge and no packet filter of Docker's: the machine's network stays as it is.
            *("--bridge=none", "--iptables=false", "--ip6tables=false"),
            *("--default-address-pool", _ADDRESS_POOL),
            *("--storage-driver", "overlay2"),
            *("--log-opt", "max-size=20m", "--log-opt", "max-file=2"),
            *("--data-root", str(home.data)),
            *("--exec-root", str(home.run / "exec")),
            *("--pidfile", str(home.run / "docker.pid")),
            *("--host", f"unix://{home.socket}"),
        ],
        start_new_session=True,
    )


def _await_answer(home: EngineHome, dockerd: subprocess.Popen[bytes]) -> bool:
    while dockerd.poll() is None:
        try:
            client = docker.DockerClient(base_url=f"unix://{home.socket}", timeout=10)
            client.ping()
        except (docker.errors.DockerException, requests.exceptions.RequestException):
            time.sleep(0.1)
        else:
            client.close()
            return True
    return False


def _weigh_containers() -> bool:
    """Whether the group of all containers has its weight; there is none before the first container."""
    try:
        _CPU_SHARES.write_text(f"{_CPU_SHARES_OF_ALL}\n", encoding="ascii")
    except OSError:
        return False
    return True


def _await_predecessor(home: EngineHome) -> None:
    """Wait for a dockerd whose keeper was killed; it is ending."""
    deadline = time.monotonic() + STOP_TIMEOUT_SECONDS
    for process in psutil.process_iter(["cmdline"]):
        command = process.info["cmdline"] or []
        if str(home.data) in command and "dockerd" in Path(command[0]).name:
            _, left = psutil.wait_procs([process], timeout=max(0.0, deadline - time.monotonic()))
            for one in left:
                one.kill()


def _remove_leftovers(home: EngineHome) -> None:
    """Containers, networks and volumes of an engine that ended without its lessees' goodbye belong to nobody."""
    client = docker.DockerClient(base_url=f"unix://{home.socket}", timeout=120)
    for container in client.containers.list(all=True, ignore_removed=True):
        container.remove(force=True, v=True)
    client.networks.prune()
    client.volumes.prune()
    client.close()


def _stop(dockerd: subprocess.Popen[bytes]) -> None:
    dockerd.terminate()
    try:
        dockerd.wait(STOP_TIMEOUT_SECONDS)
    except subprocess.TimeoutExpired:
        dockerd.kill()
        dockerd.wait(10)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
