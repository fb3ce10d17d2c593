"""A stand-in for everything around a swarm agent: engines that form swarms, DynamoDB, Parameter Store, EC2, metadata.

It enforces the rules that the agent's safety rests on: conditional writes, who may read which parameter, join
tokens, versions of swarm objects, quorum. A host can lose power or its network; an agent can be killed around any
effect it has.
"""

from __future__ import annotations

import json
import re
import secrets
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sparkvault_host.agent.__main__ import Agent
from sparkvault_host.agent.act import Actor
from sparkvault_host.agent.health import Sickness
from sparkvault_host.agent.observe import Observer
from sparkvault_host.agent.records import Records
from sparkvault_host.aws_cli import AwsError
from sparkvault_host.engine_api import EngineError
from sparkvault_host.identity import HostIdentity

CLUSTER = "analytics"
DIGEST = "sha256:" + "a" * 64
PREFIX = f"/sparkvault/{CLUSTER}"
DESIRED = f"{PREFIX}/swarm/desired"


class Killed(BaseException):
    """The agent's process ends here, as by SIGKILL: nothing in it can catch or tidy up."""


@dataclass
class Swarm:
    """One swarm: what its Raft log would hold."""

    id: str
    nodes: dict[str, dict[str, Any]] = field(default_factory=dict)
    hosts: dict[str, str] = field(default_factory=dict)
    """Node → host."""
    tokens: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    version: int = 1
    services: dict[str, dict[str, Any]] = field(default_factory=dict)
    networks: dict[str, dict[str, Any]] = field(default_factory=dict)
    secrets: dict[str, dict[str, Any]] = field(default_factory=dict)

    def rotate(self) -> None:
        self.tokens = {"Worker": "worker-" + secrets.token_hex(4), "Manager": "manager-" + secrets.token_hex(4)}


@dataclass
class Host:
    """An instance with its engine and its agent's files."""

    id: str
    address: str
    role: str
    folder: Path
    state: str = "running"
    lifecycle: str = "InService"
    target: str = "InService"
    is_up: bool = True
    """Power and engine."""
    is_connected: bool = True
    is_settled: bool = True
    """Whether its engine has found its swarm since it was started: until then it says "pending"."""
    is_broken: bool = False
    """Whether its copy of the swarm's state is lost, so that its engine says "error" for ever."""
    swarm: str = ""
    node: str = ""
    images: set[str] = field(default_factory=set)
    healthy: bool = True
    forgets_to_hang_up: bool = False
    """Whether its engine goes on listening for its swarm's members when it leaves, until it is started anew."""
    gossips: bool = False
    """Whether something listens on the port on which members of a swarm speak to each other."""
    is_deaf: bool = False
    """Whether its engine has joined a swarm without being able to hear the others."""
    has_rival: bool = False
    """Whether it is another program than the engine that listens there."""
    restarts: int = 0
    """How often its engine was started anew."""
    can_write: bool = True
    """Whether its disk has room: an engine without any cannot even leave its swarm."""
    spot: dict[str, str] | None = None
    """The notice that EC2 will take it back."""
    agent: Agent | None = None


def identity_of(host: Host, log_group: str = "") -> HostIdentity:
    """What the host's programs know of it; without a log group nothing is sent."""
    return HostIdentity(
        cluster=CLUSTER,
        role=host.role,
        region="eu-central-1",
        group=f"{CLUSTER}-{host.role}s",
        drain_hook=f"{CLUSTER}-{host.role}s-drain",
        drain_timeout_seconds=120,
        log_group=log_group,
        parameters=PREFIX,
        job_bucket="jobs",
        enclave_memory_mib=0,
        instance=host.id,
        address=host.address,
        zone="eu-central-1a",
    )


class World:
    """All of it; ``step`` lets every agent take one turn."""

    def __init__(self, folder: Path) -> None:
        self.now = 1_800_000_000.0
        self.folder = folder
        self.hosts: dict[str, Host] = {}
        self.swarms: dict[str, Swarm] = {}
        self.item: dict[str, Any] | None = None
        self.epochs: list[tuple[int, str]] = []
        """Every epoch with the swarm it was given: no epoch may ever have two."""
        self.completed: list[str] = []
        settings = {"managers": 1, "worker_memory_mib": 1024, "worker_cores": 1, "key": "alias/analytics"}
        self.parameters: dict[str, tuple[str, str]] = {DESIRED: ("String", json.dumps(settings))}
        for image in ("master", "worker", "submit"):
            self.parameters[f"{PREFIX}/images/{image}"] = ("String", f"registry.test/{image}@{DIGEST}")
        self.registry_is_up = True
        self.asked: Counter[str] = Counter()
        """How often agents have asked AWS, by verb."""
        self.effects = 0
        self.kill_at: tuple[int, bool] | None = None
        """Number of the effect, and whether the agent dies after it rather than before."""
        self._asking: Host | None = None

    # What tests do to it

    def desire(self, **settings: object) -> None:
        """A deployment changes settings of the swarm."""
        wanted = json.loads(self.parameters[DESIRED][1]) | settings
        self.parameters[DESIRED] = ("String", json.dumps(wanted))

    def add(self, name: str, role: str) -> Host:
        """Auto Scaling starts an instance."""
        number = len(self.hosts) + 10
        host = Host(name, f"10.0.0.{number}", role, self.folder / name)
        self.hosts[name] = host
        self.start_agent(host)
        return host

    def start_agent(self, host: Host) -> None:
        """The agent's process starts, with nothing in its memory."""
        identity = identity_of(host)
        engine: Any = FakeEngine(self, host)
        metadata: Any = FakeMetadata(host)
        records = Records(host.folder / "lib", host.folder / "run")
        observer = Observer(identity, engine, records, metadata, Sickness(dict), clock=lambda: self.now)
        actor = Actor(identity, engine, records, lambda: observer.parameter_key, clock=lambda: self.now)
        host.agent = Agent(observer, actor)

    def is_listened_for(self, address: str) -> bool:
        """What the host that has the address sees of its own port."""
        return any(host.gossips for host in self.hosts.values() if host.address == address)

    def restart(self, unit: str) -> None:
        """What systemd does for the agent that asks."""
        assert self._asking is not None
        self._effect(lambda: self._restart(self._asking, unit))

    def _restart(self, host: Host, unit: str) -> None:
        assert unit == "docker.service", unit
        host.restarts += 1
        host.gossips = bool(host.swarm) or host.has_rival

    def power_off(self, host: Host) -> None:
        """The machine stops; EC2 and its group do not know it yet."""
        host.is_up, host.agent = False, None

    def power_on(self, host: Host) -> None:
        """It boots: its engine has its state, and looks for the others."""
        host.is_up, host.is_settled = True, not host.swarm
        self.start_agent(host)

    def terminate(self, host: Host) -> None:
        """EC2 ends it without asking: power off, gone from its group."""
        host.is_up, host.state, host.lifecycle, host.agent = False, "terminated", "", None

    def end(self, host: Host) -> None:
        """Auto Scaling asks it to go, and waits."""
        host.lifecycle, host.target = "Terminating:Wait", "Terminated"

    def spot_notice(self, host: Host, seconds: int = 120) -> None:
        """EC2 will take it back after so many seconds; its group knows nothing of that."""
        host.spot = {"action": "terminate", "time": self.time(seconds)}

    def time(self, later: float = 0.0) -> str:
        """The moment as AWS and Docker write it."""
        return datetime.fromtimestamp(self.now + later, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    def step(self) -> None:
        """A second passes."""
        self.now += 1.0
        for host in self.hosts.values():
            if host.agent is None or not host.is_up:
                continue
            self._asking = host
            agent = host.agent
            try:
                agent.step()
                pulls = agent._pulls._thread
                if pulls is not None:
                    pulls.join(10)
            except Killed:
                self.start_agent(host)

    def run(self, seconds: int) -> None:
        """Many steps."""
        for _ in range(seconds):
            self.step()

    def runs_until(self, what: Any, seconds: int = 300) -> bool:
        """Step until something is so; False where time is up before."""
        for _ in range(seconds):
            if what():
                return True
            self.step()
        return bool(what())

    # What tests look at

    @property
    def swarm(self) -> Swarm | None:
        """The cluster's swarm, as the item says."""
        return self.swarms.get(self.item["swarm_id"]["S"]) if self.item else None

    def is_whole(self) -> bool:
        """Whether every host that stays is in the one swarm, in its role, verified, and runs what it should."""
        swarm = self.swarm
        if swarm is None:
            return False
        stay = [host for host in self.hosts.values() if host.lifecycle == "InService"]
        if {swarm.hosts[node] for node in swarm.nodes} != {host.id for host in stay}:
            return False
        for host in stay:
            node = swarm.nodes.get(host.node)
            if node is None or node["Spec"]["Role"] != host.role or not _is_verified(node) or host.is_deaf:
                return False
        wanted = {"spark-master", "spark-worker"}
        managers = [host for host in stay if host.role == "manager"]
        return (
            wanted <= {service["Spec"]["Name"] for service in swarm.services.values()}
            and all(self.containers(host) for host in stay if host.role == "worker")
            and f"{PREFIX}/swarm/manager/join" not in self.parameters
            and self.leader(swarm) in {host.id for host in managers}
        )

    def leader(self, swarm: Swarm) -> str:
        """The host that leads, empty without a quorum."""
        managers = [node for node, each in swarm.nodes.items() if each["Spec"]["Role"] == "manager"]
        able = [node for node in managers if self._is_reachable(swarm, node)]
        return swarm.hosts[sorted(able)[0]] if len(able) * 2 > len(managers) else ""

    def containers(self, host: Host) -> list[str]:
        """Names of the services that have a task on the host."""
        swarm = self.swarms.get(host.swarm)
        node = swarm.nodes.get(host.node) if swarm else None
        if swarm is None or node is None or not host.is_up or node["Spec"]["Availability"] == "drain":
            return []
        return [
            service["Spec"]["Name"]
            for service in swarm.services.values()
            if _may_run(service["Spec"], node)
            and service["Spec"]["TaskTemplate"]["ContainerSpec"]["Image"] in host.images
        ]

    def _is_reachable(self, swarm: Swarm, node: str) -> bool:
        host = self.hosts[swarm.hosts[node]]
        known = host.swarm == swarm.id and host.node == node
        return host.is_up and host.is_connected and not host.is_broken and known

    # AWS

    def aws(self, *arguments: str, secret_input: dict[str, Any] | None = None, **_: Any) -> Any:
        """What the ``aws`` program would answer to the host that asks."""
        host = self._asking
        assert host is not None
        if not host.is_connected:
            raise AwsError("Unreachable", "no route", " ".join(arguments[:2]))
        verb = arguments[1]
        self.asked[verb] += 1
        given = {arguments[at]: arguments[at + 1] for at in range(2, len(arguments) - 1)}
        if verb == "get-item":
            return {"Item": self.item} if self.item else {}
        if verb == "put-item":
            return self._effect(lambda: self._put_item(given))
        if verb == "get-parameters":
            names = list(_words_after("--names", arguments))
            if host.role == "worker" and any(
                not name.startswith((f"{PREFIX}/swarm/worker/", f"{PREFIX}/images/")) for name in names
            ):
                raise AwsError("AccessDeniedException", "not for workers")
            return {
                "Parameters": [
                    {"Name": name, "Value": self.parameters[name][1]} for name in names if name in self.parameters
                ]
            }
        if verb == "put-parameter":
            assert host.role == "manager"
            assert secret_input is not None
            content = secret_input
            return self._effect(
                lambda: self.parameters.__setitem__(content["Name"], (content["Type"], content["Value"]))
            )
        if verb == "delete-parameter":
            return self._effect(lambda: self._delete(given["--name"]))
        if verb == "describe-auto-scaling-groups":
            return [[each.id, each.lifecycle] for each in self.hosts.values() if each.lifecycle]
        if verb == "describe-instances":
            return [[each.id, each.address, each.state, f"{CLUSTER}-{each.role}s"] for each in self.hosts.values()]
        if verb == "put-object":
            return None
        if verb == "complete-lifecycle-action":
            return self._effect(lambda: self._complete(host, given))
        if verb == "set-instance-health":
            return self._effect(lambda: self._replace(host))
        raise AssertionError(f"the agent may not call {arguments[:2]}")

    def _put_item(self, given: dict[str, str]) -> None:
        item, condition = json.loads(given["--item"]), given["--condition-expression"]
        values = json.loads(given.get("--expression-attribute-values", "{}"))
        old = self.item
        if condition == "attribute_not_exists(epoch)":
            holds = old is None
        elif condition == "epoch = :after":
            holds = old is not None and old["epoch"] == values[":after"]
        else:
            assert condition == "epoch = :epoch AND (swarm_id = :swarm OR (swarm_id = :none AND leader = :leader))"
            holds = (
                old is not None
                and old["epoch"] == values[":epoch"]
                and (
                    old["swarm_id"] == values[":swarm"]
                    or (old["swarm_id"]["S"] == "" and old["leader"] == values[":leader"])
                )
            )
        if not holds:
            raise AwsError("ConditionalCheckFailedException", "The conditional request failed")
        self.item = item
        pair = (int(item["epoch"]["N"]), item["swarm_id"]["S"])
        if pair[1] and pair not in self.epochs:
            self.epochs.append(pair)

    def _replace(self, host: Host) -> None:
        """Auto Scaling ends what is not healthy; tests start the successor."""
        host.healthy = False
        if host.lifecycle == "InService":
            self.end(host)

    def _delete(self, name: str) -> None:
        if self.parameters.pop(name, None) is None:
            raise AwsError("ParameterNotFound", name)

    def _complete(self, asking: Host, given: dict[str, str]) -> None:
        host = self.hosts[given["--instance-id"]]
        group = f"{CLUSTER}-{host.role}s"
        assert (given["--auto-scaling-group-name"], given["--lifecycle-hook-name"]) == (group, f"{group}-drain")
        # As the hosts' roles have it.
        if asking.role != host.role and asking.role != "manager":
            raise AwsError("AccessDenied", "not for workers")
        if host.lifecycle != "Terminating:Wait":
            raise AwsError("ValidationError", "No active Lifecycle Action found")
        self.completed.append(host.id)
        self.terminate(host)

    def _effect(self, do: Any) -> Any:
        self.effects += 1
        dies = self.kill_at is not None and self.kill_at[0] == self.effects
        if dies and self.kill_at and not self.kill_at[1]:
            raise Killed
        result = do()
        if dies:
            raise Killed
        return result


class FakeMetadata:
    """The metadata service of one host."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def lifecycle_state(self) -> str:
        return self._host.target

    def spot_notice(self) -> dict[str, str] | None:
        return self._host.spot


class FakeEngine:
    """One host's engine, as much of its API as the agent uses."""

    def __init__(self, world: World, host: Host) -> None:
        self._world = world
        self._host = host

    def get(self, path: str, **query: Any) -> Any:
        host = self._host
        if path == "/info":
            return {"Swarm": self._local()}
        if path == "/containers/json":
            return [
                {
                    "Id": f"{name}-{host.node}",
                    "Labels": {"com.docker.swarm.service.name": name},
                    "State": "running",
                    "Status": "Up",
                }
                for name in self._world.containers(host)
            ]
        if path.startswith("/images/"):
            if path[len("/images/") : -len("/json")] not in host.images:
                raise EngineError(404, "no such image")
            return {}
        if path.endswith("/top"):
            return {"Processes": []}
        swarm = self._managed()
        if path.startswith("/nodes/"):
            if path[len("/nodes/") :] not in swarm.nodes:
                raise EngineError(404, "no such node")
            return self._node(swarm, path[len("/nodes/") :])
        if path == "/nodes":
            return [self._node(swarm, node) for node in swarm.nodes]
        if path == "/swarm":
            return {
                "ID": swarm.id,
                "Version": {"Index": swarm.version},
                "Spec": {"Labels": dict(swarm.labels)},
                "JoinTokens": dict(swarm.tokens),
            }
        if path == "/services":
            labels = (query.get("filters") or {}).get("label", [])
            found = [each for each in swarm.services.values() if set(labels) <= set(each["Spec"]["Labels"])]
            return [self._service(swarm, each) for each in found]
        if path == "/networks":
            return list(swarm.networks.values())
        if path == "/secrets":
            (label,) = query["filters"]["label"]
            key, _, kind = label.partition("=")
            return [each for each in swarm.secrets.values() if each["Spec"]["Labels"].get(key) == kind]
        if path == "/tasks":
            return [
                {"NodeID": other.node, "Status": {"State": "running"}, "CreatedAt": ""}
                for other in self._world.hosts.values()
                for name in query["filters"]["service"]
                if other.swarm == host.swarm and name in self._world.containers(other)
            ]
        raise AssertionError(f"the agent may not get {path} {query}")

    def post(self, path: str, body: Any = None, *, headers: Any = None, **query: Any) -> Any:
        return self._world._effect(lambda: self._post(path, body, query))

    def delete(self, path: str, **query: Any) -> Any:
        return self._world._effect(lambda: self._delete(path))

    def stream(self, path: str, **query: Any) -> Iterator[bytes]:
        assert path == "/images/create"
        if not self._world.registry_is_up:
            raise EngineError(500, "the registry does not answer")
        self._host.images.add(f"{query['fromImage']}@{query['tag']}")
        yield b'{"status": "done"}\n'

    def _local(self) -> dict[str, Any]:
        host = self._host
        if not host.swarm:
            return {"LocalNodeState": "inactive"}
        swarm = self._world.swarms[host.swarm]
        # A host believes what it last heard; nobody tells it that it was removed while it was away.
        node = swarm.nodes.get(host.node)
        if not host.is_settled and self._world.leader(swarm) and host.is_connected and node is not None:
            host.is_settled = True
        if host.is_broken or not host.is_settled:
            state = "error" if host.is_broken else "pending"
            return {"LocalNodeState": state, "NodeID": host.node, "ControlAvailable": False}
        is_manager = node is not None and node["Spec"]["Role"] == "manager"
        local: dict[str, Any] = {"LocalNodeState": "active", "NodeID": host.node, "ControlAvailable": is_manager}
        if is_manager and self._world.leader(swarm):
            local["Cluster"] = {"ID": swarm.id}
        return local

    def _managed(self) -> Swarm:
        swarm = self._world.swarms.get(self._host.swarm)
        if self._local()["LocalNodeState"] != "active":
            raise EngineError(503, "This node is not a swarm manager")
        if swarm is None or swarm.nodes.get(self._host.node, {}).get("Spec", {}).get("Role") != "manager":
            raise EngineError(503, "This node is not a swarm manager")
        if not self._world.leader(swarm) or (not self._host.is_connected and len(swarm.nodes) > 1):
            raise EngineError(503, "The swarm does not have a leader")
        return swarm

    def _node(self, swarm: Swarm, node: str) -> dict[str, Any]:
        each = swarm.nodes[node]
        host = self._world.hosts[swarm.hosts[node]]
        up = self._world._is_reachable(swarm, node)
        shown = {**each, "Status": {"State": "ready" if up else "down", "Addr": host.address}}
        if each["Spec"]["Role"] == "manager":
            shown["ManagerStatus"] = {
                "Leader": self._world.leader(swarm) == host.id,
                "Reachability": "reachable" if up else "unreachable",
                "Addr": f"{host.address}:2377",
            }
        return shown

    def _service(self, swarm: Swarm, service: dict[str, Any]) -> dict[str, Any]:
        name = service["Spec"]["Name"]
        running = sum(
            1 for host in self._world.hosts.values() if host.swarm == swarm.id and name in self._world.containers(host)
        )
        return {**service, "ServiceStatus": {"RunningTasks": running, "DesiredTasks": max(1, running)}}

    def _post(self, path: str, body: Any, query: dict[str, Any]) -> Any:
        host, world = self._host, self._world
        if path == "/swarm/init":
            if host.swarm and not body["ForceNewCluster"]:
                raise EngineError(503, "This node is already part of a swarm")
            if body["ForceNewCluster"]:
                swarm = world.swarms[host.swarm]
                swarm.nodes = {
                    node: each
                    for node, each in swarm.nodes.items()
                    if each["Spec"]["Role"] == "worker" or node == host.node
                }
                return host.node
            swarm = Swarm("swarm-" + secrets.token_hex(6))
            swarm.rotate()
            world.swarms[swarm.id] = swarm
            return self._join(swarm, "manager")
        if path == "/swarm/join":
            if host.swarm:
                raise EngineError(503, "This node is already part of a swarm")
            for swarm in world.swarms.values():
                for role in ("Worker", "Manager"):
                    reached = any(
                        f"{other.address}:2377" in body["RemoteAddrs"] and other.is_up for other in world.hosts.values()
                    )
                    if (
                        swarm.tokens[role] == body["JoinToken"]
                        and world.leader(swarm)
                        and reached
                        and host.is_connected
                    ):
                        return self._join(swarm, role.lower())
            raise EngineError(503, "invalid join token, or no manager answers")
        if path == "/swarm/leave":
            if not host.swarm:
                raise EngineError(503, "This node is not part of a swarm")
            if not host.can_write:
                raise EngineError(500, "no space left on device")
            host.swarm, host.node, host.is_settled, host.is_broken = "", "", True, False
            host.gossips, host.is_deaf = host.forgets_to_hang_up, False
            return None
        if path.endswith("/kill"):
            return None
        swarm = self._managed()
        if path == "/swarm/update":
            _check_version(query, swarm.version)
            swarm.version += 1
            swarm.labels = body["Labels"]
            if query.get("rotateWorkerToken"):
                swarm.rotate()
            return None
        if path.startswith("/nodes/"):
            node = swarm.nodes[path.split("/")[2]]
            _check_version(query, node["Version"]["Index"])
            node["Version"] = {"Index": node["Version"]["Index"] + 1}
            node["Spec"] = body
            return None
        kind = {"services": swarm.services, "networks": swarm.networks, "secrets": swarm.secrets}[path.split("/")[1]]
        if path.endswith("/create"):
            if any(_name(each) == body["Name"] for each in kind.values()):
                raise EngineError(409, "name conflicts with an existing object")
            made = f"id-{len(kind)}-{secrets.token_hex(3)}"
            kind[made] = {
                "ID": made,
                "Id": made,
                "Name": body["Name"],
                "Version": {"Index": 1},
                "Spec": body,
                "CreatedAt": self._world.time(),
            }
            return {"ID": made, "Id": made}
        service = swarm.services[path.split("/")[2]]
        _check_version(query, service["Version"]["Index"])
        service["Version"] = {"Index": service["Version"]["Index"] + 1}
        service["Spec"] = body
        return None

    def _join(self, swarm: Swarm, role: str) -> str:
        node = f"node-{len(swarm.hosts):03d}-{secrets.token_hex(3)}"
        swarm.hosts[node] = self._host.id
        swarm.nodes[node] = {
            "ID": node,
            "Version": {"Index": 1},
            "CreatedAt": self._world.time(),
            "Spec": {"Role": role, "Availability": "active", "Labels": {}},
            "Description": {"Resources": {"NanoCPUs": 2_000_000_000, "MemoryBytes": 8 * 1024**3}},
        }
        self._host.swarm, self._host.node = swarm.id, node
        self._host.gossips, self._host.is_deaf = True, self._host.gossips
        return node

    def _delete(self, path: str) -> None:
        swarm = self._managed()
        kind, name = path.strip("/").split("/")
        found = {"nodes": swarm.nodes, "services": swarm.services, "secrets": swarm.secrets}[kind]
        if kind == "secrets" and any(name in _secrets_of(each["Spec"]) for each in swarm.services.values()):
            raise EngineError(400, "secret is in use by a service")
        if found.pop(name, None) is None:
            raise EngineError(404, "not found")


def _secrets_of(spec: dict[str, Any]) -> list[str]:
    return [str(each["SecretID"]) for each in spec["TaskTemplate"]["ContainerSpec"].get("Secrets", [])]


def _may_run(spec: dict[str, Any], node: dict[str, Any]) -> bool:
    for constraint in spec["TaskTemplate"]["Placement"]["Constraints"]:
        key, _, value = constraint.partition("==")
        have = (
            node["Spec"]["Role"] if key == "node.role" else node["Spec"]["Labels"].get(key.removeprefix("node.labels."))
        )
        if have != value:
            return False
    return True


def _is_verified(node: dict[str, Any]) -> bool:
    return bool(node["Spec"]["Labels"].get("sparkvault.verified") == "true")


def _check_version(query: dict[str, Any], version: int) -> None:
    if int(query["version"]) != version:
        raise EngineError(500, "update out of sequence")


def _name(each: dict[str, Any]) -> str:
    return str(each["Name"])


def _words_after(flag: str, arguments: tuple[str, ...]) -> Iterator[str]:
    for word in arguments[arguments.index(flag) + 1 :]:
        if re.match("--", word):
            return
        yield word
