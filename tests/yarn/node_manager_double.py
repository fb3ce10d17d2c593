"""Calls the container-executor as the NodeManager does, without one: what it may start is asked in seconds."""

import itertools
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from emulation.yarn import YarnCluster
from emulation.yarn.node_engine import NETWORK

_NUMBERS = itertools.count(1)
_SECONDS = 120


@dataclass(frozen=True)
class Started:
    """How a container ended: the executor's exit code, what it said, and what the container printed."""

    exit_code: int
    said: str
    output: str


@dataclass
class NodeManagerDouble:
    """One application of one tenant on a node without daemons."""

    node: YarnCluster
    tenant: str = "ada"
    application: str = field(default_factory=lambda: f"application_1_{next(_NUMBERS):04d}")

    def __post_init__(self) -> None:
        self.state = self.node.work / "state"
        self.private = self.state / "local" / "nmPrivate"
        self.private.mkdir(exist_ok=True, mode=0o700)
        for name in ("usercache", "filecache"):
            (self.state / "local" / name).mkdir(exist_ok=True)
        self.tokens = self.private / f"{self.application}.tokens"
        self.tokens.write_text("the job's tokens")

    def executor(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = self.node.hadoop.viewed([str(self.node.work / "bin" / "container-executor"), *arguments])
        return subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS)

    def launched(self, script: str, **asked: str) -> Started:
        """A container that runs the script; ``asked`` are further lines of the command file, or other values."""
        folders = [f"{self.state}/local", f"{self.state}/logs"]
        container = f"container_{self.application.removeprefix('application_')}_01_{next(_NUMBERS):06d}"
        who = [self.tenant, self.tenant]
        localized = self.executor(*who, "0", self.application, container, str(self.tokens), *folders, "true")
        assert localized.returncode == 0, localized.stderr
        application = f"{self.state}/local/usercache/{self.tenant}/appcache/{self.application}"
        work = f"{application}/{container}"
        launch = self.private / f"{container}.sh"
        launch.write_text(f"#!/bin/bash\n{script}\n")
        users = self.node.work / "container-users"
        [uid] = [tenant.uid for tenant in self.node.tenants if tenant.name == self.tenant]
        lines = {
            "docker-command": "run", "name": container, "user": f"{uid}:{uid}", "detach": "true", "workdir": work,
            "image": self.node.image, "net": NETWORK, "hostname": "ctr-1", "cap-drop": "ALL", "tmpfs": "/tmp",
            "group-add": str(uid), "launch-command": f"bash,{work}/launch_container.sh",
            "mounts": f"{users}/passwd:/etc/passwd:ro,{users}/group:/etc/group:ro,{application}:{application}:rw,"
            f"{self.state}/logs/{self.application}/{container}:/logs:rw",
        }  # fmt: skip
        more = asked.pop("more_mounts", None)
        lines |= {name.replace("_", "-"): value for name, value in asked.items()}
        if more:
            lines["mounts"] += f",{more}"
        command = self.private / f"{container}.cmd"
        text = "".join(f"  {name}={value}\n" for name, value in lines.items())
        command.write_text(f"[docker-command-execution]\n{text}")
        pid_file = self.private / f"{container}.pid"
        done = self.executor(*who, "4", self.application, container, work, str(launch),
                             str(self.tokens), "--http", str(pid_file), *folders, str(command))  # fmt: skip
        log = Path(f"{self.state}/logs/{self.application}/{container}/docker.log")
        output = log.read_text() if log.exists() else ""
        self.executor("--remove-docker-container", container)
        assert Path(f"{pid_file}.exitcode").exists() or done.returncode == 29
        return Started(done.returncode, done.stderr, output)
