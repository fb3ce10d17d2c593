"""The life of the local cluster: up, seen healthy, made larger or smaller, down with nothing left."""

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from filelock import FileLock, Timeout

from sparkvault import spark_images
from sparkvault.errors import NotAvailable, SparkvaultError, UsageError, WaitTimeout
from sparkvault.java import find_java
from sparkvault.targets.interruption import interruptible, uninterrupted
from sparkvault.targets.local import spark_conf
from sparkvault.targets.local.docker_engine import IMAGES, MASTER_URL, DockerEngine
from sparkvault.targets.local.folder import LocalFolder, unwritable
from sparkvault.targets.local.job_folder import JobFolders
from sparkvault.targets.local.log_tail import reason_in
from sparkvault.targets.local.machine import WorkerSize, size_workers, this_machine
from sparkvault.targets.local.master_ui import MasterInfo, ask_master, get_json
from sparkvault.targets.local.ports import (
    HISTORY_UI_PORT,
    LOOPBACK,
    MASTER_PORT,
    MASTER_UI_PORT,
    WORKER_UI_PORT,
    free_port,
)
from sparkvault.targets.local.process_engine import ProcessEngine
from sparkvault.targets.local.processes import end_all, marked
from sparkvault.targets.local.spark_home import find_spark
from sparkvault.targets.local.state import ClusterState, Daemon, read_state, write_state
from sparkvault.targets.protocol import ClusterStatus, Component
from sparkvault.toolchain import docker_engine

Progress = Callable[[str], None]

#: Seconds until the master answers with all workers: some 5 on an idle machine; a worker whose first attempt
#: to register fails tries again after 5 to 15.
UP_TIMEOUT_SECONDS = 90.0
#: Seconds a worker that goes may take to hand over its blocks.
DRAIN_TIMEOUT_SECONDS = 60.0
#: Times that `up` starts over because another program took a port between choosing and using it.
PORT_ATTEMPTS = 3

_POLL_SECONDS = 0.05
_PORT_TAKEN = ("BindException", "Address already in use", "address already in use", "port is already allocated")

EngineChoice = Literal["auto", "docker", "process"]
_Engine = ProcessEngine | DockerEngine


@dataclass(frozen=True)
class DownReport:
    """What `down` ended."""

    processes: int
    cancelled_jobs: list[str]


class LocalCluster:
    """The one cluster of a work folder."""

    def __init__(self, folder: LocalFolder | None = None) -> None:
        self.folder = folder or LocalFolder.default()
        self.jobs = JobFolders(self.folder)

    def up(
        self,
        workers: int | None = None,
        memory: str | None = None,
        cores: int | None = None,
        *,
        engine: EngineChoice = "process",
        data: Path | None = None,
        progress: Progress,
        timeout: float = UP_TIMEOUT_SECONDS,
    ) -> ClusterStatus:
        """Start master and workers, and return once the master has them all.

        ``memory`` (`6G`) and ``cores`` are what each worker offers; by default they share the machine. ``engine``:
        containers, plain processes, or containers where a Docker engine is reachable. ``data`` is the folder whose
        files jobs in containers see, by default the current one. Raises
        UsageError for more than the machine has, SparkvaultError where Java, Spark, disk or ports are missing, where
        a cluster is up already and where a daemon dies, WaitTimeout. Whenever it raises, nothing of it is left.
        """
        size = size_workers(this_machine(), workers, memory, cores)
        running = self._choose(engine, data, progress)
        with self._changing(prepare=True):
            self._make_way(progress)
            try:
                with interruptible():
                    for attempt in range(1, PORT_ATTEMPTS + 1):
                        try:
                            self._start(running, size, progress, timeout)
                            break
                        except _PortTaken as error:
                            if attempt == PORT_ATTEMPTS:
                                raise
                            progress(f"{error.what}; starting over with the next free ones")
                            self._end_processes()
            except BaseException:
                with uninterrupted():
                    self._end_processes()
                    self._forget()
                raise
        return self.status()

    def down(self, progress: Progress) -> DownReport:
        """End the cluster with all that belongs to it: jobs, shells, executors, history server.

        Raises NotAvailable where there is nothing to end.
        """
        if not self.folder.root.is_dir():
            raise _nothing_up()
        with self._changing(prepare=False):
            if read_state(self.folder) is None and not self.folder.state.exists() and not marked(self.folder):
                raise _nothing_up()
            with uninterrupted():
                try:
                    cancelled = self.jobs.cancel_all(progress)
                except SparkvaultError as error:  # a full disk is no reason to leave anything running
                    cancelled = []
                    progress(f"jobs are ended, but not on record: {error.what}")
                progress("stopping master and workers")
                ended = self._end_processes()
                self._forget()
        return DownReport(ended, cancelled)

    def status(self) -> ClusterStatus:
        """What is there against what should be; never raises because nothing is up."""
        state = read_state(self.folder)
        if state is None:
            return ClusterStatus("local", "no local cluster is up", healthy=False)
        engine = self.engine(state)
        info = ask_master(state.master_ui)
        components = [_component(daemon, engine, info) for daemon in state.daemons]
        healthy = state.ready and all(component.healthy for component in components)
        if info is None:
            return ClusterStatus("local", "the master does not answer", healthy=False, components=components)
        components += [
            Component(app.name, "application", app.state.lower(), healthy=True, detail=f"{app.id}, {app.cores} cores")
            for app in info.activeapps
        ]
        alive = info.alive_workers
        summary = (
            f"{len(alive)} of {len(state.workers)} workers alive, {info.coresused} of {info.cores} cores and "
            f"{info.memoryused} of {info.memory} MiB in use, Spark master {state.master_url}"
        )
        return ClusterStatus("local", summary, healthy, components)

    def scale(self, workers: int, progress: Progress, timeout: float = UP_TIMEOUT_SECONDS) -> ClusterStatus:
        """Bring the cluster to that many workers of the size it has; those that go hand over their blocks first.

        A worker that has died is replaced. Raises UsageError, NotAvailable, WaitTimeout.
        """
        if workers < 1:
            raise UsageError(f"a cluster of {workers} workers", "`sparkvault local down` ends it")
        with self._changing(prepare=True):
            state = self.running()
            size = size_workers(this_machine(), workers, f"{state.size.memory_mib}m", state.size.cores)
            engine = self.engine(state)
            dead = [worker for worker in state.workers if not engine.is_alive(worker)]
            state = state.without([worker.name for worker in dead])
            for leaving in state.workers[workers:]:
                progress(f"draining {leaving.name}")
                if not engine.drain(leaving, DRAIN_TIMEOUT_SECONDS):
                    progress(f"{leaving.name} did not hand over all its blocks in {DRAIN_TIMEOUT_SECONDS:.0f} s")
                engine.stop([leaving])
                state = state.without([leaving.name])
            self._add_workers(engine, state.model_copy(update={"size": size}), progress, timeout)
        return self.status()

    def history(self, progress: Progress, timeout: float = UP_TIMEOUT_SECONDS) -> str:
        """Address of the history server, started if it is not up. Raises NotAvailable, WaitTimeout."""
        with self._changing(prepare=True):
            state = self.running()
            engine = self.engine(state)
            self.jobs.link_histories()
            there = state.daemon("history")
            if there and engine.is_alive(there):
                return there.ui
            progress("starting the history server")
            spark_conf.write_conf(
                self.folder.history_conf, spark_conf.history_settings(self.folder), daemon_level="info"
            )
            daemon = engine.start_history(free_port(HISTORY_UI_PORT))
            write_state(self.folder, state.with_daemon(daemon))
            deadline = time.monotonic() + timeout
            while get_json(f"{daemon.ui}/api/v1/version") is None:
                try:
                    self._check_alive(engine, [daemon])
                    if time.monotonic() > deadline:
                        raise WaitTimeout(f"the history server at {daemon.ui}", timeout)
                except SparkvaultError:
                    engine.stop([daemon])
                    write_state(self.folder, state)
                    raise
                time.sleep(_POLL_SECONDS)
            return daemon.ui

    def running(self) -> ClusterState:
        """The cluster that is up. Raises NotAvailable where none is, or its master is gone."""
        state = read_state(self.folder)
        if state is None:
            raise _nothing_up()
        master = state.daemon("master")
        if master is None or not self.engine(state).is_alive(master):
            raise NotAvailable(
                "the local cluster has no master any more", "start it anew: `sparkvault local down`, then `up`"
            )
        if not state.ready:
            raise NotAvailable("the local cluster is just starting", "wait for `sparkvault local up` to end")
        return state

    def _choose(self, choice: EngineChoice, data: Path | None, progress: Progress) -> _Engine:
        """The engine that was asked for, with its images or programs there. Raises SparkvaultError.

        `auto` is containers where an engine is reachable and has our images or can build them, and says why not.
        """
        reachable = docker_engine() if choice != "process" else None
        if choice == "docker" and reachable is None:
            raise SparkvaultError("no Docker engine is reachable", "start Docker, or use `--engine process`")
        if reachable is None:
            return self._process_engine()
        progress(f"Docker engine {reachable}")
        seen = (data or Path.cwd()).absolute()
        if not seen.is_dir() or seen == Path("/"):
            raise UsageError(f"{seen} cannot be the folder of data", "give one with --data, or go to one")
        self.folder.prepare()
        program = spark_images.docker_program()
        log = self.folder.logs / "images.build"
        try:
            images = {name: spark_images.ensure(name, program, log, progress) for name in IMAGES}
        except SparkvaultError as error:
            if choice == "docker":
                raise
            progress(f"plain processes instead of containers: {error.what.splitlines()[0]} The log is {log}")
            return self._process_engine()
        return DockerEngine(self.folder, images, [str(seen)])

    def _process_engine(self) -> ProcessEngine:
        return ProcessEngine(self.folder, find_java().home, find_spark())

    def engine(self, state: ClusterState) -> _Engine:
        """What runs that cluster. Raises SparkvaultError where its docker client is gone."""
        if state.engine == "docker":
            return DockerEngine(self.folder, state.images, state.data)
        return ProcessEngine(self.folder, Path(state.java_home), Path(state.spark_home))

    def _make_way(self, progress: Progress) -> None:
        """Refuse where a cluster is up; clear away what one that broke down has left."""
        state = read_state(self.folder)
        if state is not None:
            engine = self.engine(state)
            master = state.daemon("master")
            if state.ready and master and engine.is_alive(master):
                raise SparkvaultError(
                    f"a local cluster is up already: {state.master_url}, {len(state.workers)} workers, "
                    f"web UI {state.master_ui}",
                    "use it; `sparkvault scale N` changes its size, `sparkvault local down` ends it",
                )
        if self.folder.state.exists() or marked(self.folder):
            progress("clearing away what is left of a cluster that broke down")
            self._end_processes()
            self._forget()

    def _start(self, engine: _Engine, size: WorkerSize, progress: Progress, timeout: float) -> None:
        master_port = free_port(MASTER_PORT)
        ui_port = free_port(MASTER_UI_PORT)
        if ui_port != MASTER_UI_PORT:
            progress(f"port {MASTER_UI_PORT} is taken: the master's web UI is on {ui_port}")
        shutil.rmtree(self.folder.executors, ignore_errors=True)  # of the last cluster, with their logs
        state = _new_state(engine, master_port, ui_port, size)
        secret = spark_conf.new_secret()
        write_state(self.folder, state)
        daemons = spark_conf.daemon_settings(secret)
        drivers = spark_conf.driver_settings(secret, state.master_url, size, self.folder)
        if isinstance(engine, DockerEngine):
            daemons, drivers = map(spark_conf.in_containers, (daemons, drivers))
        spark_conf.write_conf(self.folder.daemon_conf, daemons, daemon_level="info")
        spark_conf.write_conf(self.folder.driver_conf, drivers, daemon_level="warn")
        engine.prepare(secret)
        progress(f"starting the master and {_described(size)}")
        state = state.with_daemon(engine.start_master(master_port, ui_port))
        write_state(self.folder, state)
        state = self._start_workers(engine, state, progress)
        self._await_workers(engine, state, progress, timeout)
        write_state(self.folder, state.model_copy(update={"ready": True}))

    def _start_workers(self, engine: _Engine, state: ClusterState, progress: Progress) -> ClusterState:
        """Start those that are missing; each is on record as soon as it runs."""
        taken = {int(daemon.ui.rpartition(":")[2]) for daemon in state.daemons}
        number = 0
        while len(state.workers) < state.size.workers:
            number += 1
            if state.daemon(f"worker-{number}"):
                continue
            port = free_port(WORKER_UI_PORT, taken)
            taken.add(port)
            if port != WORKER_UI_PORT + number - 1:
                progress(f"port {WORKER_UI_PORT + number - 1} is taken: the web UI of worker-{number} is on {port}")
            state = state.with_daemon(engine.start_worker(number, state.master_url, port, state.size))
            write_state(self.folder, state)
        return state

    def _add_workers(self, engine: _Engine, state: ClusterState, progress: Progress, timeout: float) -> None:
        """Bring a running cluster to its size; if that fails, the workers that were there stay and the new ones go."""
        write_state(self.folder, state)
        try:
            with interruptible():
                for attempt in range(1, PORT_ATTEMPTS + 1):
                    try:
                        self._await_workers(engine, self._start_workers(engine, state, progress), progress, timeout)
                        return
                    except _PortTaken as error:
                        if attempt == PORT_ATTEMPTS:
                            raise
                        progress(f"{error.what}; trying the next free ones")
                        self._remove_new(engine, state)
        except BaseException:
            with uninterrupted():
                self._remove_new(engine, state)
            raise

    def _remove_new(self, engine: _Engine, before: ClusterState) -> None:
        now = read_state(self.folder) or before
        engine.stop([daemon for daemon in now.daemons if daemon not in before.daemons])
        write_state(self.folder, before)

    def _await_workers(self, engine: _Engine, state: ClusterState, progress: Progress, timeout: float) -> None:
        """Return once the master is ALIVE and has all our workers. Raises WaitTimeout, SparkvaultError."""
        expected = {worker.ui for worker in state.workers}
        deadline = time.monotonic() + timeout
        told = ""
        while True:
            info = ask_master(state.master_ui)
            here = {worker.webuiaddress for worker in info.alive_workers} if info else set()
            if info and info.status == "ALIVE" and info.url == state.master_url and expected <= here:
                return
            self._check_alive(engine, state.daemons)
            waits_for = (
                f"the workers to join ({len(expected & here)} of {len(expected)})"
                if info
                else f"the master to answer at {state.master_ui}"
            )
            if time.monotonic() > deadline:
                raise WaitTimeout(waits_for, timeout, f"the logs are in {self.folder.logs}")
            if waits_for != told:
                told = waits_for
                progress(f"waiting for {told}")
            time.sleep(_POLL_SECONDS)

    def _check_alive(self, engine: _Engine, daemons: list[Daemon]) -> None:
        """Raise with the reason from its log if one has ended."""
        for daemon in daemons:
            if not engine.is_alive(daemon):
                reason = reason_in(engine.log(daemon.name))
                if any(sign in reason for sign in _PORT_TAKEN):
                    raise _PortTaken(f"another program took a port of {daemon.name}", "try again")
                raise SparkvaultError(f"{daemon.name} ended: {reason}", f"its log is {engine.log(daemon.name)}")

    def _end_processes(self) -> int:
        """End whatever belongs to the cluster, on record or not; it inherits the marker, whoever started it."""
        ended = 0
        state = read_state(self.folder)
        before = len(marked(self.folder))
        if state is not None:
            with suppress(SparkvaultError):  # an engine that has gone took its containers with it
                self.engine(state).sweep()
        # What is being started while we look is found the next time.
        while found := marked(self.folder):
            ended += end_all(found)
        return max(ended, before)  # clients of containers end with them

    def _forget(self) -> None:
        """Remove the secret, shuffle and spill files, and the record; logs and jobs stay."""
        for gone in (self.folder.daemon_conf.parent, self.folder.scratch):
            shutil.rmtree(gone, ignore_errors=True)
        try:
            self.folder.state.unlink(missing_ok=True)
        except OSError as error:
            raise unwritable(self.folder.state, error) from error

    @contextmanager
    def _changing(self, *, prepare: bool) -> Iterator[None]:
        """Hold the lock: one command at a time changes the cluster."""
        if prepare:
            self.folder.prepare()
        lock = FileLock(self.folder.lock, timeout=0, mode=0o600)
        try:
            lock.acquire()
        except Timeout as error:
            raise SparkvaultError(
                "another command is just changing the local cluster", "wait for it to end, then try again"
            ) from error
        except OSError as error:
            if prepare:
                raise unwritable(self.folder.lock, error) from error
            # A disk that has gone read-only must not keep anybody from ending what runs.
        try:
            yield
        finally:
            lock.release()


def _new_state(engine: _Engine, master_port: int, ui_port: int, size: WorkerSize) -> ClusterState:
    master_ui = f"http://{LOOPBACK}:{ui_port}"
    if isinstance(engine, DockerEngine):
        return ClusterState(
            engine="docker",
            images=engine.images,
            data=engine.data,
            master_url=MASTER_URL,
            master_ui=master_ui,
            size=size,
        )
    return ClusterState(
        java_home=str(engine.java_home),
        spark_home=str(engine.spark_home),
        master_url=f"spark://{LOOPBACK}:{master_port}",
        master_ui=master_ui,
        size=size,
    )


class _PortTaken(SparkvaultError):
    """Someone else was quicker to bind a port that had been free."""


def _component(daemon: Daemon, engine: _Engine, info: MasterInfo | None) -> Component:
    if not engine.is_alive(daemon):
        return Component(daemon.name, daemon.kind, "dead", False, f"{reason_in(engine.log(daemon.name))}", daemon.ui)
    if daemon.kind == "history":
        return Component(daemon.name, daemon.kind, "alive", True, address=daemon.ui)
    if info is None:
        return Component(daemon.name, daemon.kind, "unknown", False, "the master does not answer", daemon.ui)
    if daemon.kind == "master":
        return Component(daemon.name, daemon.kind, info.status.lower(), info.status == "ALIVE", info.url, daemon.ui)
    mine = [worker for worker in info.workers if worker.webuiaddress == daemon.ui]
    if not mine:
        return Component(daemon.name, daemon.kind, "starting", False, "not registered with the master", daemon.ui)
    worker = next((one for one in mine if one.state == "ALIVE"), mine[-1])
    detail = f"{worker.coresused} of {worker.cores} cores, {worker.memoryused} of {worker.memory} MiB in use"
    return Component(daemon.name, daemon.kind, worker.state.lower(), worker.state == "ALIVE", detail, daemon.ui)


def _described(size: WorkerSize) -> str:
    cores = "1 core" if size.cores == 1 else f"{size.cores} cores"
    workers = "1 worker with" if size.workers == 1 else f"{size.workers} workers, each with"
    return f"{workers} {cores} and {size.memory_mib} MiB"


def _nothing_up() -> NotAvailable:
    return NotAvailable("no local cluster is up", "`sparkvault local up` starts one")
