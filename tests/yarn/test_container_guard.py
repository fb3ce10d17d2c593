"""The last check before Docker: whatever Hadoop's own checks let through, a container gets only what it should."""

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from assets.yarn.sparkvault_yarn import container_guard
from assets.yarn.sparkvault_yarn.container_guard import Refused, checked

POLICY = {
    "runtime": "runsc",
    "network": "containers",
    "images": {"*": ["sparkvault/spark-yarn:1"], "20001": ["sparkvault/own:1"]},
    "ro_mounts": ["/srv/users"],
    "rw_mounts": ["/srv/local"],
    "docker": ["/usr/bin/docker"],
    "add": ["--pids-limit", "100"],
}
#: As the executor writes it.
USUAL = ["run", "--name=container_1_1", "--user=20000:20000", "-d", "--workdir=/srv/local/a", "--net=containers",
         "-v", "/srv/users/passwd:/etc/passwd:ro", "--cap-drop=ALL",
         "--hostname=ctr-1", "--group-add", "20000"]  # fmt: skip
LAUNCH = ["bash", "/srv/local/a/launch_container.sh"]
OURS = ["sparkvault/spark-yarn:1", *LAUNCH]


def test_a_usual_container_gets_the_runtime_although_nobody_asked() -> None:
    made = checked([*USUAL, *OURS], POLICY)
    before = made[: made.index("sparkvault/spark-yarn:1")]
    assert before[before.index("--runtime") + 1] == "runsc"
    assert ("--cap-drop", "ALL") in itertools.pairwise(before)
    assert ("--security-opt", "no-new-privileges") in itertools.pairwise(before)
    assert before[-2:] == ["--pids-limit", "100"]
    assert made[-2:] == LAUNCH


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (["--runtime=runc"], "every container runs under 'runsc'"),
        (["--runtime", "runc"], "every container runs under 'runsc'"),
        (["--runtime=runsc", "--runtime=runc"], "every container runs under 'runsc'"),
        (["--privileged"], "a privileged container"),
        (["--device=/dev/kvm"], "a device of the host"),
        (["--cap-add=SYS_ADMIN"], "a capability"),
        (["--pid=host"], "process namespace"),
        (["--ipc=host"], "not one that YARN's containers need"),
        (["--userns=host"], "not one that YARN's containers need"),
        (["--mount", "type=bind,source=/,target=/host"], "not one that YARN's containers need"),
        (["--volume=/:/host"], "not one that YARN's containers need"),
        (["--net=host"], "the network containers, host"),
        (["-v", "/:/host:rw"], "YARN's own folders"),
        (["-v", "/srv/users:/users:rw"], "YARN's own folders"),
        (["-v", "/srv/local/../../etc:/host:ro"], "YARN's own folders"),
        (["-v", "/var/run/docker.sock:/var/run/docker.sock:ro"], "YARN's own folders"),
        (["-v", "volume:/host:ro"], "not SOURCE:PLACE"),
        (["--security-opt=seccomp=unconfined"], "only no-new-privileges"),
        (["--cgroup-parent=/"], "control group"),
        (["--user=0:0"], "exactly one numeric user"),
        (["-p", "80:80"], "a port of the host"),
    ],
)
def test_what_no_container_gets_is_refused_with_what_to_do(asked: list[str], said: str) -> None:
    with pytest.raises(Refused, match=said):
        checked([*USUAL, *asked, *OURS], POLICY)


def test_no_network_is_not_the_network() -> None:
    with pytest.raises(Refused, match="every container on this cluster has 'containers'"):
        checked([word for word in [*USUAL, *OURS] if not word.startswith("--net")], POLICY)


def test_a_container_without_a_user_is_refused() -> None:
    with pytest.raises(Refused, match="exactly one numeric user"):
        checked([word for word in [*USUAL, *OURS] if not word.startswith("--user")], POLICY)


def test_an_image_is_its_tenants_alone() -> None:
    own = ["sparkvault/own:1", *LAUNCH]
    with pytest.raises(Refused, match="not one that user 20000 may run"):
        checked([*USUAL, *own], POLICY)
    assert "sparkvault/own:1" in checked([word.replace("20000:20000", "20001:20001") for word in USUAL] + own, POLICY)


@pytest.mark.parametrize("command", [["exec", "-it", "container_1_1", "sh"], ["pull", "alpine"], ["cp", "a:/", "/b"],
                                     ["--config=/tmp/x", "run"], ["volume", "ls"], ["commit", "x"], []])  # fmt: skip
def test_docker_does_nothing_else_for_yarn(command: list[str]) -> None:
    with pytest.raises(Refused):
        checked(command, POLICY)


@pytest.mark.skipif(os.geteuid() != 0 and not os.environ.get("CI"), reason="only root can give folders to tenants")
def test_of_yarns_folders_a_container_gets_its_own(tmp_path: Path) -> None:
    local = tmp_path / "local"
    for name, owner in (("usercache/ada/appcache", 20000), ("usercache/bea/appcache", 20001), ("nmPrivate", 0)):
        (local / name).mkdir(parents=True)
        os.chown(local / name, owner, owner)
    (local / "way-out").symlink_to("/etc")
    policy = POLICY | {"rw_mounts": [str(local)], "ro_mounts": [str(local)]}

    def mounted(what: str) -> list[str]:
        return checked(["run", "--user=20000:20000", "--net=containers", "-v", f"{local}{what}", *OURS], policy)

    assert f"{local}/usercache/ada/appcache:/x:rw" in mounted("/usercache/ada/appcache:/x:rw")
    for what, said in (
        ("/usercache/bea/appcache:/x:rw", "not a folder of user 20000"),
        ("/usercache/bea/appcache:/x:ro", "not a folder of user 20000"),
        ("/usercache:/x:ro", "not a folder of user 20000"),
        ("/nmPrivate:/x:ro", "for the NodeManager alone"),
        (":/x:ro", "for the NodeManager alone"),
        ("/way-out:/x:rw", "YARN's own folders"),
    ):
        with pytest.raises(Refused, match=said):
            mounted(what)


def test_nobody_is_root(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="not as root"):
        checked(["run", "--user=0:0", "--net=containers", *OURS], POLICY)


@pytest.mark.skipif(os.geteuid() != 0 and not os.environ.get("CI"), reason="only root can own the policy")
def test_the_program_refuses_with_one_line_and_starts_nothing(tmp_path: Path) -> None:
    policy = tmp_path / "policy.json"
    policy.write_text(json.dumps(POLICY | {"docker": ["/bin/echo", "started"]}))
    run = [sys.executable, "-I", str(container_guard.__file__), str(policy)]
    refused = subprocess.run([*run, *USUAL, "--privileged", *OURS], capture_output=True, text=True, timeout=30)
    assert (refused.returncode, refused.stdout, refused.stderr.count("\n")) == (container_guard.REFUSED, "", 1)
    assert refused.stderr.startswith("sparkvault: the container asked for a privileged container")
    started = subprocess.run([*run, *USUAL, *OURS], capture_output=True, text=True, timeout=30)
    assert started.stdout.startswith("started run ")
    policy.chmod(0o666)
    lax = subprocess.run([*run, *USUAL, *OURS], capture_output=True, text=True, timeout=30)
    assert (lax.returncode, lax.stdout) == (container_guard.REFUSED, "")
    assert "can be written by others than root" in lax.stderr
