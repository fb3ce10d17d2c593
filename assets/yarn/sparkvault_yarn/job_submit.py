"""From a job's id to a program in the background, with everything checked on the way."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from sparkvault_host.launcher import sick_hosts
from sparkvault_host.launcher.bucket import JobBucket
from sparkvault_host.launcher.cluster import s3_settings
from sparkvault_host.launcher.errors import RefusedSpecificationError
from sparkvault_host.launcher.rules import Rules
from sparkvault_host.launcher.specification import FILES_FOLDER, Specification, read_specification

from .errors import YarnHostError
from .job_records import now, with_state
from .master import Master

#: Flags of which spark-submit on YARN takes the launcher's own.
_OURS = ("--queue", "--total-executor-cores")
#: What runs on YARN's side of the cluster: a driver without a terminal.
KINDS = ("python", "jar")
_START_SECONDS = 60


def submit(job_id: str, tenant: str, master: Master, rules: Rules) -> None:
    """Start the job; one that is started already is left as it is.

    The specification must be of the tenant in whose name it is started: by what it says, and by the tag with which it
    was put, for S3 lets nobody put that but the tenant's submitters. Raises RefusedSpecificationError (and records
    it), LauncherError, AwsError, YarnHostError.
    """
    bucket = JobBucket(master.job_bucket)
    given = bucket.submitted(job_id)
    record = given.record
    given.check(job_id, tenant)
    try:
        spec = checked(given.specification, job_id, tenant, master, rules)
    except RefusedSpecificationError as error:
        if record is not None:
            bucket.write_record(job_id, tenant, with_state(record, "failed", finished_at=now(), message=str(error)))
        raise
    folder = master.folder(job_id)
    try:
        # Whoever makes the folder starts the job.
        folder.mkdir(mode=0o700, parents=True)
    except FileExistsError:
        return
    command = spark_command(spec, tenant, folder / "home", s3_settings(master.region))
    launch = {"command": command, "files": [[one.name, one.size, one.sha256] for one in spec.files], "job": spec.asked}
    (folder / "launch.json").write_text(json.dumps(launch), encoding="utf-8")
    background = [word.replace("{job}", job_id) for word in master.background]
    program = [sys.executable, "-s", "-m", "sparkvault_yarn.launcher", "run", job_id, tenant]
    try:
        subprocess.run(
            [*background, *program],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=_START_SECONDS,
            check=True,
        )
    except (OSError, subprocess.SubprocessError) as error:
        (folder / "launch.json").unlink()
        folder.rmdir()
        raise YarnHostError(f"job {job_id} could not be started: {error}") from error


def checked(content: bytes, job_id: str, tenant: str, master: Master, rules: Rules) -> Specification:
    """The job, if it is one that YARN can run. Raises RefusedSpecificationError."""
    spec = read_specification(content, job_id, frozenset(master.tenants) & {tenant}, rules, target="yarn")
    if spec.kind not in KINDS:
        raise RefusedSpecificationError("kind", f"YARN runs applications of the kinds {' and '.join(KINDS)}")
    if spec.supervise:
        raise RefusedSpecificationError("supervise", "YARN starts a driver again by itself")
    return spec


def spark_command(spec: Specification, tenant: str, home: Path, s3: Mapping[str, str]) -> list[str]:
    """spark-submit's words; what is ours comes last, so that it counts. ``s3``: settings by which jobs find it."""
    folder = str(home / "files")
    words = [
        word for pair in sick_hosts.fitting(spec, sick_hosts.SETTINGS).items() for word in ("--conf", "=".join(pair))
    ]
    for flag, value in spec.flags:
        if flag in _OURS:
            continue
        words += [flag, value.replace(FILES_FOLDER, folder)] if value or flag not in ("--verbose", "-v") else [flag]
    forced = {
        **s3,
        "spark.yarn.submit.waitAppCompletion": "true",
        "spark.yarn.tags": f"sparkvault-{spec.id}",
        "spark.driver.port": "7078",
        "spark.blockManager.port": "7079",
        # A node that leaves signals its executors; one that does not listen would end by it.
        "spark.decommission.enabled": "true",
    }
    for name, value in forced.items():
        words += ["--conf", f"{name}={value}"]
    words += ["--master", "yarn", "--deploy-mode", "cluster", "--queue", f"root.{tenant}"]
    if spec.last("--name") is None:
        words += ["--name", str(spec.main)]
    return [*words, f"{folder}/{spec.main}", *spec.arguments]
