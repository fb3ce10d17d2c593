"""The cluster's life: it outlives its terminal, says what is wrong, and leaves nothing behind however it ends."""

import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from sparkvault.errors import NotAvailable, SparkvaultError, UsageError
from sparkvault.jobs import JobState
from sparkvault.targets.local import cluster as cluster_module
from sparkvault.targets.local import machine
from sparkvault.targets.local.cluster import LocalCluster
from sparkvault.targets.local.folder import LocalFolder
from sparkvault.targets.local.machine import WorkerSize, this_machine
from sparkvault.targets.local.ports import MASTER_UI_PORT, free_port
from sparkvault.targets.local.processes import ProcessIdentity, marked
from sparkvault.targets.local.state import ClusterState, Daemon, read_state
from sparkvault.targets.local.target import LocalTarget
from tests.support.local_cluster import APPLICATIONS, secret_of, start, wait_until
from tests.support.terminal import Terminal

_UP = (
    "import sys; from pathlib import Path\n"
    "from sparkvault.targets.local.cluster import LocalCluster\n"
    "from sparkvault.targets.local.folder import LocalFolder\n"
    "tell = lambda text: print(text, flush=True)\n"
    "LocalCluster(LocalFolder(Path(sys.argv[1]))).up(1, '512m', 1, progress=tell)\n"
    "print('it is up', flush=True)\n"
)


def up_in_a_terminal(folder: LocalFolder) -> Terminal:
    return Terminal([sys.executable, "-c", _UP, str(folder.root)])


def silent(text: str) -> None:
    return


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    """A cluster whose terminal was closed, and whose usual port someone else had."""
    folder = LocalFolder(tmp_path_factory.mktemp("home") / "local")
    cluster = LocalCluster(folder)
    with socket.create_server(("127.0.0.1", free_port(MASTER_UI_PORT))) as other:
        taken = other.getsockname()[1]
        with up_in_a_terminal(folder) as terminal:
            terminal.read_until("it is up")
            assert "port 8080 is taken: the master's web UI is on" in terminal.shown
        try:
            state = read_state(folder)
            assert state is not None
            assert state.master_ui != f"http://127.0.0.1:{taken}"
            yield cluster
            job = start(LocalTarget(folder), APPLICATIONS / "hold.py", folder.root / "never", "nothing")
        finally:
            report = cluster.down(silent)
            assert marked(folder) == []
        assert report.cancelled_jobs == [job.id], "what still ran was cancelled, and said so"
        assert LocalTarget(folder).job(job.id).state is JobState.CANCELLED
        assert not folder.daemon_conf.parent.exists(), "the secret is gone"
        with pytest.raises(NotAvailable, match="no local cluster is up"):
            cluster.down(silent)


def test_it_outlives_its_terminal(cluster: LocalCluster) -> None:
    status = cluster.status()
    assert status.healthy, status
    for process in marked(cluster.folder):
        assert process.terminal() is None


def test_a_second_up_says_what_is_up(cluster: LocalCluster) -> None:
    with pytest.raises(SparkvaultError, match=r"up already: spark://127\.0\.0\.1") as error:
        cluster.up(1, "512m", 1, progress=silent)
    assert "sparkvault local down" in (error.value.remedy or "")
    assert cluster.status().healthy, "and does no harm"


def test_a_worker_that_was_killed_is_seen_and_replaced(cluster: LocalCluster) -> None:
    state = read_state(cluster.folder)
    assert state is not None
    psutil.Process(state.workers[0].process.pid).kill()
    wait_until("the status to say so", lambda: not cluster.status().healthy)
    dead = next(component for component in cluster.status().components if component.kind == "worker")
    assert (dead.state, dead.healthy) == ("dead", False)
    assert cluster.scale(1, silent).healthy


@pytest.mark.skipif(this_machine().cores < 2, reason="two workers need two cores")
def test_it_grows_and_shrinks_under_a_running_job(cluster: LocalCluster, tmp_path: Path) -> None:
    grown = cluster.scale(2, silent)
    assert grown.healthy
    assert [one.name for one in grown.components if one.kind == "worker"] == ["worker-1", "worker-2"]
    target = LocalTarget(cluster.folder)
    running = start(target, APPLICATIONS / "hold.py", tmp_path / "go")
    wait_until("executors on both workers", lambda: " 2 of 2 cores" in cluster.status().summary)
    told: list[str] = []
    shrunk = cluster.scale(1, told.append)
    assert shrunk.healthy
    assert [one.name for one in shrunk.components if one.kind == "worker"] == ["worker-1"]
    assert told == ["draining worker-2"], "it has handed over its blocks in time"
    (tmp_path / "go").touch()
    assert "let go 45" in list(target.follow(running.id)), "the job goes on with what is left"
    assert target.job(running.id).state is JobState.SUCCEEDED


def test_it_does_not_grow_beyond_the_machine(cluster: LocalCluster) -> None:
    with pytest.raises(UsageError, match=r"more than the \d+ cores of this machine"):
        cluster.scale(this_machine().cores + 1, silent)
    assert cluster.status().healthy


def test_a_master_that_was_killed_is_seen_and_the_next_up_clears_away(cluster: LocalCluster) -> None:
    state = read_state(cluster.folder)
    assert state is not None
    secret = secret_of(cluster.folder)
    master = psutil.Process(state.daemons[0].process.pid)
    master.kill()
    gone, _ = psutil.wait_procs([master], timeout=30)
    assert gone == [master]
    wait_until("the status to say so", lambda: not cluster.status().healthy)
    with pytest.raises(NotAvailable, match="no master"):
        cluster.running()
    told: list[str] = []
    assert cluster.up(1, "512m", 1, progress=told.append).healthy
    assert told[0] == "clearing away what is left of a cluster that broke down"
    assert len([one for one in marked(cluster.folder) if "java" in one.name()]) == 2
    assert secret_of(cluster.folder) != secret


def test_state_of_processes_that_are_gone_is_cleared_away(tmp_path: Path, target_state: str) -> None:
    """After a reboot the record names pids that belong to others now; they are left alone."""
    folder = LocalFolder(tmp_path / "local")
    folder.prepare()
    folder.state.write_text(target_state)
    cluster = LocalCluster(folder)
    assert not cluster.status().healthy
    assert cluster.down(silent).processes == 0
    assert psutil.Process().is_running()
    assert not folder.state.exists()


@pytest.fixture
def target_state() -> str:
    """A record whose master has this test's own pid, but was started before the last boot."""
    before = ProcessIdentity(pid=psutil.Process().pid, started="another-boot 17")
    master = Daemon(name="master", kind="master", ui="http://127.0.0.1:1", process=before)
    return ClusterState(
        java_home="/none",
        spark_home="/none",
        master_url="spark://127.0.0.1:1",
        master_ui="http://127.0.0.1:1",
        size=WorkerSize(1, 1, 512),
        ready=True,
        daemons=[master],
    ).model_dump_json()


@pytest.mark.parametrize(
    ("moment", "number"),
    [
        ("starting the master", signal.SIGINT),
        ("waiting for the master", signal.SIGINT),
        ("waiting for the workers", signal.SIGINT),
        ("waiting for the master", signal.SIGTERM),
        ("waiting for the master", signal.SIGHUP),
    ],
)
def test_an_interrupted_up_leaves_nothing(tmp_path: Path, moment: str, number: signal.Signals) -> None:
    folder = LocalFolder(tmp_path / "local")
    with up_in_a_terminal(folder) as terminal:
        terminal.read_until(moment)
        terminal.process.send_signal(number)
        assert terminal.exit_code() != 0
    assert "it is up" not in terminal.shown
    assert marked(folder) == []
    assert not folder.state.exists()
    assert not folder.daemon_conf.exists()


def test_an_up_that_was_killed_leaves_what_down_finds(tmp_path: Path) -> None:
    folder = LocalFolder(tmp_path / "local")
    with up_in_a_terminal(folder) as terminal:
        terminal.read_until("waiting for the master")
        terminal.process.kill()
        terminal.process.wait(timeout=10)
    assert marked(folder)
    assert LocalCluster(folder).down(silent).processes >= 2, "with the launchers, if they are still at it"
    assert marked(folder) == []


def test_two_commands_at_once_do_not_meet(tmp_path: Path) -> None:
    folder = LocalFolder(tmp_path / "local")
    with up_in_a_terminal(folder) as terminal:
        terminal.read_until("starting the master")
        for command in (lambda: LocalCluster(folder).up(progress=silent), lambda: LocalCluster(folder).down(silent)):
            with pytest.raises(SparkvaultError, match="another command is just changing"):
                command()
        terminal.process.send_signal(signal.SIGINT)
        terminal.exit_code()
    assert marked(folder) == []


def test_a_worker_that_cannot_start_is_named_with_its_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A port that is taken after it was found free: started over, and given up in the end."""
    told: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        monkeypatch.setattr(cluster_module, "PORT_ATTEMPTS", 2)
        monkeypatch.setattr(cluster_module, "free_port", lambda usual, taken=(): port)
        cluster = LocalCluster(LocalFolder(tmp_path / "local"))
        with pytest.raises(SparkvaultError, match=r"another program took a port of (master|worker-1)"):
            cluster.up(1, "512m", 1, progress=told.append)
    assert sum("starting over" in line for line in told) == 1
    assert marked(cluster.folder) == []
    assert not cluster.folder.state.exists()


def test_waiting_ends_with_what_was_waited_for(tmp_path: Path) -> None:
    cluster = LocalCluster(LocalFolder(tmp_path / "local"))
    with pytest.raises(SparkvaultError, match=r"waited 0 s for the master to answer at http://127.0.0.1"):
        cluster.up(1, "512m", 1, progress=silent, timeout=0.1)
    assert marked(cluster.folder) == []


def test_nothing_is_up_in_a_fresh_folder(tmp_path: Path) -> None:
    cluster = LocalCluster(LocalFolder(tmp_path / "local"))
    assert cluster.status().summary == "no local cluster is up"
    with pytest.raises(NotAvailable, match="no local cluster is up"):
        cluster.down(silent)
    assert not (tmp_path / "local").exists(), "looking makes nothing"


def test_more_than_the_machine_has_is_refused_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster_module, "this_machine", lambda: machine.Machine(cores=2, memory_mib=8192))
    with pytest.raises(UsageError, match="1 worker with 9216 MiB is more than the 8192 MiB"):
        LocalCluster(LocalFolder(tmp_path / "local")).up(1, "9G", progress=silent)
    assert not (tmp_path / "local").exists()
