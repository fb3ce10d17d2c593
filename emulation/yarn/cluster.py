"""The cluster: configuration from the product's templates, daemons, tenants, and jobs submitted as a tenant would."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections import ChainMap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import pkcs12

from assets.yarn.sparkvault_yarn import diagnosis, enforcement, node_files, render
from assets.yarn.sparkvault_yarn import tenants as tenancy
from emulation.engine import Engine
from emulation.yarn import downloads, node_engine
from emulation.yarn.daemons import Hadoop, listens
from emulation.yarn.errors import YarnEmulationError
from emulation.yarn.kdc import REALM, Kdc
from emulation.yarn.machine_view import MachineView
from emulation.yarn.node_engine import GATEWAY, NETWORK, NodeEngine, alone_on_this_machine
from sparkvault.java import find_java
from sparkvault.targets.local.spark_home import find_spark

Runtime = Literal["runc", "runsc"]

#: Two tenants with equal shares, as most tests need.
TENANTS = ("ada", "bea")
JOB_SECONDS = 420

_HASTE = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -XX:-UsePerfData"
#: Settings for a job that is over soon: one small executor, and Java's compiler and collector that start fastest.
SMALL_JOB: Mapping[str, str] = {
    "spark.driver.memory": "640m",
    "spark.driver.extraJavaOptions": _HASTE,
    "spark.executor.memory": "640m",
    "spark.executor.extraJavaOptions": _HASTE,
    "spark.executor.instances": "1",
    "spark.sql.shuffle.partitions": "2",
    "spark.ui.enabled": "false",
}
#: The host's name is its address: containers here have no DNS that would know another. EC2's hosts have names.
_MASTER = GATEWAY
_MAKE_FOLDERS = Path(__file__).with_name("MakeFolders.java")
_EXECUTOR = Path(__file__).with_name("container_executor.py")
_KERNEL = re.compile(r"kernel in this container: (.+)")
_APPLICATION = re.compile(r"application_\d+_\d+")

#: What production has and this cluster leaves out: no Kerberos, so no encryption that rests on it, and pages by http.
WITHOUT_KERBEROS: render.Changes = {
    "core-site.xml": {
        "hadoop.security.authentication": "simple",
        "hadoop.rpc.protection": None,
        "hadoop.http.filter.initializers": None,
        "hadoop.http.authentication.type": "simple",
        "hadoop.http.authentication.simple.anonymous.allowed": "true",
    },
    "hdfs-site.xml": {
        "dfs.http.policy": "HTTP_ONLY",
        "dfs.namenode.http-address": "127.0.0.1:9870",
        "dfs.datanode.http.address": "127.0.0.1:9864",
        "dfs.data.transfer.protection": None,
        "dfs.encrypt.data.transfer": "false",
        "dfs.block.access.token.enable": "false",
        "dfs.namenode.datanode.registration.ip-hostname-check": "false",
    },
}
#: Two cores are shared with everything else on the machine, and a test does not wait ten minutes for a dead node.
HASTE: render.Changes = {
    "yarn-site.xml": {
        "yarn.nodemanager.disk-health-checker.enable": "false",
        # Heeded even so: on a disk that is nearly full no folder would be left.
        "yarn.nodemanager.disk-health-checker.max-disk-utilization-per-disk-percentage": "100.0",
        # Under Kerberos it needs Hadoop's native library, which only the distribution has: logs stay on the node.
        "yarn.log-aggregation-enable": "false",
        "yarn.nm.liveness-monitor.expiry-interval-ms": "30000",
        "yarn.resourcemanager.am.max-attempts": "2",
    },
}
_LOG4J = """log4j.rootLogger=INFO,console
log4j.appender.console=org.apache.log4j.ConsoleAppender
log4j.appender.console.target=System.err
log4j.appender.console.layout=org.apache.log4j.PatternLayout
log4j.appender.console.layout.ConversionPattern=%d{HH:mm:ss} %p %c{2}: %m%n
"""


@dataclass(frozen=True)
class Outcome:
    """How a job ended: spark-submit's exit code, what the driver printed, and what YARN says of the application."""

    exit_code: int
    output: str
    diagnostics: str
    application: str | None
    seconds: float

    @property
    def refusal(self) -> str | None:
        """Why a container of it was refused, in a person's words."""
        return diagnosis.why_refused(self.diagnostics)


class YarnCluster:
    """Master and node on this machine; one at a time. Use it as a context manager. Raises YarnEmulationError.

    Without ``daemons`` there is the node alone: its engine, configuration and guard, for who calls the executor itself.
    """

    def __init__(
        self,
        runtime: Runtime,
        engine: Engine,
        *,
        tenants: Sequence[str] = TENANTS,
        kerberos: bool = False,
        daemons: bool = True,
        changes: render.Changes | None = None,
        progress: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.runtime = runtime
        self.images = engine
        self.tenants = tenancy.shared_evenly(tenants)
        self.kdc: Kdc | None = None
        self._kerberos = kerberos
        self._daemons = daemons
        self._changes = changes or {}
        self._progress = progress
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        self._stack.enter_context(alone_on_this_machine())
        with contextlib.ExitStack() as stack:
            stack.push(self._stack.pop_all())
            # Tenants' users go through it; sockets' paths are bounded.
            self.work = Path(tempfile.mkdtemp(prefix="yarn-", dir="/var/lib"))
            self.work.chmod(0o755)
            stack.callback(shutil.rmtree, self.work, ignore_errors=True)
            self._start(stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def _start(self, stack: contextlib.ExitStack) -> None:
        jars = downloads.hadoop_jars(self._progress)
        self.image = self.images.spark_image("yarn", self._progress)
        self.engine = NodeEngine(self.work, self.runtime)
        self.engine.configure(self._progress)
        stack.callback(self.engine.stop)
        self.engine.start()
        self._progress(f"a node's own Docker engine, default runtime {self.runtime}")
        self.engine.prepare(self.images, self.image)
        # The localizer runs as the tenant, and reads Hadoop's classes.
        readable = self.work / "jars"
        readable.mkdir()
        view = MachineView(self.work / "view", _MASTER, {readable: jars})
        if self._kerberos:
            self.kdc = Kdc(self.work / "keytabs", GATEWAY)
            stack.callback(self.kdc.stop)
            self.kdc.start(["nn", "dn", "rm", "nm", "HTTP"], _MASTER, [tenant.name for tenant in self.tenants])
            render.write(view.folder / "krb5.conf", self.kdc.configuration.read_text(encoding="utf-8"))
        view.write(GATEWAY, self.tenants)
        self.hadoop = Hadoop(find_java().home, readable, self.work, view)
        stack.callback(self.hadoop.stop_all)
        self.write_configuration()
        if not self._daemons:
            return
        self._progress("HDFS, ResourceManager and NodeManager")
        self.hadoop.run("org.apache.hadoop.hdfs.server.namenode.NameNode", "-format", "-nonInteractive")
        for name in ("namenode", "datanode", "resourcemanager"):
            self.hadoop.start(name)
        self.start_node()
        self.hadoop.wait_for("namenode", "the NameNode's port", lambda: listens(GATEWAY, 8020))
        self.make_folders()
        self.hadoop.wait_for("resourcemanager", "the ResourceManager's port", lambda: listens(GATEWAY, 8032))
        self.wait_for_node()

    def values(self) -> dict[str, str]:
        """What the templates get here."""
        state = self.work / "state"
        return {
            "master": GATEWAY, "node": GATEWAY, "realm": REALM, "auth_to_local": render.auth_to_local(REALM),
            "state": str(state), "keytabs": str(self.work / "keytabs"), "hadoop": str(self.work), "replication": "1",
            "image": self.image, "runtime": self.runtime, "network": NETWORK, "least_uid": str(tenancy.LEAST_UID),
            "container_users": str(self.work / "container-users"), "docker": str(self.work / "bin" / "docker"),
            "ro_mounts": ",".join([str(self.work / "container-users"), f"{state}/local"]),
            "rw_mounts": f"{state}/local,{state}/logs",
            "trusted_registries": self.image.split("/")[0], "service_users": "hdfs,yarn" if self._kerberos else "root",
            "node_memory_mib": "6144", "node_cores": "4",
            "container_least_mib": "1024", "container_memory_mib": "3072", "container_cores": "2",
            "leaving": str(self.work / "leaving"),
            "preemption": "true", "log_seconds": "3600", "attempts": "2",
        }  # fmt: skip

    def write_configuration(self) -> None:
        """Everything that the daemons read; called again after a change, before a daemon is started again."""
        values = self.values()
        conf = self.work / "conf"
        render.write(Path(values["leaving"]), "")
        own: list[render.Changes] = [HASTE, {} if self._kerberos else WITHOUT_KERBEROS, self._changes]
        names = {name for changes in own for name in changes}
        merged = {name: dict(ChainMap(*(dict(changes.get(name, {})) for changes in reversed(own)))) for name in names}
        render.write_hadoop(conf, values, merged)
        if self._kerberos:
            self._write_https(conf, values)
        render.write(conf / "capacity-scheduler.xml", tenancy.capacity_scheduler(self.tenants))
        render.write(conf / "log4j.properties", _LOG4J)
        render.write(conf / "container-executor.cfg", rendered_executor(values))
        spark = self.work / "spark-conf"
        render.write(spark / "spark-defaults.conf", render.rendered("spark-defaults.conf", values))
        users = self.work / "container-users"
        node_files.write_container_users(users, self.tenants, REALM, self.runtime)
        policy = node_files.guard_policy(
            self.runtime,
            NETWORK,
            self.image,
            self.tenants,
            users=users,
            ro_mounts=values["ro_mounts"].split(","),
            rw_mounts=values["rw_mounts"].split(","),
            docker=["/usr/bin/docker", "-H", f"unix://{self.engine.socket}"],
        )
        render.write(self.work / "guard.json", policy)
        node_files.write_guard(self.work / "bin" / "docker", sys.executable, self.work / "guard.json")
        line = shlex.join([sys.executable, "-I", str(_EXECUTOR), str(conf / "container-executor.cfg")])
        render.write(self.work / "bin" / "container-executor", f'#!/bin/sh\nexec {line} "$@"\n', 0o755)
        for folder in ("state/tmp", "state/local", "state/logs"):
            (self.work / folder).mkdir(parents=True, exist_ok=True)
            (self.work / folder).chmod(0o755)

    def node(self) -> enforcement.Node:
        """What the node has to enforce, and where."""
        places = (self.work / "conf", self.work / "daemon.json", self.work / "guard.json", self.work / "bin" / "docker")
        return enforcement.Node(self.runtime, NETWORK, self.image, *places)

    def start_node(self) -> None:
        """Start the NodeManager, as a host's unit does: only after the check. Raises YarnEmulationError."""
        missing = enforcement.problems(self.node())
        if missing:
            raise YarnEmulationError("; ".join(missing), "the NodeManager was not started")
        self.hadoop.start("nodemanager")

    def _write_https(self, conf: Path, values: Mapping[str, str]) -> None:
        """A key for the daemons' pages, and the secret with which they sign their cookies."""
        folder = Path(values["keytabs"])
        password = secrets.token_hex(16)
        if not (folder / "https.p12").exists():
            (folder / "https.p12").write_bytes(own_certificate(_MASTER, password))
            render.write(folder / "http-signature", secrets.token_hex(32), 0o600)
            text = render.rendered("ssl-server.xml", {**values, "keystore_password": password})
            render.write(conf / "ssl-server.xml", text, 0o600)

    def credentials(self, tenant: str | None) -> dict[str, str]:
        """What makes a program that person's, or with None the cluster's own: a ticket, or a name that is believed."""
        if self.kdc is None:
            return {} if tenant is None else {"HADOOP_USER_NAME": tenant}
        ticket = self.kdc.ticket("nn", _MASTER) if tenant is None else self.kdc.ticket(tenant)
        return {"KRB5CCNAME": str(ticket)}

    def make_folders(self) -> None:
        """What HDFS needs to have: places for logs, and each tenant's home."""
        wanted = ["/:711:hdfs", "/user:711:hdfs", "/logs:1777:hdfs"]
        wanted += [f"/user/{tenant.name}:700:{tenant.name}" for tenant in self.tenants]
        self.hadoop.run(str(_MAKE_FOLDERS), *wanted, extra=self.credentials(None))

    def wait_for_node(self) -> None:
        """Until the ResourceManager has the NodeManager."""
        self.hadoop.wait_for(
            "nodemanager", "the NodeManager to register", lambda: self.hadoop.says("nodemanager", "Registered with")
        )

    def submit(
        self,
        application: Sequence[str],
        *,
        tenant: str = TENANTS[0],
        settings: Mapping[str, str] | None = None,
        environment: Mapping[str, str] | None = None,
        during: Callable[[str], None] | None = None,
        seconds: float = JOB_SECONDS,
    ) -> Outcome:
        """`spark-submit` in cluster mode as that tenant; ``environment`` is asked for in all of the job's containers.

        ``during`` is called once, with the application's id, when its driver runs.
        """
        flags = dict(settings or {})
        for name, value in (environment or {}).items():
            flags[f"spark.yarn.appMasterEnv.{name}"] = value
            flags[f"spark.executorEnv.{name}"] = value
        command = [str(find_spark() / "bin" / "spark-submit")]
        for name, value in flags.items():
            command += ["--conf", f"{name}={value}"]
        surroundings = {
            "PATH": os.defpath, "JAVA_HOME": str(find_java().home), "HADOOP_CONF_DIR": str(self.work / "conf"),
            "SPARK_CONF_DIR": str(self.work / "spark-conf"), **self.credentials(tenant),
            "PYSPARK_PYTHON": sys.executable,
            "PYSPARK_ARCHIVES_PATH": "local:/opt/spark/python/lib/pyspark.zip,"
            "local:/opt/spark/python/lib/py4j-0.10.9.9-src.zip",
        }  # fmt: skip
        started = time.monotonic()
        told: list[str] = []
        application_id = None
        with subprocess.Popen(
            self.hadoop.viewed([*command, *application]), env=surroundings, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
        ) as process:  # fmt: skip
            assert process.stdout is not None  # noqa: S101 (it was asked for as a pipe)
            try:
                for line in process.stdout:
                    told.append(line)
                    found = _APPLICATION.search(line)
                    application_id = application_id or (found[0] if found else None)
                    if during and application_id and "state: RUNNING" in line:
                        during(application_id)
                        during = None
                    if time.monotonic() - started > seconds:
                        raise YarnEmulationError(f"the job took more than {seconds:.0f} s", "".join(told[-3:]))
                process.wait(30)
            except BaseException:
                os.killpg(process.pid, 9)
                raise
        output = self.logs(application_id) if application_id else ""
        return Outcome(process.returncode, output, "".join(told), application_id, time.monotonic() - started)

    def put(self, sources: Sequence[Path], tenant: str) -> str:
        """Copy files or folders of this machine to the tenant's home in HDFS; the address of that home."""
        place = f"/user/{tenant}"
        # As addresses: Hadoop finds no path with a space in it.
        files = [source.resolve().as_uri() for source in sources]
        self.hadoop.run("org.apache.hadoop.fs.FsShell", "-put", "-f", *files, place, extra=self.credentials(tenant))
        return f"hdfs://{GATEWAY}:8020{place}"

    @staticmethod
    def kernels(outcome: Outcome) -> set[str]:
        """The kernels that the job's containers saw, from what the image's launcher says in each."""
        return set(_KERNEL.findall(outcome.output))

    def logs(self, application: str) -> str:
        """What the application's containers printed, all of it, from the node's own folder of logs."""
        files = sorted((self.work / "state" / "logs" / application).glob("container_*/*"))
        return "\n".join(
            f"== {file.parent.name}/{file.name}\n{file.read_text(encoding='utf-8', errors='replace')}" for file in files
        )


def own_certificate(host: str, password: str) -> bytes:
    """A PKCS #12 file with a key and a certificate that it signs itself, for a day."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    return pkcs12.serialize_key_and_certificates(
        b"https", key, certificate, None, serialization.BestAvailableEncryption(password.encode())
    )


def rendered_executor(values: Mapping[str, str]) -> str:
    """container-executor.cfg."""
    return render.rendered("container-executor.cfg", values)


__all__ = ["SMALL_JOB", "TENANTS", "Outcome", "Runtime", "YarnCluster", "node_engine"]
