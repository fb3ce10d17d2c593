"""What the cluster gives to jobs: image, master, secrets, defaults; as the agent and the deployment left them."""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass
from typing import Any

from sparkvault_host.aws_cli import aws, other_endpoint
from sparkvault_host.broker import client
from sparkvault_host.engine_api import EngineApi, EngineError
from sparkvault_host.identity import HostIdentity
from sparkvault_host.launcher import sick_hosts
from sparkvault_host.launcher.errors import LauncherError, NotReadyError
from sparkvault_host.launcher.job_service import (
    Reference,
    Surroundings,
)
from sparkvault_host.launcher.log_stream import stream_name
from sparkvault_host.log_driver import LOGS, awslogs, flushed_soon

MASTER_SERVICE = "spark-master"
MASTER_LABEL = "sparkvault.master-url"
SECRET_LABEL = "sparkvault.secret"  # noqa: S105 - the name of a label

#: Folder of a job in the bucket that its event log goes to (spark_constructs/tenant_roles.py: of this job alone).
EVENT_LOGS = "eventlog"
#: Where its driver writes that, on the volume of its container.
EVENT_LOG_FOLDER = "/opt/spark/work-dir/eventlog"

#: How long a job waits for a swarm that boots, in seconds: less than a document may take
#: (spark_constructs.job_documents), and whoever submitted it may ask again.
BOOT_SECONDS, _PAUSE_SECONDS = 120.0, 0.5

_BY_DIGEST = re.compile(r"[^\s@]+@sha256:[0-9a-f]{64}")


def wait_until_up(engine: EngineApi, seconds: float = BOOT_SECONDS) -> None:
    """Return as soon as swarm, master and secret are there. Raises NotReadyError, EngineError."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            master_url(engine)
            rpc_secret(engine)
            return
        except (NotReadyError, EngineError) as error:
            if isinstance(error, EngineError) and not error.not_ready:
                raise
            if time.monotonic() >= deadline:
                raise NotReadyError(f"{error} (waited {seconds:.0f} s)") from error
        time.sleep(_PAUSE_SECONDS)


def surroundings(identity: HostIdentity, engine: EngineApi, given: Deployed, job_id: str) -> Surroundings:
    """What this job runs in. Raises NotReadyError, EngineError where something is not there yet."""
    region, desired = identity.region, given.desired
    forced = {
        **s3_settings(region),
        "spark.eventLog.enabled": "true",
        "spark.eventLog.dir": f"file://{EVENT_LOG_FOLDER}",
        # What is complete goes to the bucket, and is removed from the disk (driver.py).
        "spark.eventLog.rolling.enabled": "true",
    }
    settings = {
        "spark.cores.max": str(desired.get("default_cores_per_application") or 4),
        "spark.executor.cores": str(desired.get("executor_cores") or 2),
        "spark.executor.memory": str(desired.get("executor_memory") or "2g"),
        "spark.log.level": str(desired.get("log_level") or "WARN"),
        "spark.ui.showConsoleProgress": "false",
        **sick_hosts.SETTINGS,
        **{str(key): str(value) for key, value in (desired.get("spark_settings") or {}).items()},
    }
    return Surroundings(
        image=given.image,
        master_url=master_url(engine),
        rpc_secret=rpc_secret(engine),
        settings=settings,
        forced=forced,
        output=output(identity, engine, job_id),
        environment={"AWS_REGION": region, **client.environment()},
    )


def output(identity: HostIdentity, engine: EngineApi, job_id: str) -> dict[str, Any]:
    """Where the driver's output goes: its host's engine sends it, whatever becomes of the managers meanwhile."""
    soon = flushed_soon(str(engine.get("/version").get("Version")))
    where = (identity.log_group, identity.region, other_endpoint(LOGS))
    return awslogs(*where, awslogs_stream=stream_name(job_id), max_buffer_size="16m", **soon)


@dataclass(frozen=True)
class Deployed:
    """What the deployment left in the parameter store."""

    image: str
    """The submit image, by digest."""
    desired: dict[str, Any]
    """What it wants of this swarm; empty where it says nothing."""


def deployed(identity: HostIdentity) -> Deployed:
    """Read in one call. Raises LauncherError, AwsError."""
    image_name, desired_name = identity.parameter("images", "submit"), identity.parameter("swarm", "desired")
    answer = aws("ssm", "get-parameters", "--names", image_name, desired_name) or {}
    found = {each["Name"]: each["Value"] for each in answer.get("Parameters", [])}
    try:
        desired = json.loads(found.get(desired_name, "{}"))
    except ValueError as error:
        raise LauncherError("the parameter swarm/desired is not JSON; deploy again") from error
    image = found.get(image_name, "")
    if not _BY_DIGEST.fullmatch(image):
        raise LauncherError(f"parameter {image_name} holds no image by digest; `sparkvault deploy` writes it")
    return Deployed(image, desired if isinstance(desired, dict) else {})


def tenants(desired: dict[str, Any]) -> frozenset[str]:
    """The tenants of the deployment; ``default`` alone where it names none."""
    return frozenset(str(name) for name in desired.get("tenants") or ["default"])


def master_url(engine: EngineApi) -> str:
    """``spark://…`` as the agent wrote it on the master's service. Raises NotReadyError, EngineError."""
    for service in engine.get("/services", filters={"label": [MASTER_LABEL]}) or []:
        url = service["Spec"]["Labels"].get(MASTER_LABEL, "")
        if url.startswith("spark://"):
            return str(url)
    raise NotReadyError("Spark's master is not up yet; `sparkvault status` shows what is missing")


def rpc_secret(engine: EngineApi) -> Reference:
    """The newest of the swarm's RPC secrets. Raises NotReadyError, EngineError."""
    found = engine.get("/secrets", filters={"label": [f"{SECRET_LABEL}=rpc"]}) or []
    if not found:
        raise NotReadyError("the swarm has no RPC secret yet; `sparkvault status` shows what is missing")
    newest = max(found, key=lambda secret: secret["CreatedAt"])
    return Reference(newest["ID"], newest["Spec"]["Name"])


def event_log(identity: HostIdentity, job_id: str) -> str:
    """Bucket and folder that the job's event log goes to; its end has it copied for the history server."""
    return f"{identity.job_bucket}/jobs/{job_id}/{EVENT_LOGS}"


def s3_settings(region: str) -> dict[str, str]:
    """Where jobs find S3."""
    found, endpoint = {"spark.hadoop.fs.s3a.endpoint.region": region}, other_endpoint("S3")
    if endpoint:
        found["spark.hadoop.fs.s3a.endpoint"] = endpoint
        found["spark.hadoop.fs.s3a.path.style.access"] = "true"
        found["spark.hadoop.fs.s3a.connection.ssl.enabled"] = "true" if endpoint.startswith("https:") else "false"
    return found
