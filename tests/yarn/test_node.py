"""A real node of gVisor containers: executor, guard and engine together, asked as the NodeManager asks."""

import subprocess
from collections.abc import Generator
from pathlib import Path

import pytest

from assets.yarn.sparkvault_yarn import enforcement
from assets.yarn.sparkvault_yarn.diagnosis import why_refused
from emulation.engine import Engine
from emulation.yarn import YarnCluster
from tests.yarn.node_manager_double import NodeManagerDouble

#: The first one waits for the image, some minutes where nothing is cached.
pytestmark = pytest.mark.timeout(1800)

HOST_KERNEL = Path("/proc/version").read_text(encoding="utf-8").strip()


@pytest.fixture(scope="module")
def node(engine: Engine, hadoop_jars: Path) -> Generator[YarnCluster, None, None]:
    """Nothing of Hadoop runs: what is looked at is what stands below it."""
    with YarnCluster("runsc", engine, daemons=False, progress=print) as cluster:
        yield cluster


def test_a_container_that_asks_for_nothing_has_a_kernel_of_its_own(node: YarnCluster) -> None:
    ended = NodeManagerDouble(node).launched(
        "id -un; cat /proc/version; ls /etc/passwd.host; $JAVA_HOME/bin/java -version"
    )
    assert ended.exit_code == 0, ended
    assert "ada" in ended.output
    assert "Linux version" in ended.output
    assert HOST_KERNEL not in ended.output
    assert "sparkvault: runtime runsc, kernel in this container" in ended.output


def test_its_exit_code_comes_through(node: YarnCluster) -> None:
    assert NodeManagerDouble(node).launched("exit 3").exit_code == 3


def test_it_has_its_own_folder_and_none_of_another_tenants(node: YarnCluster) -> None:
    hers = NodeManagerDouble(node, "bea")
    assert hers.launched("echo hers > secret && chmod 644 secret").exit_code == 0
    place = f"{node.work}/state/local/usercache/bea/appcache/{hers.application}"
    seen = NodeManagerDouble(node).launched(f"echo mine > own && cat own; ls {place} {node.work}/state/local/nmPrivate")
    assert "mine" in seen.output
    assert seen.output.count("No such file or directory") == 2


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"runtime": "runc"}, "docker runtime requested: 'runc'"),
        ({"net": "host"}, "docker network requested: 'host'"),
        ({"net": "none"}, "docker network requested: 'none'"),
        ({"privileged": "true"}, "Privileged containers are disabled"),
        ({"pid": "host"}, "Host pid namespace is disabled"),
        ({"cap_add": "SYS_ADMIN"}, "docker capability requested"),
        ({"devices": "/dev/kvm:/dev/kvm"}, "docker device requested"),
        ({"more_mounts": "/etc:/host:ro"}, "does not allow docker mount"),
        ({"image": "sparkvault/other:1"}, "is not one that user 20000 may run"),
        ({"image": "elsewhere/spark:1"}, "is not one that user 20000 may run"),
        ({"user": "0:0"}, "not as root"),
        # Another tenant's number with this tenant's folders.
        ({"user": "20001:20001"}, "not a folder of user 20001"),
    ],
)
def test_what_no_container_gets_is_refused_on_the_node(node: YarnCluster, asked: dict[str, str], said: str) -> None:
    ended = NodeManagerDouble(node).launched("echo started", **asked)
    assert ended.exit_code == 29
    assert said in ended.said
    assert "started" not in ended.output


def test_another_tenants_folder_cannot_be_mounted(node: YarnCluster) -> None:
    hers = NodeManagerDouble(node, "bea")
    hers.launched("true")
    place = f"{node.work}/state/local/usercache/bea/appcache/{hers.application}"
    for mode in ("ro", "rw"):
        ended = NodeManagerDouble(node).launched("echo started", more_mounts=f"{place}:/hers:{mode}")
        assert (ended.exit_code, "started" in ended.output) == (29, False)
        assert why_refused(ended.said) is not None


def test_users_that_are_no_tenants_start_nothing(node: YarnCluster) -> None:
    for name in ("root", "daemon", "games", "nobody-knows"):
        done = NodeManagerDouble(node).executor(
            name, name, "0", "application_1_1", "container_1", "/x", "/y", "/z", "id"
        )
        assert done.returncode == 2, name


def test_the_node_is_as_its_check_wants_it_and_says_what_was_changed(node: YarnCluster) -> None:
    assert enforcement.problems(node.node()) == []
    path = node.work / "conf" / "yarn-site.xml"
    before = path.read_text(encoding="utf-8")
    try:
        path.write_text(before.replace("<value>docker</value>", "<value>default</value>"), encoding="utf-8")
        assert any("allowed-runtimes" in problem for problem in enforcement.problems(node.node()))
    finally:
        path.write_text(before, encoding="utf-8")


def test_a_container_past_the_guard_still_gets_the_runtime(node: YarnCluster) -> None:
    # Whoever starts one by Docker itself, without a word about runtimes.
    docker = ["/usr/bin/docker", "-H", f"unix://{node.engine.socket}", "run", "--rm", "--network", "none"]
    done = subprocess.run(
        [*docker, "--entrypoint", "cat", node.image, "/proc/version"], capture_output=True, text=True, timeout=120
    )
    assert done.stdout.startswith("Linux version")
    assert done.stdout.strip() != HOST_KERNEL


def test_the_launcher_ends_on_its_hosts_own_kernel(node: YarnCluster, tmp_path: Path) -> None:
    about = tmp_path / "node"
    about.write_text(f"runsc\n{HOST_KERNEL}\n")
    tmp_path.chmod(0o755)
    docker = ["/usr/bin/docker", "-H", f"unix://{node.engine.socket}", "run", "--rm", "--network", "none"]
    java = [node.image, "/opt/yarn/bin/java", "-version"]
    mounted = ["--runtime", "runc", "-v", f"{about}:/run/sparkvault/node:ro"]
    ended = subprocess.run([*docker, *mounted, *java], capture_output=True, text=True, timeout=120)
    assert (ended.returncode, "its host's own kernel" in ended.stderr) == (78, True)
    alone = subprocess.run([*docker, "--runtime", "runc", *java], capture_output=True, text=True, timeout=120)
    assert (alone.returncode, "under a sparkvault node's guard only" in alone.stderr) == (78, True)
