"""What a YARN host does when Auto Scaling takes it, and what the master does about it."""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from assets.yarn.sparkvault_yarn import cluster_status, executors, hadoop_settings, master_host, node_host, places
from assets.yarn.sparkvault_yarn.host_settings import YarnFile
from assets.yarn.sparkvault_yarn.master import Master
from sparkvault_host import lifecycle
from sparkvault_host.engine_api import EngineApi
from sparkvault_host.identity import HostIdentity, Metadata

IDENTITY = HostIdentity(
    cluster="hadoop", role="yarn-node", region="eu-central-1", group="hadoop-yarn-nodes", drain_hook="drain",
    drain_timeout_seconds=600, log_group="", parameters="", job_bucket="", enclave_memory_mib=0,
    instance="i-0a", address="10.0.0.2", zone="eu-central-1a",
)  # fmt: skip
FILE = YarnFile("/settings", "/master")


class About(Metadata):
    """The metadata service of a host that Auto Scaling takes."""

    def get(self, path: str) -> str | None:
        return {"local-hostname": "ip-10-0-0-2.internal", "autoscaling/target-lifecycle-state": "Terminated"}.get(path)


class System:
    """systemd, AWS and the clock around a node."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.nodemanager, self.now, self.stopped, self.calls, self.told = "active", 0.0, [], [], []
        monkeypatch.setattr(hadoop_settings, "run", self.run)
        monkeypatch.setattr(lifecycle, "aws", lambda *words: self.calls.append(words))
        monkeypatch.setattr(time, "monotonic", lambda: self.now)

    stopped: list[str]
    calls: list[tuple[str, ...]]
    told: list[str]

    def run(self, *command: str, **_: Any) -> str:
        if command[:2] == ("docker", "exec"):
            self.told.append(command[2])
        if command[:2] == ("systemctl", "stop"):
            self.stopped.append(command[2])
        return self.nodemanager if "show" in command else ""


@pytest.fixture
def system(monkeypatch: pytest.MonkeyPatch) -> System:
    return System(monkeypatch)


class Engine(EngineApi):
    """An engine with two containers of YARN's and one of somebody else; `Created` as Docker says it."""

    def get(self, path: str, **_: Any) -> Any:
        assert path == "/containers/json"
        names = {"container_1_0001_01_000002": 0, "container_1_0001_01_000003": 90, "registry": 0}
        return [{"Names": [f"/{name}"], "Created": created} for name, created in names.items()]


@pytest.fixture
def node(system: System, monkeypatch: pytest.MonkeyPatch) -> node_host.NodeHost:
    found = node_host.NodeHost(IDENTITY, About(), FILE)
    monkeypatch.setattr(found, "_executors", executors.Executors(Engine(), clock=lambda: 100.0 + system.now))
    return found


def test_a_node_waits_until_resourcemanager_has_ended_its_nodemanager(node: node_host.NodeHost, system: System) -> None:
    node.keep()
    assert system.calls == []
    assert system.stopped == []
    system.nodemanager = "inactive"
    node.keep()
    node.keep()
    [call] = system.calls
    assert call[:2] == ("autoscaling", "complete-lifecycle-action")
    assert "CONTINUE" in call
    assert "sparkvault-datanode.service" in system.stopped


def test_a_node_goes_before_its_group_takes_it_whatever_still_runs(node: node_host.NodeHost, system: System) -> None:
    node.keep()
    system.now = IDENTITY.drain_timeout_seconds - 1.0
    node.keep()
    assert [call[1] for call in system.calls] == ["complete-lifecycle-action"]
    assert system.stopped == ["sparkvault-nodemanager.service", "sparkvault-datanode.service"]


def test_executors_of_a_node_that_leaves_are_told_once_and_not_before_they_listen(
    node: node_host.NodeHost, system: System
) -> None:
    node.keep()
    assert system.told == ["container_1_0001_01_000002"]
    system.now = 60.0
    node.keep()
    node.keep()
    assert system.told == ["container_1_0001_01_000002", "container_1_0001_01_000003"]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[list[str]]:
    """What ResourceManager was told, each with the hosts that it read then."""
    told: list[list[str]] = []
    monkeypatch.setattr(places, "LEAVING", tmp_path / "leaving")
    (tmp_path / "leaving").write_text("")

    def administer(_: object, user: str, service: str, command: list[str]) -> None:
        assert (user, service) == ("yarn", "rm")
        told.append([*command[1:], *(tmp_path / "leaving").read_text().split()])

    monkeypatch.setattr(master_host.MasterHost, "_as", administer)
    return told


def test_a_node_that_leaves_is_drained_within_the_hooks_time_and_told_of_once(asked: list[list[str]]) -> None:
    master = master_host.MasterHost(IDENTITY, About(), FILE)
    master._let_go({"ip-10-0-0-9.internal"}, set())
    master._let_go({"ip-10-0-0-9.internal"}, set())
    [[*command, seconds, mode, host]] = asked
    assert command == ["rmadmin", "-refreshNodes", "-g"]
    assert int(seconds) < IDENTITY.drain_timeout_seconds
    assert (mode, host) == ("-server", "ip-10-0-0-9.internal")


def test_containers_of_a_node_that_is_gone_are_given_up_at_once_and_its_name_is_free_again(
    asked: list[list[str]],
) -> None:
    master = master_host.MasterHost(IDENTITY, About(), FILE)
    master._let_go(set(), {"ip-10-0-0-9.internal"})
    assert asked[0] == ["rmadmin", "-refreshNodes", "ip-10-0-0-9.internal"]
    assert asked[1][-1] == "-server"


@pytest.mark.parametrize(("state", "completed"), [("LOST", ["i-0b"]), ("DECOMMISSIONING", []), ("RUNNING", [])])
def test_the_hook_of_a_host_that_died_is_completed_by_the_master(
    monkeypatch: pytest.MonkeyPatch, system: System, state: str, completed: list[str]
) -> None:
    """Nobody on it can; one that still drains is let alone, and so are hosts that Auto Scaling does not hold."""
    reported = [{"host": "ip-10-0-0-9.internal", "state": state}, {"host": "ip-10-0-0-8.internal", "state": "LOST"}]
    monkeypatch.setattr(cluster_status, "nodes", lambda _: reported)
    monkeypatch.setattr(Master, "read", lambda: None)
    identity = replace(IDENTITY, group="hadoop-yarn-masters", drain_hook="hadoop-yarn-masters-drain")
    master = master_host.MasterHost(identity, About(), FILE)
    master._let_the_dead_go(IDENTITY.group, {"i-0b": "ip-10-0-0-9.internal"})
    assert [call[call.index("--instance-id") + 1] for call in system.calls] == completed
    for call in system.calls:
        assert call[call.index("--auto-scaling-group-name") + 1] == IDENTITY.group
        assert call[call.index("--lifecycle-hook-name") + 1] == f"{IDENTITY.group}-drain"
