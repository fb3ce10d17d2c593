"""Runs the cluster's daemons as containers of Spark's images on the network `spark-network`.

The same seam as `process_engine`: each container has a docker client in front of it, which is a process of this
machine like any daemon. It writes the log, passes signals on, and ends when the container ends.
"""

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import psutil

from sparkvault import spark_images
from sparkvault.errors import SparkvaultError
from sparkvault.targets.local.folder import LocalFolder, unwritable, write_private
from sparkvault.targets.local.machine import WorkerSize
from sparkvault.targets.local.ports import LOOPBACK
from sparkvault.targets.local.processes import MARKER, end_all, start_detached
from sparkvault.targets.local.state import Daemon, DaemonKind

NETWORK = "spark-network"
IMAGES = ("master", "worker", "submit")
MASTER_URL = "spark://spark-master:7077"

#: On every container, and on the network that we made: the cluster's folder.
LABEL = "sparkvault.cluster"
#: The user of the images. Whoever runs this as another ordinary user gets files of their own.
SPARK_UID = 185
#: Where a container finds the secret (assets/spark-images/base/entrypoint.sh).
_SECRET = "/run/secrets/spark-rpc-secret"  # noqa: S105 - a path
_CONF = "/opt/spark/conf"
#: Where a job's files are for its driver: a path without spaces, which spark-shell's `-i` needs.
JOB_FILES = Path("/opt/spark/work-dir/job")

#: Stands for the port of a driver's web UI, chosen when the driver starts (`with_ui_port`). It is the same inside
#: and outside, for the master's page links to the one inside.
_UI_PORT = "{ui-port}"
#: What `docker run` ends with where no container was started, and what it says where the port is another's.
_NOT_STARTED = 125
_PORT_TAKEN = ("address already in use", "port is already allocated")
#: How often a driver is started while other programs take the ports it was to have.
UI_PORT_TRIES = 5

#: MiB that a container with a daemon may take: 512 of heap, the rest for code, threads, buffers and /tmp in memory.
_DAEMON_MIB = 1024
#: What executors take beside their heap, Python workers among it: this share of it, and at least that many MiB. Source:
#: spark.kubernetes.memoryOverheadFactor for Python applications and spark.executor.minMemoryOverhead.
_OVERHEAD_SHARE = 0.4
_LEAST_OVERHEAD_MIB = 384

#: Seconds for a command of the docker client that only asks or removes.
_CLIENT_TIMEOUT_SECONDS = 60

#: What the docker client needs of the environment to find its engine.
_PASSED_ON = ("PATH", "HOME", "XDG_RUNTIME_DIR", "SSH_AUTH_SOCK", "CDK_DOCKER")


class DockerEngine:
    """Master, workers and history server as containers; drivers run in the submit image."""

    def __init__(self, folder: LocalFolder, images: Mapping[str, str], data: list[str]) -> None:
        self.folder = folder
        self.images = dict(images)
        self.data = data
        self.docker = spark_images.docker_program()

    # --- before and after ------------------------------------------------------------------------------------------

    def prepare(self, secret: str) -> None:
        """Make the network, and put the secret where containers find it. Raises SparkvaultError."""
        self._make_network()
        conf = self.folder.daemon_conf.parent
        write_private(conf / "secret", secret + "\n")
        write_private(conf / "passwd", f"spark:x:{_uid()}:{_gid()}::/opt/spark/work-dir:/usr/sbin/nologin\n")
        (conf / "passwd").chmod(0o644)
        for path in (conf / "secret", self.folder.executors, self.folder.scratch, self.folder.warehouse):
            path.mkdir(mode=0o700, exist_ok=True) if path.name != "secret" else None
            give(path)
        give(self.folder.history)

    def _make_network(self) -> None:
        found = self._run("network", "inspect", NETWORK)
        if found.returncode == 0:
            labels = json.loads(found.stdout)[0].get("Labels") or {}
            owner = labels.get(LABEL)
            if owner not in (None, str(self.folder.root)) and self._containers(owner):
                raise SparkvaultError(
                    f"the network {NETWORK} belongs to another cluster, that of {owner}",
                    "end that one first: `sparkvault local down` with its SPARKVAULT_HOME",
                )
            if owner in (None, str(self.folder.root)):
                return
            self._run("network", "rm", NETWORK)
        made = self._run("network", "create", "--label", f"{LABEL}={self.folder.root}", NETWORK)
        if made.returncode:
            raise SparkvaultError(f"the network {NETWORK} cannot be made: {made.stderr.strip()}", "see `docker info`")

    def sweep(self) -> None:
        """Remove all containers of this cluster, whoever has forgotten them, and the network if it is ours."""
        left = self._containers(str(self.folder.root))
        if left:
            self._run("rm", "--force", "--volumes", *left)
        found = self._run("network", "inspect", "--format", f'{{{{index .Labels "{LABEL}"}}}}', NETWORK)
        if found.stdout.strip() == str(self.folder.root):
            self._run("network", "rm", NETWORK)

    def _containers(self, owner: str) -> list[str]:
        return self._run("ps", "--all", "--quiet", "--filter", f"label={LABEL}={owner}").stdout.split()

    # --- daemons ---------------------------------------------------------------------------------------------------

    def start_master(self, port: int, ui_port: int) -> Daemon:
        """Start the master; its own port is inside the network, its web UI on this one. Returns at once."""
        del port  # in a network of its own the usual one is free
        more = ["--env", "SPARK_MASTER_HOST=spark-master", "--env", f"SPARK_MASTER_WEBUI_PORT={ui_port}"]
        more += self._limits(_DAEMON_MIB)
        return self._start("master", "master", "spark-master", ui_port, more)

    def start_worker(self, number: int, master_url: str, ui_port: int, size: WorkerSize) -> Daemon:
        """Start a worker that offers what ``size`` says; returns at once."""
        host = f"spark-worker-{number}"
        settings = {
            "SPARK_MASTER_URL": master_url,
            "SPARK_WORKER_HOST": host,
            "SPARK_WORKER_WEBUI_PORT": str(ui_port),
            "SPARK_WORKER_DIR": str(self.folder.executors),
            "SPARK_LOCAL_DIRS": str(self.folder.scratch),
            "CORES": str(size.cores),
            "MEMORY": f"{size.memory_mib}M",
        }
        more = [part for name, value in settings.items() for part in ("--env", f"{name}={value}")]
        for path in (self.folder.executors, self.folder.scratch, self.folder.warehouse, *map(Path, self.data)):
            more += _mount(path)
        overhead = max(_LEAST_OVERHEAD_MIB, int(_OVERHEAD_SHARE * size.memory_mib))
        more += self._limits(_DAEMON_MIB + size.memory_mib + overhead, size.cores)
        return self._start(f"worker-{number}", "worker", host, ui_port, more)

    def start_history(self, ui_port: int) -> Daemon:
        """Start the history server; returns at once."""
        more = ["--env", f"SPARK_HISTORY_UI_PORT={ui_port}", "--env", f"SPARK_HISTORY_LOG_DIR={self.folder.history}"]
        more += [*_mount(self.folder.history, read_only=True), *_mount(self.folder.jobs, read_only=True)]
        more += self._limits(_DAEMON_MIB)
        give(self.folder.jobs)
        return self._start("history", "history", "spark-history", ui_port, more)

    def _limits(self, memory_mib: int, cores: int | None = None) -> list[str]:
        """Flags that hold a container to what it offers, as far as this engine's kernel can.

        Memory without swap, so that a worker that takes too much is the one that ends. Drivers have none: what they
        take is what `--driver-memory` says.
        """
        answer = self._run("info", "--format", "{{.MemoryLimit}} {{.CPUCfsQuota}}").stdout.split()
        memory, processor = (word == "true" for word in (*answer, "", "")[:2])
        flags = ["--memory", f"{memory_mib}m", "--memory-swap", f"{memory_mib}m"] if memory else []
        return [*flags, "--cpus", str(cores)] if processor and cores else flags

    def _start(self, name: str, kind: DaemonKind, host: str, ui_port: int, more: list[str]) -> Daemon:
        self._run("rm", "--force", "--volumes", self.container(name))
        conf = self.folder.history_conf if kind == "history" else self.folder.daemon_conf
        image = self.images["submit" if kind == "history" else kind]
        command = [
            *self._container(name, host, conf),
            "--publish",
            f"{LOOPBACK}:{ui_port}:{ui_port}",
            *more,
            image,
            kind,
        ]
        log = self.log(name)
        try:
            if log.exists():
                log.replace(log.with_suffix(".log.previous"))
            process = start_detached(command, environment=self._environment(), folder=self.folder.root, output=log)
        except (OSError, psutil.NoSuchProcess) as error:
            raise unwritable(log, error if isinstance(error, OSError) else OSError(f"{name} ended at once")) from error
        return Daemon(name=name, kind=kind, ui=f"http://{LOOPBACK}:{ui_port}", process=process)

    def container(self, name: str) -> str:
        """Name of the container of that daemon or job."""
        return f"sparkvault-{hashlib.sha256(str(self.folder.root).encode()).hexdigest()[:8]}-{name}"

    def _container(self, name: str, host: str, conf: Path, *flags: str) -> list[str]:
        """The beginning of `docker run`, the same for all: no privileges, nothing writable but what is named."""
        give(conf)
        return [
            *(self.docker, "run", "--rm", "--name", self.container(name), "--label", f"{LABEL}={self.folder.root}"),
            *("--network", NETWORK, "--network-alias", host, "--hostname", host),
            *("--user", f"{_uid()}:{_gid()}", "--read-only", "--cap-drop", "ALL"),
            *("--security-opt", "no-new-privileges", "--pids-limit", "4096"),
            *("--tmpfs", "/tmp:rw,exec,nosuid,nodev", "--tmpfs", "/opt/spark/work-dir:rw,exec,nosuid,nodev"),  # noqa: S108
            *_mount(self.folder.daemon_conf.parent / "secret", _SECRET, read_only=True),
            *_mount(self.folder.daemon_conf.parent / "passwd", "/etc/passwd", read_only=True),
            *_mount(conf, _CONF, read_only=True),
            # Links in the web UIs lead where this machine's browser can go.
            *("--env", f"SPARK_PUBLIC_DNS={LOOPBACK}"),
            *flags,
        ]

    def log(self, name: str) -> Path:
        """The log of the daemon of that name."""
        return self.folder.logs / f"{name}.log"

    def is_alive(self, daemon: Daemon) -> bool:
        """Whether it still runs."""
        return daemon.process.alive

    def drain(self, worker: Daemon, timeout: float) -> bool:
        """Have a worker hand over what its executors hold, and wait until it has ended; False if it has not."""
        process = worker.process.process()
        if process is None:
            return True
        # SIGPWR, which the image's drain.sh knows: a client would not pass it on.
        self._run("kill", "--signal", "PWR", self.container(worker.name))
        deadline = time.monotonic() + timeout
        _, left = psutil.wait_procs([process], timeout=max(0.0, deadline - time.monotonic()))
        return not left

    def stop(self, daemons: list[Daemon]) -> None:
        """End daemons and the executors in their containers."""
        names = [self.container(daemon.name) for daemon in daemons]
        if names:
            self._run("rm", "--force", "--volumes", *names)
        end_all([process for daemon in daemons if (process := daemon.process.process())])

    # --- drivers ---------------------------------------------------------------------------------------------------

    def driver_environment(self, scratch: Path, python: str) -> dict[str, str]:
        """The environment of the docker client; the driver gets its own inside the container."""
        del scratch, python
        return self._environment()

    def driver_command(self, program: str, job: Path, name: str, code: list[Path]) -> list[str]:
        """What runs one of Spark's programs in the submit image, up to the program's own arguments.

        ``job`` is the job's folder, ``code`` are folders of modules beside the application. `with_ui_port` makes it
        complete.
        """
        scratch = job / "scratch"
        give(job)
        more = [*_mount(job), *_mount(job / "files", str(JOB_FILES), read_only=True)]
        more += ["--env", f"SPARK_LOCAL_DIRS={scratch}"]
        return self._driver(program, name, more, [folder for folder in code if folder.is_dir()])

    def shell_command(self, program: str) -> list[str]:
        """What runs a shell on this terminal, up to its own arguments; `with_ui_port` makes it complete."""
        more = []
        if sys.stdin.isatty():
            more += ["--tty", "--env", f"TERM={os.environ.get('TERM', 'xterm')}"]
        more += _mount(self.folder.history)
        return self._driver(program, f"shell-{os.getpid()}", more, [])

    def _driver(self, program: str, name: str, more: list[str], code: list[Path]) -> list[str]:
        more += ["--interactive", "--publish", f"{LOOPBACK}:{_UI_PORT}:{_UI_PORT}"]
        here = Path.cwd()
        mounted = [self.folder.warehouse, *map(Path, self.data)]
        if here.is_dir() and here != Path("/") and not any(here.is_relative_to(path) for path in mounted):
            mounted.append(here)
        for path in mounted:
            more += _mount(path)
        for path in code:
            if not any(path.is_relative_to(there) for there in mounted) and path != Path("/"):
                more += _mount(path, read_only=True)
        spark = ["/opt/spark/python/lib/pyspark.zip", "/opt/spark/python/lib/py4j-0.10.9.9-src.zip"]
        more += ["--env", "PYTHONPATH=" + ":".join([*map(str, code), *spark])]
        if here != Path("/"):
            more += ["--workdir", str(here)]
        modes = {"spark-submit": ["submit"], "pyspark": ["shell", "python"]}
        modes |= {"spark-shell": ["shell", "scala"], "spark-sql": ["shell", "sql"]}
        command = self._container(name, f"spark-driver-{name}"[:63], self.folder.driver_conf, *more)
        master = ["--env", f"SPARK_MASTER_URL={MASTER_URL}"]
        return [*command, *master, self.images["submit"], *modes[program], "--conf", f"spark.ui.port={_UI_PORT}"]

    # --- the client ------------------------------------------------------------------------------------------------

    def _environment(self) -> dict[str, str]:
        kept = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        kept |= {name: value for name, value in os.environ.items() if name.startswith("DOCKER_")}
        return kept | {MARKER: str(self.folder.root)}

    def _run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        try:
            return subprocess.run(
                [self.docker, *arguments],
                capture_output=True,
                text=True,
                timeout=_CLIENT_TIMEOUT_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise SparkvaultError(
                f"the Docker engine did not answer `docker {arguments[0]}` within {_CLIENT_TIMEOUT_SECONDS} s",
                "is it healthy? `docker info`",
            ) from error


def with_ui_port(command: list[str], port: int) -> list[str]:
    """What runs a driver or a shell, with its web UI on that port."""
    return [part.replace(_UI_PORT, str(port)) for part in command]


def lost_its_port(code: int, output: str) -> bool:
    """Whether a container did not start since another program took its port before it could: nothing has run."""
    return code == _NOT_STARTED and output.startswith("docker: ") and any(words in output for words in _PORT_TAKEN)


def remove_container(program: str, name: str) -> None:
    """End a container whose client may have been killed; one that is not there is as good."""
    subprocess.run(
        [program, "rm", "--force", "--volumes", name], capture_output=True, timeout=_CLIENT_TIMEOUT_SECONDS, check=False
    )


def image_settings() -> dict[str, str]:
    """The settings that the images come with; ours stand beside them."""
    text = (spark_images.context() / "base" / "spark-defaults.conf").read_text(encoding="utf-8")
    lines = (line.split(None, 1) for line in text.splitlines() if line.strip() and not line.startswith("#"))
    return {key: value.strip() for key, value in lines}


def give(path: Path) -> None:
    """Let the containers' user read and write a folder of ours, if that is not who we are."""
    if os.geteuid() != 0:
        return
    for one in (path, *(path.rglob("*") if path.is_dir() else ())):
        try:
            os.chown(one, SPARK_UID, SPARK_UID, follow_symlinks=False)
        except FileNotFoundError:
            continue


def _uid() -> int:
    return os.geteuid() or SPARK_UID


def _gid() -> int:
    return os.getegid() or SPARK_UID


def _mount(source: Path, target: str | None = None, *, read_only: bool = False) -> list[str]:
    text = f"type=bind,source={source},target={target or source}"
    if any(character in f"{source}" for character in ',"'):
        raise SparkvaultError(f"{source} has a comma or a quote in its path", "Docker cannot mount such a folder")
    return ["--mount", text + (",readonly" if read_only else "")]
