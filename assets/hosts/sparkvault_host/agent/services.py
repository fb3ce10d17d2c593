"""The Spark services that a swarm should run, as the Engine API takes them. Pure: same input, same specification."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sparkvault_host.agent.model import (
    MASTER_URL,
    ORDINAL,
    RUNS_SPARK,
    SERVICE,
    SIZE,
    SPEC_HASH,
    VERIFIED,
    WORKER,
    Node,
    Settings,
    Snapshot,
)
from sparkvault_host.broker.client import TOKEN_FILE
from sparkvault_host.broker.client import environment as broker_environment
from sparkvault_host.log_driver import awslogs

NETWORK = "spark-overlay-net"
#: Folder of the job bucket that drivers write event logs to.
EVENT_LOGS = "eventlog"
RPC_SECRET = "spark-rpc-secret"  # noqa: S105 - the name of a file, as the images know it

#: Addresses of overlay networks: apart from the engine's own 198.18.0.0/16 and from any VPC (RFC 2544).
OVERLAY_POOL = "198.19.0.0/16"
OVERLAY_SUBNET_BITS = 20

#: MiB that a worker's host keeps for the system, the engine and the agent.
SYSTEM_MIB = 1536
#: MiB of the Spark worker daemon itself.
DAEMON_MIB = 1024
#: What executors take beyond their heap (spark.executor.memoryOverheadFactor, as Spark sets it elsewhere).
OVERHEAD = 0.10
#: Offers are rounded down to this, so that hosts of one type have one size.
STEP_MIB = 512
LEAST_MIB = 1024

_WORKER_START = 'SPARK_WORKER_HOST="$(hostname -i | cut -d" " -f1)" exec /opt/entrypoint.sh worker'
#: Seconds that a worker may take to hand over what its executors hold.
_DRAIN_SECONDS = 90

_USER = "185"
_NANOSECOND = 1_000_000_000
_MIB = 1024 * 1024

#: The images' own check, asked more often of what has no address before: all who boot wait for its first good answer.
#: Each costs a tenth of a second of a CPU, so that others keep the images' interval.
_AWAITED_HEALTH = {"Interval": 2 * _NANOSECOND, "Retries": 15}


@dataclass(frozen=True)
class Size:
    """What a worker offers."""

    memory_mib: int
    cores: int

    @property
    def label(self) -> str:
        """Value of the node's size label."""
        return f"{self.cores}c-{self.memory_mib}m"

    @property
    def limit_mib(self) -> int:
        """What the worker's container may take: executors with their overhead, and the daemon."""
        return int(self.memory_mib * (1 + OVERHEAD)) + DAEMON_MIB


def worker_size(node: Node, settings: Settings) -> Size:
    """What a host offers: as configured, else what enclaves and the system leave of it."""
    left = node.memory_mib - settings.enclave_memory_mib - SYSTEM_MIB - DAEMON_MIB
    fitting = int(left / (1 + OVERHEAD)) // STEP_MIB * STEP_MIB
    return Size(settings.worker_memory_mib or max(LEAST_MIB, fitting), settings.worker_cores or max(1, node.cores))


def master_names(settings: Settings) -> tuple[str, ...]:
    """Names of the master's services: one, or one for each of three managers."""
    return tuple("spark-master" if index == 1 else f"spark-master-{index}" for index in range(1, settings.managers + 1))


def master_url(settings: Settings) -> str:
    """Where workers and drivers find the master, or the masters, of which one leads."""
    return "spark://" + ",".join(f"{name}:7077" for name in master_names(settings))


def wanted_services(snapshot: Snapshot) -> dict[str, dict[str, Any]]:
    """Specifications by name. A service whose image is not published is left out."""
    swarm, settings, images = snapshot.swarm, snapshot.settings, snapshot.images
    if swarm is None or not swarm.network or not swarm.secrets:
        return {}
    found: dict[str, dict[str, Any]] = {}
    frame = _Frame(snapshot, swarm.network, *swarm.secrets[-1])
    if "master" in images:
        if settings.managers > 1:
            for index in range(1, settings.managers + 1):
                found[f"spark-zookeeper-{index}"] = _zookeeper(frame, index)
        for index, name in enumerate(master_names(settings), start=1):
            found[name] = _master(frame, name, index)
    if "worker" in images:
        for size in _sizes(swarm.nodes, settings):
            service = _worker(frame, size, configured=_is_configured(settings))
            found[service["Name"]] = service
    if "submit" in images and swarm.history_tokens:
        found["spark-history"] = _history(frame, *swarm.history_tokens[-1])
    return found


def spec_hash(spec: Mapping[str, Any]) -> str:
    """What tells one specification from another; it stands in the service's own labels."""
    return hashlib.sha256(json.dumps(spec, sort_keys=True).encode()).hexdigest()[:32]


@dataclass(frozen=True)
class _Frame:
    snapshot: Snapshot
    network: str
    secret_name: str
    secret_id: str

    def service(
        self,
        name: str,
        kind: str,
        image: str,
        *,
        mode: Mapping[str, Any],
        constraints: Iterable[str],
        command: Mapping[str, Any],
        environment: Mapping[str, str],
        memory_mib: int,
        processes: int,
        mounts: Iterable[Mapping[str, Any]] = (),
        token: tuple[str, str] | None = None,
        grace_seconds: int = 30,
        parallel: int = 1,
        labels: Mapping[str, str] | None = None,
        awaited: bool = False,
    ) -> dict[str, Any]:
        own = {SERVICE: kind, MASTER_URL: master_url(self.snapshot.settings), **(labels or {})}
        container: dict[str, Any] = {
            "Image": self.snapshot.images[image],
            **command,
            "Env": sorted(f"{key}={value}" for key, value in environment.items()),
            "User": f"{_USER}:{_USER}",
            "ReadOnly": True,
            "CapabilityDrop": ["ALL"],
            "StopGracePeriod": grace_seconds * _NANOSECOND,
            **({"Healthcheck": dict(_AWAITED_HEALTH)} if awaited else {}),
            "Labels": {SERVICE: kind},
            # Volumes of their own, not tmpfs: Swarm mounts that without "exec", and the JVM loads libraries from /tmp.
            # They lie on the encrypted volume and go with the container.
            "Mounts": [{"Type": "volume", "Target": "/tmp"}, *mounts],  # noqa: S108
        }
        files = {RPC_SECRET: (self.secret_name, self.secret_id), **({TOKEN_FILE: token} if token else {})}
        container["Secrets"] = [
            {
                "File": {"Name": file, "UID": _USER, "GID": _USER, "Mode": 0o400},
                "SecretID": secret_id,
                "SecretName": secret_name,
            }
            for file, (secret_name, secret_id) in files.items()
        ]
        task: dict[str, Any] = {
            "ContainerSpec": container,
            "Resources": {"Limits": {"MemoryBytes": memory_mib * _MIB, "Pids": processes}},
            "RestartPolicy": {"Condition": "any", "Delay": 5 * _NANOSECOND},
            "Placement": {"Constraints": [f"node.labels.{VERIFIED}==true", *constraints]},
            "Networks": [{"Target": self.network, "Aliases": [name]}],
        }
        driver = log_driver(self.snapshot)
        if driver:
            task["LogDriver"] = driver
        spec: dict[str, Any] = {
            "Name": name,
            "TaskTemplate": task,
            "Mode": dict(mode),
            "UpdateConfig": {
                "Parallelism": parallel,
                "Delay": 5 * _NANOSECOND,
                "FailureAction": "pause",
                "Monitor": 20 * _NANOSECOND,
                "MaxFailureRatio": 0.2,
                "Order": "stop-first",
            },
            # Names resolve to the tasks themselves: Spark wants addresses of its own, and no virtual one before it.
            "EndpointSpec": {"Mode": "dnsrr"},
            "Labels": own,
        }
        spec["Labels"] = {**own, SPEC_HASH: spec_hash(spec)}
        return spec


def log_driver(snapshot: Snapshot) -> dict[str, Any] | None:
    """Containers' logs go to the cluster's log group, one stream a container; ``docker service logs`` still works."""
    if not snapshot.log_group:
        return None
    tag, buffer = "container/{{.Name}}", "8m"
    return awslogs(snapshot.log_group, snapshot.log_region, snapshot.log_endpoint, tag=tag, max_buffer_size=buffer)


def _master(frame: _Frame, name: str, index: int) -> dict[str, Any]:
    settings = frame.snapshot.settings
    options = [
        f"-Dspark.deploy.defaultCores={settings.default_cores_per_application}",
        # A master that is new waits so long for workers and drivers that it was told of, and gives nothing to others:
        # those that live answer within seconds.
        "-Dspark.deploy.recoveryTimeout=30s",
    ]
    if settings.managers > 1:
        servers = ",".join(f"spark-zookeeper-{each}:2181" for each in range(1, settings.managers + 1))
        options += ["-Dspark.deploy.recoveryMode=ZOOKEEPER", f"-Dspark.deploy.zookeeper.url={servers}"]
    else:
        options += [
            "-Dspark.deploy.recoveryMode=FILESYSTEM",
            "-Dspark.deploy.recoveryDirectory=/opt/spark/work-dir/recovery",
        ]
    return frame.service(
        name,
        "spark-master",
        "master",
        mode={"Replicated": {"Replicas": 1}},
        constraints=_on_manager(settings, index),
        command={"Hostname": name, "Args": ["master"]},
        environment={
            "SPARK_MASTER_HOST": name,
            "SPARK_MASTER_OPTS": " ".join(options),
            "SPARK_LOG_LEVEL": settings.log_level,
        },
        memory_mib=2048,
        processes=1024,
        mounts=[{"Type": "volume", "Source": f"{name}-recovery", "Target": "/opt/spark/work-dir"}],
        awaited=True,
    )


def _zookeeper(frame: _Frame, index: int) -> dict[str, Any]:
    settings = frame.snapshot.settings
    name = f"spark-zookeeper-{index}"
    servers = " ".join(
        f"server.{each}=spark-zookeeper-{each}:2888:3888;2181" for each in range(1, settings.managers + 1)
    )
    return frame.service(
        name,
        "spark-zookeeper",
        "master",
        mode={"Replicated": {"Replicas": 1}},
        constraints=_on_manager(settings, index),
        command={"Hostname": name, "Args": ["zookeeper"]},
        environment={"ZOO_MY_ID": str(index), "ZOO_SERVERS": servers, "SPARK_LOG_LEVEL": settings.log_level},
        memory_mib=768,
        processes=512,
        mounts=[{"Type": "volume", "Source": f"{name}-data", "Target": "/opt/spark/work-dir"}],
        awaited=True,
    )


def _worker(frame: _Frame, size: Size, *, configured: bool) -> dict[str, Any]:
    workers = [node for node in (frame.snapshot.swarm.nodes if frame.snapshot.swarm else ()) if node.role == WORKER]
    return frame.service(
        "spark-worker" if configured else f"spark-worker-{size.label}",
        "spark-worker",
        "worker",
        mode={"Global": {}},
        constraints=["node.role==worker", f"node.labels.{SIZE}=={size.label}"],
        # Others reach a worker by its address: its container's name is known on its own host only.
        command={"Command": ["/usr/bin/tini", "--", "/bin/sh", "-c", _WORKER_START]},
        environment={
            "SPARK_MASTER_URL": master_url(frame.snapshot.settings),
            "MEMORY": f"{size.memory_mib}m",
            "CORES": str(size.cores),
            "SPARK_DRAIN_SECONDS": str(_DRAIN_SECONDS),
            "SPARK_LOG_LEVEL": frame.snapshot.settings.log_level,
        },
        memory_mib=size.limit_mib,
        processes=16384,
        mounts=[{"Type": "volume", "Target": "/opt/spark/work-dir"}],
        # Time to move blocks away when the engine stops it.
        grace_seconds=_DRAIN_SECONDS + 10,
        # Coarse steps: the specification must not change with every host that comes.
        parallel=4 if len(workers) > 16 else 1,
    )


def _history(frame: _Frame, token_name: str, token_id: str) -> dict[str, Any]:
    """On a worker, for there is the broker that knows its token; it reads event logs and nothing else."""
    snapshot = frame.snapshot
    environment = {
        **broker_environment(),
        "AWS_REGION": snapshot.log_region,
        "SPARK_HISTORY_LOG_DIR": f"s3a://{snapshot.job_bucket}/{EVENT_LOGS}",
        "SPARK_LOG_LEVEL": snapshot.settings.log_level,
    }
    if snapshot.s3_endpoint:
        environment["AWS_ENDPOINT_URL_S3"] = snapshot.s3_endpoint
        environment["SPARK_HISTORY_OPTS"] = "-Dspark.hadoop.fs.s3a.path.style.access=true"
    return frame.service(
        "spark-history",
        "spark-history",
        "submit",
        mode={"Replicated": {"Replicas": 1}},
        constraints=["node.role==worker", f"node.labels.{RUNS_SPARK}==true"],
        command={"Hostname": "spark-history", "Args": ["history"]},
        environment=environment,
        memory_mib=1536,
        processes=1024,
        mounts=[{"Type": "volume", "Target": "/opt/spark/work-dir"}],
        token=(token_name, token_id),
    )


def _on_manager(settings: Settings, index: int) -> list[str]:
    """Three managers: each server keeps to one of them, so that losing a host loses one server."""
    pinned = [f"node.labels.{ORDINAL}=={index}"] if settings.managers > 1 else []
    return ["node.role==manager", *pinned]


def _is_configured(settings: Settings) -> bool:
    return settings.worker_memory_mib is not None and settings.worker_cores is not None


def _sizes(nodes: Iterable[Node], settings: Settings) -> list[Size]:
    """The sizes that workers have, or the configured one even before there is a worker."""
    if settings.worker_memory_mib is not None and settings.worker_cores is not None:
        return [Size(settings.worker_memory_mib, settings.worker_cores)]
    sizes = {worker_size(node, settings) for node in nodes if node.role == WORKER and node.labels.get(VERIFIED)}
    return sorted(sizes, key=lambda size: size.label)
