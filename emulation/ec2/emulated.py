"""`EmulatedEc2`: the hosts of an embedded AWS, from the first instance that is launched to the last that ends."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Protocol

import docker

from emulation.aws import client as clients
from emulation.aws.environment import sealed_environment
from emulation.ec2.aws_control import AwsControl
from emulation.ec2.booter import Booter, wait_until
from emulation.ec2.capability import check_host_programs
from emulation.ec2.errors import Ec2EmulationError
from emulation.ec2.host import Host
from emulation.ec2.host_image import host_image
from emulation.ec2.machine import ROLE_TAG, MachineOptions, Machines, environment
from emulation.ec2.registry import ImageRegistry
from emulation.ec2.vpc_network import VpcNetwork
from emulation.hypervisor import Hypervisor
from emulation.ssm_sessions import SsmAgents

STATE_FILE_VARIABLE = "SPARKVAULT_EMULATED_EC2"
HOSTS_TIMEOUT_SECONDS = 300.0


class Aws(Protocol):
    """What the emulation needs of `emulation.aws.EmbeddedAws`."""

    @property
    def region(self) -> str:
        """Its region."""

    @property
    def account_id(self) -> str:
        """Its account."""

    @property
    def endpoint(self) -> str:
        """Address of the server."""

    def client(self, service: str, region: str | None = None) -> Any:
        """A boto3 client of the account."""

    def environment(self, base: Mapping[str, str] | None = None) -> dict[str, str]:
        """Environment of a process that reaches this AWS only."""


class DockerEngine(Protocol):
    """What the emulation needs of `emulation.engine.Engine`."""

    @property
    def socket(self) -> Path:
        """Where it listens."""

    @property
    def pushed_images(self) -> Path:
        """Where its registries keep what is pushed."""

    def client(self) -> docker.DockerClient:
        """A client of its API."""

    def environment(self) -> dict[str, str]:
        """What makes `docker` and the CDK CLI use it."""


class EmulatedEc2:
    """Boots what the account's EC2 wants to run, for as long as the context lasts; needs root.

        with engine_lease() as engine, EmbeddedAws(hosts="external") as aws, EmulatedEc2(aws, engine) as ec2:
            ...  # cdk deploy
            for host in ec2.hosts():
                host.run(["docker", "info"])

    Raises `Ec2EmulationError` where this machine cannot do it.
    """

    def __init__(
        self,
        aws: Aws,
        engine: DockerEngine,
        *,
        disk_mib: int | None = None,
        enclave_memory_mib: int | None = None,
        enclaves: Literal["none", "vm"] = "none",
        grace_seconds: float | None = 0,
        state_file: Path | None = None,
    ) -> None:
        """`disk_mib` gives hosts a data volume of that size; `enclave_memory_mib` is what enclaves find;
        `enclaves` says whether hosts run them: `vm` in virtual machines, with a simulated security module.

        `grace_seconds` caps the groups' health check grace period (None: as the template says); `state_file` lets other
        processes `attach`.
        """
        self._aws = aws
        self._engine = engine
        self._options = MachineOptions(disk_mib=disk_mib, enclave_memory_mib=enclave_memory_mib)
        self._enclaves = enclaves
        self._hypervisor: Hypervisor | None = None
        self._registry: ImageRegistry | None = None
        self._grace = grace_seconds
        self._state_file = state_file
        self._control = AwsControl(aws.endpoint)
        self._booter: Booter | None = None
        self._owner = secrets.token_hex(6)
        self._folder: Path | None = None
        self._networks: dict[str, VpcNetwork] = {}
        self._ssm = SsmAgents(aws, self.machine)

    @classmethod
    def attach(cls, state_file: Path | None = None) -> EmulatedEc2:
        """What another process holds, by its state file. Raises `Ec2EmulationError` where there is nothing."""
        file = state_file or default_state_file()
        try:
            state = json.loads(file.read_text())
        except (OSError, ValueError) as error:
            raise Ec2EmulationError(f"no emulated EC2 is up ({file}): run `python -m emulation.ec2 up`") from error
        aws = _AttachedAws(state["aws"], state["region"], state["account"])
        found = cls(aws, _AttachedEngine(Path(state["engine"])), disk_mib=state["disk_mib"])
        found._state_file = file
        return found

    @property
    def enclave_root(self) -> Path:
        """Certificate of the simulated root that hosts' enclaves prove themselves by. Raises `Ec2EmulationError`."""
        if self._hypervisor is None:
            raise Ec2EmulationError("no enclaves run on these hosts: they were not started with enclaves='vm'")
        return self._hypervisor.root

    @property
    def aws(self) -> Aws:
        """The account whose instances these are."""
        return self._aws

    # ------------------------------------------------------------------ life
    def start(self) -> EmulatedEc2:
        """Begin to boot; what runs already is booted now."""
        check_host_programs()
        client = self._engine.client()
        image = host_image(client)
        self._folder = Path(tempfile.mkdtemp(prefix="emulated-ec2-"))
        if self._enclaves == "vm":
            self._hypervisor = Hypervisor(self._folder / "enclaves")
        machines = Machines(client, image, self._owner, self._folder, self._hypervisor)
        self._registry = ImageRegistry(
            self._aws,
            self._aws.account_id,
            self._aws.region,
            self._folder / "registry",
            store=self._engine.pushed_images,
        )
        self._registry.prepare()
        self._registry.start()
        self._options = replace(self._options, registries={self._registry.name: self._registry.authority})
        self._booter = Booter(
            self._aws, self._control, client, machines, self._owner, self._options, open_vpc=self._opened
        )
        self._control.attach(self._grace)
        self._booter.start()
        self._ssm.start()
        self._write_state()
        return self

    def stop(self) -> None:
        """End every host and network."""
        self._ssm.stop()
        booter, self._booter = self._booter, None
        if booter is not None:
            with contextlib.suppress(Ec2EmulationError):
                self._control.detach()
            booter.stop()
        if self._hypervisor is not None:
            self._hypervisor.stop()
        if self._registry is not None:
            self._registry.stop()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None
        if self._state_file is not None:
            self._state_file.unlink(missing_ok=True)

    def __enter__(self) -> EmulatedEc2:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    # ------------------------------------------------------------ deployment
    @property
    def registry(self) -> ImageRegistry:
        """ECR's registry, which can be stopped and started. Raises `Ec2EmulationError` where another process has it."""
        if self._registry is None:
            raise Ec2EmulationError("the registry belongs to the process that started the emulation")
        return self._registry

    def environment(self, base: Mapping[str, str] | None = None) -> dict[str, str]:
        """Environment for `sparkvault` and `cdk` whose images are really built and pushed, to this emulation."""
        deployment, engine = self._aws.environment(base), self._engine.environment()
        return deployment | engine | {"CDK_DOCKER": str(self.registry.docker_command(deployment, engine))}

    # ----------------------------------------------------------------- hosts
    def hosts(self, role: str | None = None) -> list[Host]:
        """Hosts of running instances, those of a role only if one is given, by id."""
        return sorted(
            (self._host(one) for one in self._instances() if one["state"] == "running" and role in (None, _role(one))),
            key=lambda host: host.instance_id,
        )

    def host(self, instance_id: str) -> Host:
        """The host of an instance, whatever its state; raises `Ec2EmulationError`."""
        for instance in self._instances():
            if instance["id"] == instance_id:
                return self._host(instance)
        raise Ec2EmulationError(f"there is no instance {instance_id}")

    def machine(self, instance_id: str) -> Host | None:
        """The host whose SSM agent is connected: it runs; None for every other id."""
        for host in self.hosts():
            if host.instance_id == instance_id:
                return host if host.up() else None
        return None

    def wait_for_hosts(self, count: int, role: str | None = None, timeout: float = HOSTS_TIMEOUT_SECONDS) -> list[Host]:
        """Exactly so many running hosts; raises `Ec2EmulationError` after `timeout` seconds."""
        what = f"{count} running {role or 'host'}s"

        def check() -> list[Host] | None:
            found = self.hosts(role)
            return found if len(found) == count else None

        return list(wait_until(what, check, timeout) if count else [])

    def state_of(self, instance_id: str) -> str:
        """The instance's state in EC2; `terminated` for one that is gone."""
        return next((one["state"] for one in self._instances() if one["id"] == instance_id), "terminated")

    # ---------------------------------------------------------------- events
    def spot_notice(self, host: Host, seconds: float = 120) -> None:
        """Announce that the host will be taken back after so many seconds, and take it then."""
        self._control.spot_notice(host.instance_id, seconds)

    def impair(self, host: Host) -> None:
        """EC2's status checks find the host impaired: its group replaces it."""
        self._control.report(host.instance_id, "impaired")

    def terminate(self, host: Host) -> None:
        """TerminateInstances: the host shuts down without its group's hooks."""
        self._aws.client("ec2").terminate_instances(InstanceIds=[host.instance_id])

    # ------------------------------------------------------------- internals
    def _instances(self) -> list[dict[str, Any]]:
        return list(self._control.fleet()["instances"])

    def _host(self, instance: dict[str, Any]) -> Host:
        network = self._network(instance["vpc"])
        if network is None:
            raise Ec2EmulationError(f"{instance['id']} has no network yet: it is {instance['state']}")
        return Host(
            instance_id=instance["id"],
            address=instance["address"],
            role=_role(instance),
            group=instance["group"],
            network=network,
            engine=self._engine.socket,
            environment=environment(instance, network, self._options),
        )

    def _network(self, vpc: str) -> VpcNetwork | None:
        if self._booter is not None:
            return self._booter.networks.get(vpc)
        if self._state_file is None:
            raise Ec2EmulationError("the emulated EC2 is not running: use `with EmulatedEc2(…) as ec2:` or start()")
        known = json.loads(self._state_file.read_text())["networks"]
        return VpcNetwork(*known[vpc]) if vpc in known else None

    def _opened(self, network: VpcNetwork) -> None:
        self.registry.open_in(network)
        self._write_state()

    def _write_state(self) -> None:
        if self._state_file is None or self._booter is None:
            return
        state = {
            "aws": self._aws.endpoint,
            "region": self._aws.region,
            "account": self._aws.account_id,
            "engine": str(self._engine.socket),
            "disk_mib": self._options.disk_mib,
            "networks": {vpc: [net.name, str(net.range)] for vpc, net in self._booter.networks.items()},
            "process": os.getpid(),
        }
        self._state_file.parent.mkdir(parents=True, exist_ok=True)
        fresh = self._state_file.with_suffix(".new")
        fresh.write_text(json.dumps(state, indent=1))
        fresh.replace(self._state_file)


@dataclass(frozen=True)
class _AttachedAws:
    """An embedded AWS that somebody else holds."""

    endpoint: str
    region: str
    account_id: str

    def client(self, service: str, region: str | None = None) -> Any:
        """A boto3 client of the account."""
        return clients.client(clients.session(self.region), service, self.endpoint, region or self.region)

    def environment(self, base: Mapping[str, str] | None = None) -> dict[str, str]:
        """Environment of a process that reaches this AWS only."""
        private = Path(tempfile.gettempdir()) / "no-such-folder"
        return sealed_environment(os.environ if base is None else base, self.endpoint, self.region, private)


class _AttachedEngine:
    """An engine that somebody else holds."""

    def __init__(self, socket: Path) -> None:
        self.socket = socket
        self.pushed_images = socket.parent.parent / "registry"

    def client(self) -> docker.DockerClient:
        """A client of its API."""
        return docker.DockerClient(f"unix://{self.socket}")

    def environment(self) -> dict[str, str]:
        """What makes `docker` use it."""
        return {"DOCKER_HOST": f"unix://{self.socket}"}


def default_state_file() -> Path:
    """Where `python -m emulation.ec2 up` writes, unless SPARKVAULT_EMULATED_EC2 says otherwise."""
    from sparkvault.project import work_folder

    given = os.environ.get(STATE_FILE_VARIABLE)
    return Path(given) if given else work_folder() / "emulated-ec2.json"


def _role(instance: dict[str, Any]) -> str:
    return str(instance["tags"].get(ROLE_TAG, ""))
