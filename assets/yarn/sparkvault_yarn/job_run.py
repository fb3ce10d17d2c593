"""One job from its files to its record: Spark's client as the tenant, its output to the log group, its end judged."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sparkvault_host.aws_cli import AwsError, aws
from sparkvault_host.launcher.bucket import JobBucket
from sparkvault_host.launcher.log_stream import MAX_LINE_BYTES, Line, LogStream, stream_name

from .diagnosis import why_refused
from .errors import YarnHostError
from .job_records import first_record, now, with_state
from .master import Master
from .tenant_process import TenantProcess

LOOK_SECONDS = 1.0
#: A ticket is renewed long before it ends; jobs of any length have one.
TICKET_SECONDS = 3600.0
_FETCH_SECONDS = 900
_COMMAND_SECONDS = 120.0
#: YARN collects the logs of an application's containers some seconds after its end.
_COLLECTED_SECONDS = 60.0
_KILL_SECONDS = 60.0
_PIECE = 1 << 20
_APPLICATION = re.compile(r"\bapplication_\d+_\d+\b")
#: The first container of each attempt is the driver's.
_DRIVER = re.compile(r"\bcontainer_(?:e\d+_)?\d+_\d+_\d+_000001\b")
#: What YARN's reports of an application say, apart from nothing and from where it stands in the queue.
_DIAGNOSTICS = re.compile(r"diagnostics: (?!N/A|\[|AM container is launched)(\S[^\n]*)")
#: Which lines of Spark's client people want to see.
_TELLING = re.compile(r"Application report for application_\d+_\d+ \(state: (\w+)\)|^Exception|ERROR|sparkvault: ")


@dataclass
class _Seen:
    application: str | None = None
    state: str = ""
    cancelled: bool = False


def run(job_id: str, tenant: str, master: Master) -> int:
    """Run the job to its end; 0 where it did well. The record says how it ended, whatever happens."""
    folder, bucket = master.folder(job_id), JobBucket(master.job_bucket)
    launch = json.loads((folder / "launch.json").read_text(encoding="utf-8"))
    record = bucket.record(job_id) or first_record(launch["job"])
    record = with_state(record, "running", started_at=now())
    output = LogStream(master.log_group, stream_name(job_id))
    try:
        bucket.write_record(job_id, tenant, record)
        ended = _ran(launch, job_id, tenant, master, output)
    except (YarnHostError, AwsError, OSError) as error:
        ended = {"state": "failed", "exit_code": 1, "message": str(error)[:1000]}
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    with contextlib.suppress(AwsError):
        output.write([Line(time.time_ns(), f"sparkvault: {ended['message']}")] if ended.get("message") else [])
    bucket.write_record(job_id, tenant, {**record, **ended, "finished_at": now()})
    return int(ended["exit_code"] or 0)


def cancel(job_id: str, tenant: str, master: Master) -> bool:
    """Ask for the job's end, which its own process brings about and records; False where nothing runs of it."""
    folder = master.folder(job_id)
    try:
        launch = json.loads((folder / "launch.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    if launch["job"].get("tenant") != tenant:
        raise YarnHostError(f"job {job_id} is not one of tenant {tenant}")
    (folder / "cancel").touch()
    return True


def _ran(launch: dict[str, Any], job_id: str, tenant: str, master: Master, output: LogStream) -> dict[str, Any]:
    folder, uid = master.folder(job_id), master.tenants[tenant]
    home = folder / "home"
    files = home / "files"
    files.mkdir(parents=True)
    for name, size, sha256 in launch["files"]:
        fetch(f"s3://{master.job_bucket}/jobs/{job_id}/files/{name}", files / name, size, sha256)
    for path in (home, files, *files.iterdir()):
        os.chown(path, uid, uid)
    # The tenant goes through to its own home; the rest stays root's.
    folder.chmod(0o711)
    person = TenantProcess(master, tenant, home)
    person.get_ticket()
    said = folder / "client.log"
    command = [str(master.spark / "bin" / "spark-submit"), *launch["command"]]
    with said.open("wb") as sink:
        process = person.start(command, sink)
    try:
        seen = _watched(process, said, folder / "cancel", person, master, output)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    text = said.read_text(encoding="utf-8", errors="replace")
    if seen.application:
        output.write(_lines(driver_output(seen.application, person, master)))
    if seen.cancelled:
        return {"state": "cancelled", "exit_code": None, "message": "cancelled"}
    if process.returncode == 0:
        return {"state": "succeeded", "exit_code": 0, "message": None}
    return {"state": "failed", "exit_code": process.returncode, "message": why_failed(text)}


def _watched(
    process: subprocess.Popen[bytes],
    said: Path,
    wish: Path,
    person: TenantProcess,
    master: Master,
    output: LogStream,
) -> _Seen:
    """Until the client ends: its telling lines go to the job's log, a wish for the end to YARN."""
    seen, at, next_ticket, deadline = _Seen(), 0, time.monotonic() + TICKET_SECONDS, None
    while True:
        ended = process.poll() is not None
        with said.open("rb") as log:
            log.seek(at)
            fresh = log.read()
        # Half a line waits for its other half.
        whole = fresh if ended else fresh[: fresh.rfind(b"\n") + 1]
        at += len(whole)
        output.write(_lines(_telling(whole.decode("utf-8", "replace").splitlines(), seen)))
        if ended:
            return seen
        if wish.exists() and not seen.cancelled:
            seen.cancelled, deadline = True, time.monotonic() + _KILL_SECONDS
            if seen.application:
                person.run([str(master.yarn), "application", "-kill", seen.application], _COMMAND_SECONDS)
            else:
                os.killpg(process.pid, signal.SIGTERM)
        if deadline is not None and time.monotonic() > deadline:
            os.killpg(process.pid, signal.SIGKILL)
        if time.monotonic() > next_ticket:
            person.get_ticket()
            next_ticket += TICKET_SECONDS
        time.sleep(LOOK_SECONDS)


def _telling(lines: Sequence[str], seen: _Seen) -> list[str]:
    found = []
    for line in lines:
        application = _APPLICATION.search(line)
        if application and seen.application is None:
            seen.application = application.group(0)
            found.append(f"YARN calls this job {seen.application}")
        match = _TELLING.search(line)
        if match is None:
            continue
        if match.group(1) is None:
            found.append(line)
        elif match.group(1) != seen.state:
            seen.state = match.group(1)
            found.append(f"{seen.application} is {seen.state}")
    return found


def driver_output(application: str, person: TenantProcess, master: Master) -> list[str]:
    """What the driver printed: of the application's first container, its standard output."""
    if master.container_logs is not None:
        attempts = sorted((master.container_logs / application).glob("container_*_000001/stdout"))
        return attempts[-1].read_text(encoding="utf-8", errors="replace").splitlines() if attempts else []
    logs = [str(master.yarn), "logs", "-applicationId", application]
    deadline = time.monotonic() + _COLLECTED_SECONDS
    while True:
        try:
            # By the containers' names: what knows of masters by itself asks ResourceManager's pages, which are closed.
            listed = person.run([*logs, "-show_application_log_info"], _COMMAND_SECONDS)
            drivers = sorted(set(_DRIVER.findall(listed)))
            if drivers:
                words = ["-containerId", drivers[-1], "-log_files", "stdout"]
                return contents(person.run([*logs, *words], _COMMAND_SECONDS))
            error = "none of a driver are there yet"
        except YarnHostError as failed:
            error = str(failed)
        if time.monotonic() > deadline:
            return [f"sparkvault: YARN has no logs of {application}: {error}"]
        time.sleep(5)


def contents(dump: str) -> list[str]:
    """The lines of the one file that `yarn logs` shows, without what it says about it."""
    _, _, after = dump.partition("\nLogContents:\n")
    before, _, _ = after.rpartition("\nEnd of LogType:")
    return [line for line in before.splitlines() if line]


def why_failed(text: str) -> str:
    """One sentence for a person, from all that Spark's client said."""
    refused = why_refused(text)
    if refused:
        return refused
    # The last report is the one of the end.
    found = _DIAGNOSTICS.findall(text) or re.findall(r"^Exception[^\n]*", text, re.M)[:1]
    said = found[-1].strip() if found else ""
    return f"its driver failed: {said}"[:1000] if said else "its driver failed; its output above says why"


def fetch(url: str, place: Path, size: int, sha256: str) -> None:
    """One file of the job, or nothing. Raises YarnHostError where it is not the one that was submitted."""
    aws("s3", "cp", "--only-show-errors", "--no-progress", url, str(place), timeout_seconds=_FETCH_SECONDS)
    digest = hashlib.sha256()
    with place.open("rb") as file:
        for piece in iter(lambda: file.read(_PIECE), b""):
            digest.update(piece)
    if place.stat().st_size != size or digest.hexdigest() != sha256:
        raise YarnHostError(f"the job's file {place.name} is not the one that was submitted; submit again")


def _lines(texts: Sequence[str]) -> list[Line]:
    at = time.time_ns()
    return [Line(at + number, text[:MAX_LINE_BYTES]) for number, text in enumerate(texts)]
