"""Keeps hosts and instances in step: what EC2 wants to run is booted, what it ends is ended, and both are told."""

from __future__ import annotations

import logging
import secrets
import socket
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import docker
from docker.errors import APIError

from emulation.ec2.aws_control import AwsControl
from emulation.ec2.errors import Ec2EmulationError
from emulation.ec2.machine import INSTANCE_LABEL, OWNER_LABEL, REBOOT_EXIT_CODE, MachineOptions, Machines
from emulation.ec2.metadata import MetadataService
from emulation.ec2.resolver import Resolver
from emulation.ec2.vpc_network import METADATA_ADDRESS, Permission, VpcNetwork
from emulation.network_namespace import listening_socket

_log = logging.getLogger("emulation.ec2")
NEWS_SECONDS = 20.0
START_ATTEMPTS = 3
Instance = Mapping[str, Any]


class Booter:
    """Two threads that follow EC2 and the engine, and workers that act. `start` and `stop` are its life."""

    def __init__(
        self,
        aws: Any,
        control: AwsControl,
        client: docker.DockerClient,
        machines: Machines,
        owner: str,
        options: MachineOptions,
        *,
        open_vpc: Callable[[VpcNetwork], None] = lambda network: None,
    ) -> None:
        self._aws = aws
        self._control = control
        self._client = client
        self._machines = machines
        self._owner = owner
        self._options = options
        self._open_vpc = open_vpc
        self._ended = threading.Event()
        self._workers = ThreadPoolExecutor(8, "ec2 host")
        self._lock = threading.RLock()
        self._busy: set[str] = set()
        self._reboots: dict[str, int] = {}
        self._ending: set[str] = set()
        self._groups: dict[str, Any] = {}
        self.networks: dict[str, VpcNetwork] = {}
        self.instances: dict[str, Instance] = {}
        self._services: list[MetadataService | Resolver] = []
        self._events: Any = None

    def start(self) -> None:
        """Follow."""
        self._events = self._client.events(
            decode=True,
            filters={"type": "container", "label": f"{OWNER_LABEL}={self._owner}", "event": ["start", "die"]},
        )
        threading.Thread(target=self._follow_engine, name="ec2 engine events", daemon=True).start()
        threading.Thread(target=self._follow_fleet, name="ec2 fleet", daemon=True).start()

    def stop(self) -> None:
        """Stop following, and end all hosts and networks."""
        self._ended.set()
        self._events.close()
        self._workers.shutdown(wait=True, cancel_futures=True)
        self._machines.remove_all()
        for service in self._services:
            service.close()
        for network in self.networks.values():
            network.remove()

    # ------------------------------------------------------------------ EC2
    def _follow_fleet(self) -> None:
        version = -1
        while not self._ended.is_set():
            try:
                news = self._control.fleet(version, NEWS_SECONDS)
            except Ec2EmulationError as error:
                if not self._ended.wait(1):
                    _log.warning("%s", error)
                continue
            version = news["version"]
            with self._lock:
                self.instances = {one["id"]: one for one in news["instances"]}
                for instance in news["instances"]:
                    self._attend(instance)
            self._apply_security_groups()

    def _attend(self, instance: Instance) -> None:
        """Give what an instance needs to a worker, one at a time for each instance."""
        act = self._needed(instance)
        if act is None or instance["id"] in self._busy or self._ended.is_set():
            return
        self._busy.add(instance["id"])

        def work() -> None:
            try:
                act(instance)
            except (Ec2EmulationError, APIError, OSError) as error:
                if not self._ended.is_set():
                    _log.error("%s: %s", instance["id"], error)
            finally:
                with self._lock:
                    self._busy.discard(instance["id"])
                    again = self.instances.get(instance["id"])
                    if again is not None and again is not instance:
                        self._attend(again)

        self._workers.submit(work)

    def _needed(self, instance: Instance) -> Callable[[Instance], None] | None:
        state = instance["state"]
        if state == "pending":
            return self._boot
        if state == "shutting-down":
            return self._end
        if state == "stopping":
            return self._halt
        if state == "running" and instance["reboots"] > self._reboots.get(instance["id"], 0):
            return self._reboot
        return None

    def _boot(self, instance: Instance) -> None:
        for attempt in range(START_ATTEMPTS):
            try:
                network = self._network(instance)
                self._machines.create(instance, network, self._options)
                self._ending.discard(instance["id"])
                self._machines.start(instance["id"])
                return
            except (Ec2EmulationError, APIError, OSError) as error:
                _log.error("%s did not start: %s", instance["id"], error)
                if self._ended.wait(2**attempt):
                    return
        self._control.report(instance["id"], "terminated")

    def _end(self, instance: Instance) -> None:
        self._ending.add(instance["id"])
        self._machines.stop(instance["id"])
        self._machines.remove(instance["id"])
        network = self.networks.get(instance["vpc"])
        if network is not None:
            network.unplug(instance["id"])
        self._control.report(instance["id"], "terminated")

    def _halt(self, instance: Instance) -> None:
        self._ending.add(instance["id"])
        self._machines.stop(instance["id"])
        self._control.report(instance["id"], "stopped")

    def _reboot(self, instance: Instance) -> None:
        self._reboots[instance["id"]] = instance["reboots"]
        self._machines.reboot(instance["id"])

    # --------------------------------------------------------------- engine
    def _follow_engine(self) -> None:
        for event in self._events:
            if self._ended.is_set():
                return
            attributes = event["Actor"]["Attributes"]
            instance_id = attributes[INSTANCE_LABEL]
            try:
                if event["Action"] == "start":
                    self._started(instance_id)
                elif event["Action"] == "die":
                    self._died(instance_id, int(attributes.get("exitCode", "-1")))
            except (Ec2EmulationError, APIError, OSError) as error:
                if not self._ended.is_set():
                    _log.error("%s after %s: %s", instance_id, event["Action"], error)

    def _started(self, instance_id: str) -> None:
        instance = self.instances.get(instance_id)
        process = self._machines.process(instance_id)
        if instance is None or not process:
            return
        network = self.networks[instance["vpc"]]
        network.plug(process, instance["address"], instance_id, delegated=bool(instance["prefixes"]))
        self._control.report(instance_id, "running")

    def _died(self, instance_id: str, exit_code: int) -> None:
        instance = self.instances.get(instance_id)
        if instance is None or instance_id in self._ending:
            return
        if exit_code == REBOOT_EXIT_CODE:
            self._machines.start(instance_id)
        elif exit_code != 137:  # not a power loss, of which EC2 knows nothing: the host has shut itself down
            if instance["shutdown"] == "terminate":
                self._aws.client("ec2").terminate_instances(InstanceIds=[instance_id])
            else:
                self._control.report(instance_id, "stopped")

    # -------------------------------------------------------------- network
    def _network(self, instance: Instance) -> VpcNetwork:
        with self._lock:
            known = self.networks.get(instance["vpc"])
            if known is not None:
                return known
            [vpc] = self._aws.client("ec2").describe_vpcs(VpcIds=[instance["vpc"]])["Vpcs"]
            network = VpcNetwork(f"vpc-{self._owner[:6]}-{secrets.token_hex(3)}", vpc["CidrBlock"])
            network.create()
            self.networks[instance["vpc"]] = network
            self._control.listen(network.name, network.services, 80)
            listener = listening_socket(network.name, METADATA_ADDRESS, 80)
            self._services.append(
                MetadataService(listener, self._instance_at(instance["vpc"]), self._control.credentials)
            )
            questions = listening_socket(network.name, network.resolver, 53, socket.SOCK_DGRAM)
            self._services.append(Resolver(questions, self._instances_in(instance["vpc"])))
            self._open_vpc(network)
            return network

    def _instance_at(self, vpc: str) -> Callable[[str], Instance | None]:
        def found(address: str) -> Instance | None:
            # A host that asks right after it was plugged in may be ahead of the next news.
            alive = ("pending", "running", "shutting-down", "stopping")
            here = (one for one in self.instances.values() if one["vpc"] == vpc and one["state"] in alive)
            return next((one for one in here if one["address"] == address), None)

        return found

    def _instances_in(self, vpc: str) -> Callable[[], list[Instance]]:
        return lambda: [one for one in list(self.instances.values()) if one["vpc"] == vpc]

    def _apply_security_groups(self) -> None:
        """Let hosts reach each other exactly as their security groups allow; groups are asked for when hosts change."""
        members: dict[str, list[Instance]] = {}
        for instance in self.instances.values():
            for group in instance["security_groups"]:
                members.setdefault(group, []).append(instance)
        placed = {group: sorted((one["id"], one["address"]) for one in hosts) for group, hosts in members.items()}
        if placed == self._groups:
            return
        try:
            described = self._aws.client("ec2").describe_security_groups(GroupIds=sorted(members))["SecurityGroups"]
            for vpc, network in list(self.networks.items()):
                rules = [
                    (address, permission)
                    for group in described
                    if group["VpcId"] == vpc
                    for target in members.get(group["GroupId"], [])
                    for address in (target["address"], *target["prefixes"])
                    for permission in _permissions(group, members)
                    if permission.source.partition("/")[0] != address
                ]
                network.admit(rules)
        except (Ec2EmulationError, APIError, OSError) as error:
            if not self._ended.is_set():
                _log.error("security groups: %s", error)
            return
        if all(instance["vpc"] in self.networks for instance in self.instances.values()):
            self._groups = placed


def _permissions(group: Mapping[str, Any], members: Mapping[str, list[Instance]]) -> list[Permission]:
    """What a security group lets in, with other groups as the addresses of their members."""
    found = []
    for rule in group["IpPermissions"]:
        protocol = {"-1": "all", "50": "esp"}.get(str(rule["IpProtocol"]), str(rule["IpProtocol"]))
        sources = [one["CidrIp"] for one in rule.get("IpRanges", [])]
        for pair in rule.get("UserIdGroupPairs", []):
            # Prefixes are their interface's addresses, too.
            for one in members.get(pair["GroupId"], []):
                sources += [f"{one['address']}/32", *one["prefixes"]]
        first, last = rule.get("FromPort"), rule.get("ToPort")
        if protocol not in ("tcp", "udp") or first in (None, -1):
            first = last = None
        found += [Permission(source, protocol, first, last) for source in sources]
    return found


def wait_until(what: str, check: Callable[[], Any], timeout: float) -> Any:
    """The first true answer of `check`; raises `Ec2EmulationError` after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not (found := check()):
        if time.monotonic() > deadline:
            raise Ec2EmulationError(f"waited {timeout:.0f} s for {what}, in vain")
        time.sleep(0.2)
    return found
