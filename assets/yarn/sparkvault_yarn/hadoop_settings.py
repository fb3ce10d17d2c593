"""Writes Hadoop's and Spark's settings of a host: the templates with what the deployment wants and this host is."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from . import places
from .errors import YarnHostError
from .host_settings import Wanted
from .render import auth_to_local, rendered, write, write_hadoop
from .tenants import LEAST_UID, MOST_UID, capacity_scheduler

_SECONDS = 120
#: Exit code of groupadd and useradd for what is there already (useradd(8)).
_THERE = 9


def values(given: Wanted, *, master: str, host: str, image: str) -> dict[str, str]:
    """A value for each placeholder of Hadoop's, Spark's and the executor's templates."""
    local, logs = f"{places.STATE}/local", f"{places.STATE}/logs"
    return {
        "master": master,
        "node": host,
        "realm": given.realm,
        "auth_to_local": auth_to_local(given.realm),
        "state": str(places.STATE),
        "keytabs": str(places.KEYTABS),
        "hadoop": str(places.HADOOP),
        "replication": str(given.replication),
        "image": image,
        "runtime": given.runtime,
        "network": places.NETWORK,
        "least_uid": str(LEAST_UID),
        "container_users": str(places.CONTAINER_USERS),
        "docker": str(places.GUARD),
        "ro_mounts": f"{places.CONTAINER_USERS},{local}",
        "rw_mounts": f"{local},{logs}",
        "trusted_registries": image.partition("/")[0],
        "service_users": "hdfs,yarn",
        "leaving": str(places.LEAVING),
        "node_memory_mib": str(given.node_memory_mib),
        "node_cores": str(given.node_cores),
        "container_least_mib": str(given.container_least_mib),
        "container_memory_mib": str(given.container_memory_mib),
        "container_cores": str(given.container_cores),
        "preemption": "true" if given.preemption else "false",
        "log_seconds": str(given.log_seconds),
        "attempts": "2",
    }


def write_settings(given: Wanted, known: Mapping[str, str]) -> None:
    """Everything that Hadoop's daemons read, and Spark's client on the master. Raises YarnHostError."""
    write_hadoop(places.SETTINGS, known)
    if not places.LEAVING.exists():
        write(places.LEAVING, "")
    write(places.SETTINGS / "capacity-scheduler.xml", capacity_scheduler(given.tenants))
    write(places.SETTINGS / "container-executor.cfg", rendered("container-executor.cfg", known))
    write(places.SPARK_SETTINGS / "spark-defaults.conf", rendered("spark-defaults.conf", known))
    write(places.ENVIRONMENT, "".join(f"{name}={value}\n" for name, value in environment().items()))
    write_https(known["node"], Path(environment()["JAVA_HOME"]))


def environment() -> dict[str, str]:
    """What all of Hadoop's programs need to know."""
    return {
        "JAVA_HOME": str(Path(os.path.realpath("/usr/bin/java")).parents[1]),
        "HADOOP_CONF_DIR": str(places.SETTINGS),
        "HADOOP_LOG_DIR": f"{places.STATE}/daemons",
        "HADOOP_ROOT_LOGGER": "INFO,console",
    }


def write_https(host: str, java: Path) -> None:
    """A key for this host's own pages, made here and never leaving it; and the secret that signs their cookies."""
    store = places.KEYTABS / "https.p12"
    if store.exists() and (places.SETTINGS / "ssl-server.xml").exists():
        return
    store.unlink(missing_ok=True)
    password = secrets.token_hex(24)
    run(
        *(str(java / "bin" / "keytool"), "-genkeypair", "-alias", "https", "-keyalg", "EC", "-groupname", "secp256r1"),
        *("-dname", f"CN={host}", "-ext", f"SAN=dns:{host}", "-validity", "825", "-storetype", "PKCS12"),
        *("-keystore", str(store), "-storepass:env", "STORE_PASSWORD"),
        environment={"STORE_PASSWORD": password},
    )
    write(places.KEYTABS / "http-signature", secrets.token_hex(32), 0o640)
    filled = {"keytabs": str(places.KEYTABS), "keystore_password": password}
    write(places.SETTINGS / "ssl-server.xml", rendered("ssl-server.xml", filled), 0o640)
    for path in (store, places.KEYTABS / "http-signature", places.SETTINGS / "ssl-server.xml"):
        path.chmod(0o640)
        shutil.chown(path, "root", "hadoop")


def make_users(given: Wanted) -> None:
    """Users of the daemons, and each tenant's, who can do nothing on a host but be one. Raises YarnHostError."""
    run("groupadd", "--system", "hadoop", allowed=_THERE)
    run("groupadd", "--system", "sparkvault-admins", allowed=_THERE)
    for name in ("hdfs", "yarn"):
        run(*_USERADD, "--system", "--gid", "hadoop", name, allowed=_THERE)
    for tenant in given.tenants:
        run("groupadd", "--gid", str(tenant.uid), tenant.name, allowed=_THERE)
        run(*_USERADD, "--uid", str(tenant.uid), "--gid", str(tenant.uid), tenant.name, allowed=_THERE)


def keep_tenants_from_metadata() -> None:
    """Processes of tenants' users get nothing of the metadata service, which would give them this host's own role.

    The guard of all hosts stops containers; on the master Spark's client runs as the tenant's user, with the job's jars
    on its class path (SparkSubmit.prepareSubmitEnvironment). Raises YarnHostError.
    """
    rule = (
        "OUTPUT",
        "-d",
        "169.254.169.254/32",
        "-m",
        "owner",
        "--uid-owner",
        f"{LEAST_UID}-{MOST_UID}",
        "-j",
        "REJECT",
    )
    try:
        run("iptables", "--wait", "30", "-C", *rule)
    except YarnHostError:
        run("iptables", "--wait", "30", "-I", *rule)


_USERADD = ("useradd", "--no-create-home", "--home-dir", "/nonexistent", "--shell", "/usr/sbin/nologin")


def know_own_name(name: str, address: str, file: Path = Path("/etc/hosts")) -> None:
    """This host's name means the address that others reach it by, not one of Docker's bridges, which it also has."""
    mark = "# sparkvault: this host"
    lines = [line for line in file.read_text(encoding="utf-8").splitlines() if not line.endswith(mark)]
    file.write_text("\n".join([f"{address} {name} {name.partition('.')[0]} {mark}", *lines, ""]), encoding="utf-8")


def make_folders() -> None:
    """What the daemons keep in the encrypted volume's folder. Raises YarnHostError where that is not in its place.

    A mount of the agent's own would be seen by nobody else: systemd gives it a view of the file system of its own.
    """
    if not os.path.ismount(places.STATE):
        raise YarnHostError(
            f"{places.VOLUME} is not mounted at {places.STATE}: var-lib-sparkvault-yarn.mount does that"
        )
    places.STATE.chmod(0o755)
    for name, user, mode in (
        ("name", "hdfs", 0o700),
        ("data", "hdfs", 0o700),
        ("local", "yarn", 0o755),
        ("logs", "yarn", 0o755),
        ("rm-state", "yarn", 0o700),
        ("nm-recovery", "yarn", 0o700),
        ("daemons", "root", 0o770),
        ("tmp", "root", 0o1777),
    ):
        folder = places.STATE / name
        folder.mkdir(exist_ok=True)
        shutil.chown(folder, user, "hadoop")
        folder.chmod(mode)
    places.KEYTABS.mkdir(mode=0o750, parents=True, exist_ok=True)
    shutil.chown(places.KEYTABS, "root", "hadoop")


def own_keytab(name: str, user: str) -> None:
    """A keytab is its daemon's alone; that of the pages is both daemons'."""
    path = places.KEYTABS / name
    shutil.chown(path, user, "hadoop")
    path.chmod(0o640 if name == "http.keytab" else 0o400)


def run(*command: str, allowed: int = 0, environment: Mapping[str, str] | None = None) -> str:
    """A program of the system to its end. Raises YarnHostError."""
    try:
        done = subprocess.run(
            list(command),
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise YarnHostError(f"{command[0]}: {error}") from error
    if done.returncode not in (0, allowed):
        # One line: a host that does not boot has one line for its reason.
        said = " ".join((done.stderr or done.stdout).split())[-300:]
        raise YarnHostError(f"{' '.join(command[:3])}: {said}")
    return done.stdout
