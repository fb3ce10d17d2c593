"""The master: the realm, NameNode, ResourceManager, and a keytab for each node that is one of the cluster's."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sparkvault_host.agent.registry import pull
from sparkvault_host.aws_cli import aws
from sparkvault_host.engine_api import EngineApi
from sparkvault_host.identity import HostIdentity, Metadata
from sparkvault_host.lifecycle import complete_hook

from . import cluster_status, hadoop_settings, host_settings, keytab_secrets, places
from .archives import install
from .errors import YarnHostError
from .host_settings import Wanted, YarnFile
from .master import Master
from .realm import Realm, client_configuration
from .render import write

_REALM_FOLDER = Path("/var/kerberos/sparkvault")
_CLIENT_FILE = Path("/etc/krb5.conf")
_SERVICES = {"nn.keytab": ("nn", "hdfs"), "rm.keytab": ("rm", "yarn"), "http.keytab": ("HTTP", "root")}
#: How long a new NameNode may take to take folders, and how long a ticket is used.
HDFS_SECONDS = 180.0
TICKET_SECONDS = 3600.0
#: States of a group's instance in which it is, or becomes, one of the cluster's nodes.
_COUNTED = ("Pending", "Pending:Wait", "Pending:Proceed", "InService")
#: And those in which it is about to end: it keeps its keytabs as long as containers run on it.
_LEAVING = ("Terminating", "Terminating:Wait", "Terminating:Proceed")
#: The state in which Auto Scaling waits until somebody says that the host has nothing left to do.
_HELD = "Terminating:Wait"
#: ResourceManager has not heard of a node for `yarn.nm.liveness-monitor.expiry-interval-ms`.
_LOST = "LOST"
#: Share of the time to drain that containers may take to end; the rest is for the host's own daemons.
_CONTAINERS_SHARE = 0.75


class MasterHost:
    """Set up at each start of the agent, kept from then on. Methods raise YarnHostError and HostError."""

    def __init__(self, identity: HostIdentity, metadata: Metadata, file: YarnFile) -> None:
        self._identity = identity
        self._file = file
        self.name = (metadata.get("local-hostname") or "").split()[0]
        self._given: Wanted | None = None
        self._known: dict[str, str] = {}
        self._next_ticket = 0.0

    def set_up(self) -> None:
        """Everything until the daemons answer."""
        given = host_settings.wanted(self._file)
        image = host_settings.image(given)
        hadoop_settings.keep_tenants_from_metadata()
        hadoop_settings.know_own_name(self.name, self._identity.address)
        hadoop_settings.make_users(given)
        hadoop_settings.make_folders()
        install("hadoop", given.archives["hadoop"])
        self._take_spark(image)
        realm = self._realm(given)
        for file, (service, user) in _SERVICES.items():
            path = places.KEYTABS / file
            if not path.exists():
                realm.keytab(path, [f"{service}/{self.name}"])
            hadoop_settings.own_keytab(file, user)
        known = hadoop_settings.values(given, master=self.name, host=self.name, image=image)
        hadoop_settings.write_settings(given, known)
        self._tenants(given, realm)
        if not (places.STATE / "name" / "current").exists():
            hdfs = str(places.HADOOP / "bin" / "hdfs")
            formats = ("runuser", "-u", "hdfs", "--", hdfs, "namenode", "-format", "-nonInteractive")
            hadoop_settings.run(*formats, environment=hadoop_settings.environment())
        for unit in ("sparkvault-namenode", "sparkvault-resourcemanager"):
            hadoop_settings.run("systemctl", "start", f"{unit}.service")
        self._make_hdfs_folders(given)
        said = json.dumps({"host": self.name, "address": self._identity.address})
        aws("ssm", "put-parameter", "--name", self._file.master, "--type", "String", "--overwrite", "--value", said)
        self._given = given
        self.keep()

    def keep(self) -> None:
        """Keytabs for nodes that came, none for those that went; tenants as the deployment has them now."""
        given = host_settings.wanted(self._file)
        realm = self._realm(given)
        if time.monotonic() > self._next_ticket:
            # The launcher's report asks ResourceManager with it.
            self._ticket("yarn", "rm")
            self._next_ticket = time.monotonic() + TICKET_SECONDS
        if given != self._given:
            self._apply(given, realm)
        members = self._members(given)
        gone = {instance: self._known[instance] for instance in set(self._known) - set(members)}
        hosts = {host for host, _ in members.values()}
        self._let_go({host for host, state in members.values() if state in _LEAVING}, set(gone.values()) - hosts)
        changed = bool(gone)
        for instance, host in gone.items():
            if host not in hosts:
                keytab_secrets.forget(realm, host)
            keytab_secrets.withdraw(given, instance)
            del self._known[instance]
        for instance, (host, state) in members.items():
            if self._known.get(instance) == host:
                continue
            # New keys end the old ones: a node that has its keytabs keeps them when this agent or its host is new.
            if not (state in _LEAVING or keytab_secrets.are_there(given, realm, instance, host)):
                keytab_secrets.publish(given, realm, instance, host)
                changed = True
            self._known[instance] = host
        if changed:
            self._back_up(given, realm)
        # Last: it asks ResourceManager, and new nodes wait for their keytabs.
        self._let_the_dead_go(
            given.nodes_group, {instance: host for instance, (host, state) in members.items() if state == _HELD}
        )

    def _let_go(self, leaving: set[str], gone: set[str]) -> None:
        """Nodes that Auto Scaling is about to end get no more containers; YARN ends them once those they have are over.

        Their own agents wait for that (node_host.py). Containers of hosts that are gone are given up at once. A name is
        free again when its host is gone: EC2 uses addresses again.
        """
        refresh = [str(places.HADOOP / "bin" / "yarn"), "rmadmin", "-refreshNodes"]
        if gone:
            _write_hosts(gone)
            self._as("yarn", "rm", refresh)
        if _write_hosts(leaving) or gone:
            seconds = str(int(self._identity.drain_timeout_seconds * _CONTAINERS_SHARE))
            self._as("yarn", "rm", [*refresh, "-g", seconds, "-server"])

    def _let_the_dead_go(self, group: str, held: Mapping[str, str]) -> None:
        """A host that has died cannot complete its own hook, and until that is over nothing replaces it."""
        if not held:
            return
        lost = {node["host"] for node in cluster_status.nodes(Master.read()) if node["state"] == _LOST}
        for instance, host in held.items():
            if host in lost:
                print(f"sparkvault: {host} is lost: {instance} may end", flush=True)
                complete_hook(self._identity, group, instance)

    def _apply(self, given: Wanted, realm: Realm) -> None:
        """A deployment changed tenants, shares or sizes: new queues and users, without a restart."""
        hadoop_settings.make_users(given)
        image = host_settings.image(given)
        known = hadoop_settings.values(given, master=self.name, host=self.name, image=image)
        hadoop_settings.write_settings(given, known)
        self._tenants(given, realm)
        self._make_hdfs_folders(given)
        self._as("yarn", "rm", [str(places.HADOOP / "bin" / "yarn"), "rmadmin", "-refreshQueues"])
        self._given = given

    def _realm(self, given: Wanted) -> Realm:
        realm = Realm(given.realm, _REALM_FOLDER, _CLIENT_FILE)
        address = self._identity.address
        domain = self.name.partition(".")[2]
        write(_CLIENT_FILE, client_configuration(given.realm, f"{address}:88", domain))
        realm.configure(f"{address}:88", given.ticket_hours)
        if not realm.exists() and not self._restored(given, realm):
            realm.create()
            self._back_up(given, realm)
        drop_in = Path("/etc/systemd/system/krb5kdc.service.d/10-sparkvault.conf")
        if not drop_in.exists():
            write(drop_in, f"[Service]\nEnvironment=KRB5_KDC_PROFILE={_REALM_FOLDER}/kdc.conf\nPIDFile=\nType=simple\n"
                  "ExecStart=\nExecStart=/usr/sbin/krb5kdc -n\n")  # fmt: skip
            hadoop_settings.run("systemctl", "daemon-reload")
        hadoop_settings.run("systemctl", "start", "krb5kdc.service")
        return realm

    def _restored(self, given: Wanted, realm: Realm) -> bool:
        bucket, _, prefix = given.realm_backup.partition("//")[2].partition("/")
        found = aws(
            "s3api", "list-objects-v2", "--bucket", bucket, "--prefix", f"{prefix}/", "--query", "Contents[].Key"
        )
        if not {f"{prefix}/dump", f"{prefix}/stash"} <= set(found or []):
            return False
        with tempfile.TemporaryDirectory(prefix="sparkvault-", dir="/run") as folder:
            for file in ("stash", "dump"):
                aws("s3", "cp", "--only-show-errors", f"{given.realm_backup}/{file}", f"{folder}/{file}")
            realm.load(Path(folder))
        return True

    def _back_up(self, given: Wanted, realm: Realm) -> None:
        """Under the cluster's key, where no role but the master's reads; older versions stay for a week."""
        with tempfile.TemporaryDirectory(prefix="sparkvault-", dir="/run") as folder:
            realm.dump(Path(folder))
            for file in ("stash", "dump"):
                aws("s3", "cp", "--only-show-errors", f"{folder}/{file}", f"{given.realm_backup}/{file}")

    def _tenants(self, given: Wanted, realm: Realm) -> None:
        """Keytabs from which the launcher gets tickets; those of tenants that are no more go."""
        places.TENANT_KEYTABS.mkdir(mode=0o700, parents=True, exist_ok=True)
        names = {tenant.name for tenant in given.tenants}
        for name in names:
            path = places.TENANT_KEYTABS / f"{name}.keytab"
            if not path.exists():
                realm.keytab(path, [name])
        for path in places.TENANT_KEYTABS.glob("*.keytab"):
            if path.stem not in names:
                realm.forget([path.stem])
                path.unlink()
        places.JOBS.mkdir(mode=0o711, parents=True, exist_ok=True)
        write(
            places.MASTER_FILE,
            json.dumps(
                {
                    "spark": str(places.SPARK),
                    "java": str(Path(os.path.realpath("/usr/bin/java")).parents[1]),
                    "hadoop_settings": str(places.SETTINGS),
                    "spark_settings": str(places.SPARK_SETTINGS),
                    "yarn": str(places.HADOOP / "bin" / "yarn"),
                    "keytabs": str(places.TENANT_KEYTABS),
                    "realm": given.realm,
                    "jobs": str(places.JOBS),
                    "background": [
                        *("systemd-run", "--quiet", "--collect", "--unit", "sparkvault-job-{job}"),
                        "--setenv=PYTHONPATH=/opt/sparkvault/yarn:/opt/sparkvault/hosts",
                    ],
                    "tenants": {tenant.name: tenant.uid for tenant in given.tenants},
                }
            ),
        )

    def _make_hdfs_folders(self, given: Wanted) -> None:
        """Places for logs, and each tenant's home; again and again the same. A new NameNode takes none at first."""
        homes = {tenant.name: f"/user/{tenant.name}" for tenant in given.tenants}
        deadline = time.monotonic() + HDFS_SECONDS
        while True:
            try:
                self._hdfs("-mkdir", "-p", "/user", "/logs", *homes.values())
                break
            except YarnHostError as error:
                if time.monotonic() > deadline:
                    raise YarnHostError(f"waited {HDFS_SECONDS:.0f} s for the NameNode, in vain: {error}") from error
                time.sleep(5)
        self._hdfs("-chmod", "711", "/", "/user")
        self._hdfs("-chmod", "1777", "/logs")
        self._hdfs("-chmod", "700", *homes.values())
        for name, home in homes.items():
            self._hdfs("-chown", f"{name}:hadoop", home)

    def _hdfs(self, *words: str) -> None:
        self._as("hdfs", "nn", [str(places.HADOOP / "bin" / "hdfs"), "dfs", *words])

    def _as(self, user: str, service: str, command: list[str]) -> None:
        """One of Hadoop's programs with a daemon's own ticket."""
        ticket = self._ticket(user, service)
        surroundings = {**hadoop_settings.environment(), "KRB5CCNAME": ticket}
        hadoop_settings.run("runuser", "-u", user, "--", *command, environment=surroundings)

    def _ticket(self, user: str, service: str) -> str:
        ticket = f"/run/sparkvault/{user}.ticket"
        keytab = str(places.KEYTABS / f"{service}.keytab")
        hadoop_settings.run("kinit", "-k", "-t", keytab, "-c", ticket, f"{service}/{self.name}")
        shutil.chown(ticket, user, "hadoop")
        return ticket

    def _take_spark(self, image: str) -> None:
        """Spark's client, out of the very image that containers have."""
        mark = places.SPARK / ".image"
        if mark.exists() and mark.read_text(encoding="utf-8") == image:
            return
        engine = EngineApi()
        pull(engine, self._identity, image)
        container = hadoop_settings.run("docker", "create", "--network", "none", image).strip()
        try:
            shutil.rmtree(places.SPARK, ignore_errors=True)
            places.SPARK.parent.mkdir(parents=True, exist_ok=True)
            hadoop_settings.run("docker", "cp", f"{container}:/opt/spark", str(places.SPARK))
        finally:
            hadoop_settings.run("docker", "rm", "--force", container)
        mark.write_text(image, encoding="utf-8")

    def _members(self, given: Wanted) -> dict[str, tuple[str, str]]:
        """Instance → host name, and the state of its life: a host that Auto Scaling does not know is none."""
        group = aws("autoscaling", "describe-auto-scaling-groups", "--auto-scaling-group-names", given.nodes_group)
        groups: list[Mapping[str, Any]] = group["AutoScalingGroups"]
        if not groups:
            raise YarnHostError(f"there is no group {given.nodes_group}")
        states = {one["InstanceId"]: one["LifecycleState"] for one in groups[0]["Instances"]}
        ids = [instance for instance, state in states.items() if state in (*_COUNTED, *_LEAVING)]
        if not ids:
            return {}
        found = aws("ec2", "describe-instances", "--instance-ids", *ids)
        return {
            instance["InstanceId"]: (instance["PrivateDnsName"], states[instance["InstanceId"]])
            for reservation in found["Reservations"]
            for instance in reservation["Instances"]
            if instance.get("PrivateDnsName")
        }


def _write_hosts(hosts: set[str]) -> bool:
    """The list that ResourceManager reads when it is told to; whether it is another one now."""
    text = "".join(f"{host}\n" for host in sorted(hosts))
    if places.LEAVING.read_text(encoding="utf-8") == text:
        return False
    write(places.LEAVING, text)
    return True
