"""A node: Docker with the one runtime, containers' addresses, DataNode, and a NodeManager behind the check."""

from __future__ import annotations

import ipaddress
import json
import time
from pathlib import Path

from sparkvault_host.agent.registry import pull
from sparkvault_host.engine_api import EngineApi
from sparkvault_host.identity import EMULATION_FILE, HostIdentity, Metadata
from sparkvault_host.lifecycle import complete_hook

from . import hadoop_settings, host_settings, keytab_secrets, places
from .archives import install
from .errors import YarnHostError
from .executors import Executors
from .host_settings import Wanted, YarnFile
from .node_files import guard_policy, write_container_users, write_guard
from .realm import client_configuration
from .render import docker_runtimes, rendered, write

#: How long a node waits for the master to be there, and for its keytabs.
MASTER_SECONDS = 1200.0
_PAUSE_SECONDS = 5.0
#: Spark's ports in a container: of driver and block manager (spark_constructs/ports.py).
_SPARK_PORTS = "7078:7079"
#: gVisor with its own network stack and KVM where there is one; each container is a sandbox of its own.
_RUNSC_FLAGS = ("--platform=systrap",)
_UNITS = ("sparkvault-datanode.service", "sparkvault-nodemanager.service")
#: Share of the time to drain after which a host goes whatever runs on it: before its group takes it anyway.
_DRAIN_SHARE = 0.85
_KERBEROS_OWNERS = {"dn.keytab": "hdfs", "nm.keytab": "yarn", "http.keytab": "root"}


class NodeHost:
    """Set up at each start of the agent, kept from then on. Methods raise YarnHostError and HostError."""

    def __init__(self, identity: HostIdentity, metadata: Metadata, file: YarnFile) -> None:
        self._identity = identity
        self._metadata = metadata
        self._file = file
        self.name = (metadata.get("local-hostname") or "").split()[0]
        self._given: Wanted | None = None
        self._master = ""
        self._leaves_by: float | None = None
        self._left = False
        self._executors = Executors(EngineApi())

    def set_up(self) -> None:
        """Everything until the NodeManager runs: its unit starts it only after the check of the enforcement."""
        given = host_settings.wanted(self._file)
        hadoop_settings.keep_tenants_from_metadata()
        hadoop_settings.know_own_name(self.name, self._identity.address)
        hadoop_settings.make_users(given)
        hadoop_settings.make_folders()
        for kind, archive in given.archives.items():
            install(kind, archive)
        image = host_settings.image(given)
        self._docker(given)
        pull(EngineApi(), self._identity, image)
        self._network()
        master = self._awaited_master()
        write_krb5(given, master, self.name)
        self._keytabs(given)
        self._write(given, master["host"], image)
        executor = places.HADOOP / "bin" / "container-executor"
        # Hadoop's own instructions for its setuid program: root's, run by the NodeManager's group alone.
        hadoop_settings.run("chown", "root:hadoop", str(executor))
        executor.chmod(0o6050)
        for unit in _UNITS:
            hadoop_settings.run("systemctl", "restart", unit)
        self._given, self._master = given, master["host"]

    def keep(self) -> None:
        """What changed: tenants, image, or a new master; then settings and daemons follow."""
        if self._left or self._leaves():
            return
        given, master = host_settings.wanted(self._file), self._awaited_master()["host"]
        if given != self._given or master != self._master:
            self.set_up()
            return
        for unit in _UNITS:
            # ResourceManager may have sent a NodeManager away, as it does with hosts that leave.
            hadoop_settings.run("systemctl", "start", unit)

    def _leaves(self) -> bool:
        """Auto Scaling takes this host: once YARN has let go of it, or its time is over, it may end.

        The master has seen it, too, and has ResourceManager wait for the containers; then that ends the NodeManager.
        """
        if self._metadata.lifecycle_state() != "Terminated":
            return False
        if self._leaves_by is None:
            self._leaves_by = time.monotonic() + self._identity.drain_timeout_seconds * _DRAIN_SHARE
            print("sparkvault: this host leaves: waiting for its containers to end", flush=True)
        if _runs(_UNITS[1]) and time.monotonic() < self._leaves_by:
            self._executors.decommission()
            return True
        for unit in reversed(_UNITS):
            hadoop_settings.run("systemctl", "stop", unit)
        complete_hook(self._identity, self._identity.group, self._identity.instance)
        self._left = True
        return True

    def _docker(self, given: Wanted) -> None:
        """Docker with one default runtime; it is restarted only where its settings changed."""
        kata = None
        if given.runtime == "kata":
            kata = str(places.KATA_SETTINGS)
            sizes = {
                "container_cores": str(given.container_cores),
                "container_memory_mib": str(given.container_memory_mib),
                "virtio_fs_cache": "auto",
                "virtio_fs_dax_mib": "0",
            }
            write(places.KATA_SETTINGS, rendered("kata-configuration.toml", sizes))
            write_shim()
        runtimes = docker_runtimes(str(places.RUNSC), runsc_flags(), kata)
        text = rendered("daemon.json", {"runtime": given.runtime, "runtimes": runtimes})
        if not places.DAEMON.exists() or places.DAEMON.read_text(encoding="utf-8") != text:
            write(places.DAEMON, text)
            hadoop_settings.run("systemctl", "restart", "docker.service")

    def _network(self) -> None:
        """Containers' addresses are the /28 of this host's own interface: other hosts route to them."""
        prefix = self._prefix()
        names = hadoop_settings.run("docker", "network", "ls", "--format", "{{.Name}}").split()
        if places.NETWORK not in names:
            option = "com.docker.network.bridge"
            hadoop_settings.run(
                *("docker", "network", "create", "--driver", "bridge", "--subnet", str(prefix)),
                *("--opt", f"{option}.enable_ip_masquerade=false", "--opt", f"{option}.enable_icc=false"),
                places.NETWORK,
            )
        # Docker lets nobody else in: Spark's two ports are for containers of this cluster, as the security group says.
        rule = ["-d", str(prefix), "-p", "tcp", "--dport", _SPARK_PORTS, "-j", "ACCEPT"]
        try:
            hadoop_settings.run("iptables", "--wait", "30", "-C", "DOCKER-USER", *rule)
        except YarnHostError:
            hadoop_settings.run("iptables", "--wait", "30", "-I", "DOCKER-USER", *rule)

    def _prefix(self) -> ipaddress.IPv4Network:
        mac = (self._metadata.get("mac") or "").strip()
        found = (self._metadata.get(f"network/interfaces/macs/{mac}/ipv4-prefix") or "").split()
        if not found:
            raise YarnHostError(
                "this host's interface has no addresses for containers; its launch template gives a /28"
            )
        return ipaddress.IPv4Network(found[0])

    def _awaited_master(self) -> dict[str, str]:
        deadline = time.monotonic() + MASTER_SECONDS
        while True:
            text = host_settings.parameter(self._file.master)
            if text is not None:
                found: dict[str, str] = json.loads(text)
                return found
            if time.monotonic() > deadline:
                raise YarnHostError(f"waited {MASTER_SECONDS:.0f} s for the master to say who it is, in vain")
            time.sleep(_PAUSE_SECONDS)

    def _keytabs(self, given: Wanted) -> None:
        deadline = time.monotonic() + MASTER_SECONDS
        while True:
            held = keytab_secrets.read(given, self._identity.instance)
            if held is not None:
                break
            if time.monotonic() > deadline:
                raise YarnHostError(
                    f"waited {MASTER_SECONDS:.0f} s for the master to make this node's keytabs, in vain"
                )
            time.sleep(_PAUSE_SECONDS)
        for file, content in held.items():
            path = places.KEYTABS / file
            path.unlink(missing_ok=True)
            path.touch(mode=0o600)
            path.write_bytes(content)
            hadoop_settings.own_keytab(file, _KERBEROS_OWNERS[file])

    def _write(self, given: Wanted, master: str, image: str) -> None:
        known = hadoop_settings.values(given, master=master, host=self.name, image=image)
        hadoop_settings.write_settings(given, known)
        write_container_users(places.CONTAINER_USERS, given.tenants, given.realm, given.runtime)
        policy = guard_policy(
            given.runtime,
            places.NETWORK,
            image,
            given.tenants,
            users=places.CONTAINER_USERS,
            ro_mounts=known["ro_mounts"].split(","),
            rw_mounts=known["rw_mounts"].split(","),
            docker=["/usr/bin/docker"],
        )
        write(places.GUARD_POLICY, policy)
        write_guard(places.GUARD, "/usr/bin/python3", places.GUARD_POLICY)
        enforced = {
            "runtime": given.runtime,
            "network": places.NETWORK,
            "image": image,
            "hadoop": str(places.SETTINGS),
            "daemon": str(places.DAEMON),
            "policy": str(places.GUARD_POLICY),
            "guard": str(places.GUARD),
            "tenants": {str(tenant.uid): [tenant.name, given.roles[tenant.name]] for tenant in given.tenants},
        }
        write(places.NODE_FILE, json.dumps(enforced))


def runsc_flags(file: Path = EMULATION_FILE) -> tuple[str, ...]:
    """gVisor's flags; an emulated host says what its machine's kernel lacks. No host on EC2 has that file."""
    try:
        return (*_RUNSC_FLAGS, *json.loads(file.read_text(encoding="utf-8")).get("runsc_flags", []))
    except (OSError, ValueError, AttributeError):
        return _RUNSC_FLAGS


def _runs(unit: str) -> bool:
    state = hadoop_settings.run("systemctl", "show", "--property", "ActiveState", "--value", unit).strip()
    return state not in ("inactive", "failed")


def write_krb5(given: Wanted, master: dict[str, str], host: str) -> None:
    """This host's krb5.conf: the master's KDC, and nothing of DNS."""
    domain = host.partition(".")[2]
    write(Path("/etc/krb5.conf"), client_configuration(given.realm, f"{master['address']}:88", domain))


def write_shim() -> None:
    """containerd finds Kata's shim by its name on the path."""
    shim = places.KATA / "bin" / "containerd-shim-kata-v2"
    hadoop_settings.run("ln", "--symbolic", "--force", str(shim), "/usr/local/bin/containerd-shim-kata-v2")
