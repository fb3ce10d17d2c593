"""Hadoop's daemons as processes of this machine, each with its log, started and awaited by what it really answers."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from emulation.yarn.errors import YarnEmulationError
from emulation.yarn.machine_view import MachineView

CLASSES = {
    "namenode": "org.apache.hadoop.hdfs.server.namenode.NameNode",
    "datanode": "org.apache.hadoop.hdfs.server.datanode.DataNode",
    "resourcemanager": "org.apache.hadoop.yarn.server.resourcemanager.ResourceManager",
    "nodemanager": "org.apache.hadoop.yarn.server.nodemanager.NodeManager",
}

START_SECONDS = 120.0
STOP_SECONDS = 20.0
_COMMAND_SECONDS = 180

#: Small machines and short lives: the collector and the compiler that start fastest.
_JVM = ("-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData",
        "--add-opens", "java.base/java.lang=ALL-UNNAMED")  # fmt: skip


class Hadoop:
    """The daemons of one cluster, and its command line programs."""

    def __init__(self, java: Path, jars: Path, work: Path, view: MachineView, options: Sequence[str] = ()) -> None:
        self.work = work
        self.conf = work / "conf"
        self._java = [str(java / "bin" / "java"), *_JVM, *options]
        self._class_path = f"{self.conf}:{jars}:{jars}/*"
        self._view = view
        self._environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "JAVA_HOME": str(java)}
        self._said_before: dict[str, int] = {}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def command(self, main_class: str, *arguments: str, options: Sequence[str] = ()) -> list[str]:
        """A Java program of Hadoop's in the cluster's view of the machine."""
        return self._view.command(self.program(main_class, *arguments, options=options))

    def program(self, main_class: str, *arguments: str, options: Sequence[str] = ()) -> list[str]:
        """The same for who is in that view already."""
        java = [*self._java, f"-Dhadoop.log.dir={self.work / 'logs'}", *options, "-cp", self._class_path]
        return [*java, main_class, *arguments]

    def viewed(self, command: Sequence[str]) -> list[str]:
        """Any command, in the cluster's view of the machine."""
        return self._view.command(command)

    def run(
        self, main_class: str, *arguments: str, extra: Mapping[str, str] | None = None, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run a program of Hadoop's to its end, with ``extra`` in its environment. Raises YarnEmulationError."""
        environment = self._environment | (dict(extra) if extra else {})
        done = subprocess.run(
            self.command(main_class, *arguments),
            env=environment,
            capture_output=True,
            text=True,
            timeout=_COMMAND_SECONDS,
            check=False,
        )
        if check and done.returncode:
            said = "\n".join((done.stderr or done.stdout).strip().splitlines()[-8:])
            program = main_class.removesuffix(".java").replace("/", ".").rpartition(".")[2]
            raise YarnEmulationError(f"{program} {' '.join(arguments)}: {said}", f"logs are in {self.work / 'logs'}")
        return done

    def start(self, name: str) -> None:
        """Start that daemon; `wait_for` says when it answers."""
        log = self.log(name)
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            self._said_before[name] = output.tell()
            self.processes[name] = subprocess.Popen(
                self.command(CLASSES[name]),
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def log(self, name: str) -> Path:
        """What that daemon says."""
        return self.work / "logs" / f"{name}.log"

    def wait_for(self, name: str, what: str, reached: Callable[[], bool]) -> None:
        """Wait until ``reached``. Raises YarnEmulationError when the daemon ends, or after two minutes."""
        deadline = time.monotonic() + START_SECONDS
        while not reached():
            process = self.processes[name]
            if process.poll() is not None:
                raise YarnEmulationError(f"the {name} ended with {process.returncode}: {self.last_words(name)}",
                                         f"its log is {self.log(name)}")  # fmt: skip
            if time.monotonic() > deadline:
                raise YarnEmulationError(f"waited {START_SECONDS:.0f} s for {what}: {self.last_words(name)}",
                                         f"its log is {self.log(name)}")  # fmt: skip
            time.sleep(0.2)

    def says(self, name: str, text: str) -> bool:
        """Whether the daemon has said that since it was started last."""
        content = self.log(name).read_bytes()[self._said_before.get(name, 0) :]
        return text in content.decode("utf-8", errors="replace")

    def last_words(self, name: str) -> str:
        """The most telling line of a daemon's log."""
        lines = self.log(name).read_text(encoding="utf-8", errors="replace").strip().splitlines()
        telling = [line for line in lines if "ERROR" in line or "FATAL" in line or "Caused by" in line]
        return (telling or lines or ["it said nothing"])[-1]

    def stop(self, name: str, *, kill: bool = False) -> None:
        """End a daemon, as asked or as a crash would."""
        process = self.processes.pop(name, None)
        if process is None or process.poll() is not None:
            return
        if kill:
            # What it started lives on, as after a crash.
            process.kill()
        else:
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(STOP_SECONDS)

    def stop_all(self) -> None:
        """End all of them."""
        for name in reversed(list(self.processes)):
            self.stop(name)


def listens(address: str, port: int) -> bool:
    """Whether somebody accepts connections there."""
    try:
        with socket.create_connection((address, port), timeout=2):
            return True
    except OSError:
        return False
