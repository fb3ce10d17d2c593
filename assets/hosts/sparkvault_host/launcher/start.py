"""Starts and cancels jobs: from a job's id to a Swarm service, with everything checked on the way."""

from __future__ import annotations

import base64
import json
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from sparkvault_host.agent.registry import registry_auth
from sparkvault_host.aws_cli import other_endpoint
from sparkvault_host.broker import client
from sparkvault_host.engine_api import EngineApi, EngineError
from sparkvault_host.identity import HostIdentity
from sparkvault_host.launcher import cluster
from sparkvault_host.launcher.bucket import JobBucket
from sparkvault_host.launcher.errors import LauncherError, RefusedSpecificationError
from sparkvault_host.launcher.job_service import (
    CANCEL_LABEL,
    JOB_LABEL,
    TENANT_LABEL,
    Reference,
    Surroundings,
    job_service,
    service_name,
    spark_command,
)
from sparkvault_host.launcher.rules import Rules
from sparkvault_host.launcher.specification import Specification, read_specification

_PROGRAM_FILE = Path(__file__).with_name("driver.py")
_CONFLICT = 409


def submit(job_id: str, tenant: str, identity: HostIdentity, engine: EngineApi, rules: Rules) -> str:
    """Start the job; one that is started already is left as it is. Returns the service's name.

    The specification must be of the tenant in whose name it is started: by what it says, and by the tag with which it
    was put, for S3 lets nobody put that but the tenant's submitters.

    Raises RefusedSpecificationError for a specification that breaks a rule (and records it, where the job is this
    tenant's), NotReadyError where the swarm is not up in time, LauncherError, AwsError, EngineError.
    """
    # Before anything is read: whoever gives up meanwhile calls the job off by its record.
    cluster.wait_until_up(engine)
    bucket = JobBucket(identity.job_bucket)
    with ThreadPoolExecutor() as pool:
        deployment = pool.submit(_deployment, identity)
        submitted = bucket.submitted(job_id)
        given, login = deployment.result()
    record = submitted.record
    submitted.check(job_id, tenant)
    try:
        spec = read_specification(submitted.specification, job_id, cluster.tenants(given.desired) & {tenant}, rules)
        around = cluster.surroundings(identity, engine, given, job_id)
        command = spark_command(spec, around)
        # Made here for its checks of the sizes, before anything is created.
        job_service(spec, around, program=Reference("", ""), launch=Reference("", ""), token=None)
    except RefusedSpecificationError as error:
        if record is not None:
            refused = {**record, "state": "failed", "finished_at": now(), "message": str(error)}
            bucket.write_record(job_id, tenant, refused)
        raise
    create(spec, around, command, identity, engine, login)
    return service_name(job_id)


def create(
    spec: Specification,
    around: Surroundings,
    command: list[str],
    identity: HostIdentity,
    engine: EngineApi,
    login: dict[str, str],
) -> None:
    """The service with what it needs; whatever was made is removed again if the last step is refused.

    A swarm that leaves open whether the service is there now keeps what it needs: asked again, it says so.

    ``login``: the header with which the hosts that will run it pull its image.
    """
    program = config(engine, program_name(), _PROGRAM_FILE.read_bytes(), {})
    launch = config(engine, launch_name(spec.id), launch_content(spec, command, identity), {JOB_LABEL: spec.id})
    token = credentials_token(spec, engine)
    body = job_service(spec, around, program=program, launch=launch, token=token)
    try:
        engine.post("/services/create", body, headers=login)
    except EngineError as error:
        if error.status == _CONFLICT and engine.get("/services", filters={"name": [service_name(spec.id)]}):
            return
        if not error.in_doubt:
            remove_belongings(spec.id, engine)
        raise


def launch_content(spec: Specification, command: list[str], identity: HostIdentity) -> bytes:
    """What the driver program reads."""
    return json.dumps(
        {
            "kind": spec.kind,
            "language": spec.language,
            "main": spec.main,
            "arguments": list(spec.arguments),
            "command": command,
            "region": identity.region,
            "endpoint": other_endpoint("S3"),
            "place": f"{identity.job_bucket}/jobs/{spec.id}/files",
            "event_log": {"folder": cluster.EVENT_LOG_FOLDER, "place": cluster.event_log(identity, spec.id)},
            "files": [{"name": one.name, "size": one.size, "sha256": one.sha256} for one in spec.files],
        }
    ).encode()


def service_of(job_id: str, tenant: str, engine: EngineApi) -> dict[str, Any] | None:
    """The job's service, None where it does not run. Raises LauncherError for a job of another tenant."""
    found: list[dict[str, Any]] = engine.get("/services", filters={"label": [f"{JOB_LABEL}={job_id}"]}) or []
    if found and found[0]["Spec"]["Labels"].get(TENANT_LABEL) != tenant:
        raise LauncherError(f"job {job_id} is not one of tenant {tenant}")
    return found[0] if found else None


def cancel(job_id: str, tenant: str, engine: EngineApi) -> bool:
    """Ask for the job's end, which the watch then brings about and records; False where nothing runs of it.

    The request is a config of its own, which the watch finds whatever happens to it in between.
    """
    if service_of(job_id, tenant, engine) is None:
        return False
    config(engine, f"sparkvault-job-{job_id}-cancel", b"cancel", {JOB_LABEL: job_id, CANCEL_LABEL: now()})
    return True


def config(engine: EngineApi, name: str, content: bytes, labels: dict[str, str]) -> Reference:
    """A Swarm config of that name; configs never change, so one that is there is taken."""
    body = {"Name": name, "Labels": labels, "Data": base64.b64encode(content).decode()}
    return _made(engine, "configs", name, body)


def secret(engine: EngineApi, name: str, content: str, labels: dict[str, str]) -> Reference:
    """A Swarm secret of that name; secrets never change, so one that is there is taken."""
    body = {"Name": name, "Labels": labels, "Data": base64.b64encode(content.encode()).decode()}
    return _made(engine, "secrets", name, body)


def _made(engine: EngineApi, kind: str, name: str, body: dict[str, Any]) -> Reference:
    try:
        return Reference(str(engine.post(f"/{kind}/create", body)["ID"]), name)
    except EngineError as error:
        if error.status != _CONFLICT:
            raise
    for found in engine.get(f"/{kind}", filters={"name": [name]}) or []:
        if found["Spec"]["Name"] == name:
            return Reference(found["ID"], name)
    raise LauncherError(f"{name} is said to be there, and is not; try again")


def credentials_token(spec: Specification, engine: EngineApi) -> Reference:
    """What the container shows to the credentials broker, as a Swarm secret of this job alone."""
    return secret(engine, token_name(spec.id), client.issue(spec.id, spec.tenant), {JOB_LABEL: spec.id})


def remove_belongings(job_id: str, engine: EngineApi) -> None:
    """The job's own config and secret; harmless where they are gone."""
    for kind in ("configs", "secrets"):
        for found in engine.get(f"/{kind}", filters={"label": [f"{JOB_LABEL}={job_id}"]}) or []:
            try:
                engine.delete(f"/{kind}/{found['ID']}")
            except EngineError as error:
                if error.status != 404:
                    raise


def _deployment(identity: HostIdentity) -> tuple[cluster.Deployed, dict[str, str]]:
    """What is deployed, and the login to its image's registry, which is kept nowhere on disk."""
    given = cluster.deployed(identity)
    return given, registry_auth(identity) if ".dkr.ecr." in given.image else {}


def program_name() -> str:
    """Name of the config with the driver program of this bundle."""
    import hashlib

    return "sparkvault-driver-" + hashlib.sha256(_PROGRAM_FILE.read_bytes()).hexdigest()[:16]


def launch_name(job_id: str) -> str:
    """Name of the config with what a job's driver is to do."""
    return f"sparkvault-job-{job_id}-launch"


def token_name(job_id: str) -> str:
    """Name of the secret with a job's token."""
    return f"sparkvault-job-{job_id}-token"


def now() -> str:
    """The time as records have it."""
    return datetime.now(timezone.utc).isoformat()
