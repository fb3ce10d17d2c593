"""A YARN host boots from the bundle of all hosts: its own programs and packages, its own units in the swarm's place."""

import json
import zipfile
from pathlib import Path

import pytest

from tests.support.boot_sandbox import BootSandbox
from tests.unit.test_boot_script import host_of

PROGRAMS = "s3://assets/0a1b.zip"


def yarn_host(folder: Path, role: str) -> BootSandbox:
    host = host_of(folder, role=role)
    host.write("etc/sparkvault/yarn.json", json.dumps({"programs": PROGRAMS, "settings": "/x", "master": "/y"}))
    archive = folder / "programs.zip"
    with zipfile.ZipFile(archive, "w") as written:
        written.writestr("sparkvault_yarn/agent.py", "")
    host.stand_in(
        "aws", f'[[ "$*" == *{PROGRAMS}* ]] && mkdir -p "$(dirname "${{@: -1}}")" && cp {archive} "${{@: -1}}"'
    )
    return host


@pytest.mark.parametrize(
    ("role", "own", "others"), [("yarn-master", "namenode", "nodemanager"), ("yarn-node", "nodemanager", "namenode")]
)
def test_it_has_its_own_agent_and_daemons_and_nothing_of_the_swarms(
    tmp_path: Path, role: str, own: str, others: str
) -> None:
    host = yarn_host(tmp_path, role)
    result = host.boot()
    assert result.returncode == 0, result.stderr
    assert "-m sparkvault_yarn.agent" in host.read("etc/systemd/system/sparkvault-agent.service")
    assert "-m sparkvault_yarn.broker" in host.read("etc/systemd/system/sparkvault-broker.service")
    installed = {path.name for path in (host.root / "etc/systemd/system").iterdir()}
    assert f"sparkvault-{own}.service" in installed
    assert f"sparkvault-{others}.service" not in installed
    assert {"sparkvault-metadata-guard.service", "var-lib-docker.mount"} <= installed
    assert (host.root / "opt/sparkvault/yarn/sparkvault_yarn/agent.py").exists()
    # The agent, which sets up what the daemons need, comes before them.
    started = host.order_of("systemctl start sparkvault-agent.service", f"systemctl start sparkvault-{own}.service")
    assert started == sorted(started)


def test_the_realm_is_for_the_master_alone(tmp_path: Path) -> None:
    for role in ("yarn-master", "yarn-node"):
        host = yarn_host(tmp_path / role, role)
        assert host.boot().returncode == 0
        packages = {word for call in host.calls if call.startswith("dnf install") for word in call.split()}
        assert {"docker", "krb5-workstation", "java-17-amazon-corretto-headless"} <= packages
        assert ("krb5-server" in packages) == (role == "yarn-master")


def test_programs_that_cannot_be_fetched_are_the_reason(tmp_path: Path) -> None:
    host = yarn_host(tmp_path, "yarn-node")
    host.stand_in("aws", "exit 1")
    assert host.boot().returncode == 1
    assert host.reason() == f"YARN's programs could not be fetched from {PROGRAMS}"


def test_a_swarm_host_gets_nothing_of_yarns(tmp_path: Path) -> None:
    host = host_of(tmp_path, role="worker")
    assert host.boot().returncode == 0
    assert not any("krb5" in call or "yarn" in call for call in host.calls)
    assert "-m sparkvault_host.agent" in host.read("etc/systemd/system/sparkvault-agent.service")
