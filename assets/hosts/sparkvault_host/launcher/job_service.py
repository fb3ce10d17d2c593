"""The one form that a job's container has: a person decides what runs inside, never what the container is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sparkvault_host.launcher import sick_hosts
from sparkvault_host.launcher.errors import RefusedSpecificationError
from sparkvault_host.launcher.specification import FILES_FOLDER, Specification

#: Labels by which the launcher's parts know jobs.
JOB_LABEL = "sparkvault.job"
TENANT_LABEL = "sparkvault.tenant"
KIND_LABEL = "sparkvault.job-kind"
SUPERVISE_LABEL = "sparkvault.supervise"
CANCEL_LABEL = "sparkvault.cancel"

OVERLAY = "spark-overlay-net"
RPC_SECRET_FILE = "spark-rpc-secret"  # noqa: S105 - the name of a file
TOKEN_FILE = "sparkvault-credentials-token"  # noqa: S105 - the name of a file

#: Where the driver's container finds what it is to do.
PROGRAM = "/opt/sparkvault/job/driver.py"
LAUNCH_FILE = "/opt/sparkvault/job/launch.json"

#: The user of every Spark image.
USER = 185

#: Ports of a driver, all inside the overlay: RPC, block transfer, web UI.
DRIVER_PORT = 7078
BLOCK_PORT = 7079
UI_PORT = 4040

#: How often a supervised driver's host was lost so far; engines keep it with the service.
RESTARTS_LABEL = "sparkvault.restarts"

#: How often a supervised driver is started again: where it failed, and where its host was lost.
SUPERVISED_ATTEMPTS = 3

#: Time that a driver has to end after SIGTERM.
GRACE_SECONDS = 30

_MIB = 1024 * 1024
_PYTHON_MIB = 512
_MIN_OVERHEAD_MIB = 384
_OVERHEAD_FACTOR = 0.1
_MAX_DRIVER_MIB = 512 * 1024
_MAX_DRIVER_CORES = 64
#: On fewer cores the optimising compiler takes more from a short job than it gives (half of its driver's CPU time), so
#: drivers, which mostly plan and wait, do without it, here as on one's own machine. Executors keep it.
_CORES_FOR_OPTIMISING = 4
_QUICK_START = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
_UNITS = {"k": 1 / 1024, "m": 1, "g": 1024, "t": 1024 * 1024}
_MEMORY = re.compile(r"([0-9]{1,12})\s*([kmgt])?b?", re.IGNORECASE)


@dataclass(frozen=True)
class Reference:
    """A Swarm secret or config by id and name."""

    id: str
    name: str


@dataclass(frozen=True)
class Surroundings:
    """What the cluster gives to a job."""

    image: str
    """The submit image, ``repository@sha256:…``."""
    master_url: str
    rpc_secret: Reference
    settings: Mapping[str, str]
    """Settings for every job, which a person's own come after."""
    forced: Mapping[str, str]
    """Settings that come after a person's."""
    output: Mapping[str, Any]
    """Log driver of the driver's container: the job's stream in the cluster's log group."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables of the container; nothing secret."""


def service_name(job_id: str) -> str:
    """Name of the service, and of the driver in the overlay's DNS."""
    return "sparkvault-job-" + job_id


def driver_memory_mib(spec: Specification) -> int:
    """What the driver's container may take, in MiB: heap, the rest of the JVM, and Python beside it.

    Overhead as Spark reckons it (``spark.driver.memoryOverheadFactor``: a tenth, at least 384 MiB).
    """
    heap = _memory(spec.last("--driver-memory") or spec.settings.get("spark.driver.memory") or "1g")
    return heap + max(_MIN_OVERHEAD_MIB, int(heap * _OVERHEAD_FACTOR)) + _PYTHON_MIB


def driver_cores(spec: Specification) -> int:
    """How many CPUs the driver's container may use."""
    text = spec.last("--driver-cores") or spec.settings.get("spark.driver.cores") or "1"
    if not re.fullmatch("[0-9]{1,3}", text) or not 1 <= int(text) <= _MAX_DRIVER_CORES:
        raise RefusedSpecificationError(
            "job.spark_arguments", f"driver cores: not a number from 1 to {_MAX_DRIVER_CORES}"
        )
    return int(text)


def spark_command(spec: Specification, around: Surroundings) -> list[str]:
    """What the image's entrypoint is given: spark-submit's flags, application and arguments."""
    name = service_name(spec.id)
    forced = {
        "spark.driver.host": name,
        "spark.driver.bindAddress": "0.0.0.0",  # noqa: S104 - inside the container
        "spark.driver.port": str(DRIVER_PORT),
        "spark.driver.blockManager.port": str(BLOCK_PORT),
        "spark.ui.port": str(UI_PORT),
        "spark.ui.killEnabled": "false",
        **around.forced,
    }
    flags = _settings(_fitting(spec, around.settings))
    for flag, value in spec.flags:
        flags += [flag, value] if value or flag not in ("--verbose", "-v") else [flag]
    flags += _settings(forced)
    if spec.kind == "sql":
        return ["shell", "sql", *flags, "-f", f"{FILES_FOLDER}/{spec.main}", *spec.arguments]
    if spec.kind == "scala":
        # The driver program adds the script, wrapped so that it ends, and its arguments.
        return ["shell", "scala", *flags]
    if spec.kind == "shell":
        return ["shell", spec.language or "python", *flags]
    return ["submit", *flags, f"{FILES_FOLDER}/{spec.main}", *spec.arguments]


def job_service(
    spec: Specification, around: Surroundings, *, program: Reference, launch: Reference, token: Reference | None
) -> dict[str, Any]:
    """The service as the Engine API takes it (``POST /services/create``, version 1.41).

    Source: Docker Engine API v1.41, "ServiceSpec". A person's choices appear in it as limits only: what runs is in the
    config ``launch``.
    """
    labels = {JOB_LABEL: spec.id, TENANT_LABEL: spec.tenant, KIND_LABEL: spec.kind}
    terminal = spec.kind == "shell"
    environment = {
        **around.environment,
        "SPARK_MASTER_URL": around.master_url,
        "SPARK_SECRET_FILE": f"/run/secrets/{RPC_SECRET_FILE}",
        "SPARKVAULT_LAUNCH": LAUNCH_FILE,
        "HOME": "/tmp",  # noqa: S108 - a volume of the container's own
    }
    return {
        "Name": service_name(spec.id),
        "Labels": {**labels, SUPERVISE_LABEL: "true" if spec.supervise else "false"},
        "TaskTemplate": {
            "ContainerSpec": {
                "Image": around.image,
                "Labels": labels,
                "Command": ["tini", "-g", "--", "python3", "-P", PROGRAM],
                "Env": [f"{name}={value}" for name, value in sorted(environment.items())],
                "User": f"{USER}:{USER}",
                "Dir": "/opt/spark/work-dir",
                "TTY": terminal,
                "OpenStdin": terminal,
                "ReadOnly": True,
                "CapabilityDrop": ["ALL"],
                "StopGracePeriod": GRACE_SECONDS * 10**9,
                "Mounts": [_scratch("/tmp"), _scratch("/opt/spark/work-dir")],  # noqa: S108
                "Secrets": [
                    _mounted("Secret", around.rpc_secret, RPC_SECRET_FILE),
                    *([_mounted("Secret", token, TOKEN_FILE)] if token else []),
                ],
                "Configs": [_mounted("Config", program, PROGRAM), _mounted("Config", launch, LAUNCH_FILE)],
                "Healthcheck": {"Test": ["NONE"]},
            },
            "Resources": {
                "Limits": {
                    "MemoryBytes": driver_memory_mib(spec) * _MIB,
                    # One more than it computes with: its JVM compiles and collects beside, as Python does.
                    "NanoCPUs": (driver_cores(spec) + 1) * 10**9,
                    "Pids": 4096,
                },
            },
            "RestartPolicy": {
                "Condition": "on-failure" if spec.supervise else "none",
                "MaxAttempts": SUPERVISED_ATTEMPTS if spec.supervise else 0,
            },
            # The second label is the agent's, where Spark's worker has run: the image is there.
            "Placement": {
                "Constraints": [
                    "node.role==worker",
                    "node.labels.sparkvault.verified==true",
                    "node.labels.sparkvault.runs-spark==true",
                ]
            },
            "Networks": [{"Target": OVERLAY}],
            # What somebody types and reads in a shell is for that terminal alone.
            "LogDriver": {"Name": "local"} if terminal else dict(around.output),
        },
        "Mode": {"ReplicatedJob": {"MaxConcurrent": 1, "TotalCompletions": 1}},
        "EndpointSpec": {"Mode": "dnsrr"},
    }


def started_again(service: Mapping[str, Any]) -> dict[str, Any] | None:
    """The same service with a driver to be started anew, as its host was lost; None where none shall be.

    Swarm starts a job that failed again by itself, but not one whose node is gone: it waits for that to come back.
    """
    labels = service["Labels"]
    times = int(labels.get(RESTARTS_LABEL, "0")) + 1
    if labels.get(SUPERVISE_LABEL) != "true" or times > SUPERVISED_ATTEMPTS:
        return None
    return {
        **service,
        "Labels": {**labels, RESTARTS_LABEL: str(times)},
        "TaskTemplate": {**service["TaskTemplate"], "ForceUpdate": times},
    }


def emptied(service: Mapping[str, Any]) -> dict[str, Any]:
    """The same service wanting no completions: Swarm stops the tasks of a job's earlier iterations and forgets them."""
    return {**service, "Mode": {"ReplicatedJob": {"MaxConcurrent": 0, "TotalCompletions": 0}}}


def is_emptied(service: Mapping[str, Any]) -> bool:
    """Whether nothing of the job shall run any more."""
    return not service["Mode"]["ReplicatedJob"].get("TotalCompletions")


def _fitting(spec: Specification, settings: Mapping[str, str]) -> Mapping[str, str]:
    """The cluster's settings, without those that this job's own would make Spark refuse or wait for ever.

    Executors are no larger than all that the job asks for; a small driver starts quickly.
    """
    settings = sick_hosts.fitting(spec, settings)
    if driver_cores(spec) < _CORES_FOR_OPTIMISING:
        # Comes before a person's own spark.driver.extraJavaOptions, which may say otherwise.
        settings = {"spark.driver.defaultJavaOptions": _QUICK_START, **settings}
    cores = "spark.executor.cores"
    total = spec.last("--total-executor-cores") or spec.settings.get("spark.cores.max") or ""
    if not total.isdigit() or not 1 <= int(total) < int(settings.get(cores, "0")):
        return settings
    return {**settings, cores: total}


def _settings(settings: Mapping[str, str]) -> list[str]:
    return [word for key, value in sorted(settings.items()) for word in ("--conf", f"{key}={value}")]


def _scratch(target: str) -> dict[str, Any]:
    """A volume of the container's own on the host's encrypted disk, which goes with it.

    Not tmpfs: Swarm mounts that without "exec", and the JVM loads native libraries from there.
    """
    return {"Type": "volume", "Target": target}


def _mounted(kind: str, reference: Reference, path: str) -> dict[str, Any]:
    file = {"Name": path, "UID": str(USER), "GID": str(USER), "Mode": 0o400}
    return {f"{kind}ID": reference.id, f"{kind}Name": reference.name, "File": file}


def _memory(text: str) -> int:
    found = _MEMORY.fullmatch(text.strip())
    if not found:
        raise RefusedSpecificationError("job.spark_arguments", "driver memory: not of the form 2g or 512m")
    # Without a unit Spark takes MiB.
    mib = int(int(found.group(1)) * _UNITS[(found.group(2) or "m").lower()])
    if not 1 <= mib <= _MAX_DRIVER_MIB:
        raise RefusedSpecificationError("job.spark_arguments", f"driver memory: not from 1 to {_MAX_DRIVER_MIB} MiB")
    return mib
