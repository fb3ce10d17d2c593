"""Runs the cluster's daemons as plain processes of this machine.

What an engine does for `cluster.LocalCluster`: start a daemon, say whether it runs, drain and stop it, and give the
environment in which a driver runs. How many, which ports and when it is healthy is decided there.
"""

import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path

import psutil

from sparkvault.targets.local.folder import LocalFolder, unwritable
from sparkvault.targets.local.machine import WorkerSize
from sparkvault.targets.local.ports import LOOPBACK
from sparkvault.targets.local.processes import MARKER, end_all, start_detached
from sparkvault.targets.local.state import Daemon, DaemonKind

_MASTER = "org.apache.spark.deploy.master.Master"
_WORKER = "org.apache.spark.deploy.worker.Worker"
_HISTORY = "org.apache.spark.deploy.history.HistoryServer"

#: Small daemons that start often and compute little: the collector and compiler that start fastest.
_DAEMON_JAVA_OPTIONS = "-XX:+UseSerialGC -XX:TieredStopAtLevel=1 -XX:-UsePerfData"
#: Heap in MiB of each.
_HEAP_MIB: dict[DaemonKind, int] = {"master": 256, "worker": 256, "history": 512}

#: All that daemons, and with them executors, get of the environment: no credentials of ours reach them.
_PASSED_ON = ("PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "LD_LIBRARY_PATH")

#: What drivers must not get from the environment of whoever submits: it would replace our settings.
_WITHHELD_PREFIXES = ("SPARK_", "_SPARK_", "PYSPARK_")
_WITHHELD = ("HADOOP_CONF_DIR", "YARN_CONF_DIR", "HIVE_CONF_DIR")


class ProcessEngine:
    """Master, workers and history server as detached Java processes."""

    def __init__(self, folder: LocalFolder, java_home: Path, spark_home: Path) -> None:
        self.folder = folder
        self.java_home = java_home
        self.spark_home = spark_home

    def start_master(self, port: int, ui_port: int) -> Daemon:
        """Start the master on these ports; returns at once."""
        where = ["--host", LOOPBACK, "--port", str(port), "--webui-port", str(ui_port)]
        return self._start("master", "master", [_MASTER, *where], self.folder.daemon_conf, ui_port)

    def start_worker(self, number: int, master_url: str, ui_port: int, size: WorkerSize) -> Daemon:
        """Start a worker that offers what ``size`` says; returns at once."""
        offer = ["--cores", str(size.cores), "--memory", f"{size.memory_mib}M"]
        where = ["--host", LOOPBACK, "--webui-port", str(ui_port), "--work-dir", str(self.folder.executors)]
        return self._start(
            f"worker-{number}", "worker", [_WORKER, *where, *offer, master_url], self.folder.daemon_conf, ui_port
        )

    def start_history(self, ui_port: int) -> Daemon:
        """Start the history server; returns at once."""
        port = {"SPARK_HISTORY_OPTS": f"-Dspark.history.ui.port={ui_port}"}
        return self._start("history", "history", [_HISTORY], self.folder.history_conf, ui_port, port)

    def _start(
        self,
        name: str,
        kind: DaemonKind,
        command: list[str],
        conf: Path,
        ui_port: int,
        more: Mapping[str, str] | None = None,
    ) -> Daemon:
        environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        environment |= self._spark_environment(conf)
        environment |= {
            "SPARK_DAEMON_MEMORY": f"{_HEAP_MIB[kind]}m",
            "SPARK_DAEMON_JAVA_OPTS": _DAEMON_JAVA_OPTIONS,
            "SPARK_LOCAL_DIRS": str(self.folder.scratch),
            **(more or {}),
        }
        log = self.log(name)
        try:
            if log.exists():
                log.replace(log.with_suffix(".log.previous"))
            # bash, then exec: the process keeps its pid and becomes the daemon.
            process = start_detached(
                [str(self.spark_home / "bin" / "spark-class"), *command],
                environment=environment,
                folder=self.folder.root,
                output=log,
            )
        except (OSError, psutil.NoSuchProcess) as error:
            raise unwritable(log, error if isinstance(error, OSError) else OSError(f"{name} ended at once")) from error
        return Daemon(name=name, kind=kind, ui=f"http://{LOOPBACK}:{ui_port}", process=process)

    def log(self, name: str) -> Path:
        """The log of the daemon of that name."""
        return self.folder.logs / f"{name}.log"

    def is_alive(self, daemon: Daemon) -> bool:
        """Whether it still runs."""
        return daemon.process.alive

    def drain(self, worker: Daemon, timeout: float) -> bool:
        """Have a worker hand over what its executors hold, and wait until they are gone; False if they are not.

        The signal is Spark's own (`spark.worker.decommission.signal`); where the system has none, nothing is drained.
        """
        process = worker.process.process()
        power_failing: signal.Signals | None = getattr(signal, "SIGPWR", None)
        if process is None or power_failing is None:
            return process is None
        deadline = time.monotonic() + timeout
        try:
            # Not the launcher's remains, which the JVM never reaps.
            executors = [child for child in process.children() if child.status() != psutil.STATUS_ZOMBIE]
            process.send_signal(power_failing)
            _, left = psutil.wait_procs(executors, timeout=max(0.0, deadline - time.monotonic()))
        except psutil.Error:
            return True
        return not left

    def stop(self, daemons: list[Daemon]) -> None:
        """End daemons and the processes below them."""
        alive = [process for daemon in daemons if (process := daemon.process.process())]
        below = [child for process in alive for child in _children(process)]
        end_all([*alive, *below])

    def driver_environment(self, scratch: Path, python: str) -> dict[str, str]:
        """The caller's environment made fit for a driver of this cluster."""
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(_WITHHELD_PREFIXES) and name not in _WITHHELD
        }
        return kept | self._spark_environment(self.folder.driver_conf) | {
            "SPARK_LOCAL_DIRS": str(scratch),
            "PYSPARK_PYTHON": python,
            "PYSPARK_DRIVER_PYTHON": python,
        }  # fmt: skip

    def program(self, name: str) -> str:
        """Path of one of Spark's own programs (`spark-submit`, `spark-shell`, …)."""
        return str(self.spark_home / "bin" / name)

    def prepare(self, secret: str) -> None:
        """Nothing: daemons and drivers find the secret in their configuration."""

    def sweep(self) -> None:
        """Nothing: what belongs to the cluster are processes, which are found by their marker."""

    def container(self, name: str) -> None:
        """There are none."""

    def driver_command(self, program: str, job: Path, name: str, code: list[Path]) -> list[str]:
        """What runs one of Spark's programs as a job's driver, up to the program's own arguments."""
        return [self.program(program)]

    def shell_command(self, program: str) -> list[str]:
        """What runs a shell on this terminal, up to its own arguments."""
        return [self.program(program)]

    def _spark_environment(self, conf: Path) -> dict[str, str]:
        return {
            "JAVA_HOME": str(self.java_home),
            "SPARK_HOME": str(self.spark_home),
            "SPARK_CONF_DIR": str(conf),
            # Everything listens on the loopback address alone, the web UIs too.
            "SPARK_LOCAL_IP": LOOPBACK,
            "SPARK_LOCAL_HOSTNAME": LOOPBACK,
            MARKER: str(self.folder.root),
        }


def _children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.Error:
        return []
