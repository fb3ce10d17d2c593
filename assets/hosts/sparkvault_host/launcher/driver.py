"""First program of a job's container: fetches the job's files, checks them, runs Spark's driver, keeps its event log.

It is delivered as a Swarm config and runs with the Python of the Spark image. Credentials are the tenant's, from the
host's credentials broker; the files are what was submitted, or nothing starts.

The driver writes its event log to the container's disk, and this program hands it to the bucket: a driver that loads
Hadoop's S3 for that alone starts seconds later.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import traceback
import urllib.request
from pathlib import Path
from typing import Any, Callable

ENTRYPOINT = "/opt/entrypoint.sh"
FILES = Path("/opt/spark/work-dir/files")
CREDENTIALS_ATTEMPTS = 5
_PIECE = 1 << 20

#: How often a running job's event log is looked at for files that are complete, and how long handing over may take.
EVENT_LOG_SECONDS, HANDING_SECONDS = 30.0, 120

#: Exit code of a driver that cannot start (sysexits.h).
CANNOT_START = 78

#: A file of a rolling event log, as Spark names it (EventLogFileWriters.scala).
_EVENTS, _STATUS = re.compile(r"events_([0-9]+)_.+"), "appstatus_"

#: What ends a container's programs reaches all of them: the driver ends by it, and this program when the driver has.
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)


class DriverError(Exception):
    """The driver cannot start; the message is what the job's output says."""


def main() -> int:
    """Prepare, run the driver, and hand over its event log; the driver's exit code as shells give it."""
    launch = json.loads(Path(os.environ["SPARKVAULT_LAUNCH"]).read_text(encoding="utf-8"))
    code = apart(lambda: prepare(launch))
    if code != 0:
        return code
    command = launch["command"]
    if launch["kind"] == "scala":
        command = [*command, *wrapped(FILES / launch["main"], launch["arguments"])]
    environment = {**os.environ, "SPARK_CONF_DIR": str(configured())}
    # Modules that were sent along are found, as beside the application on its author's machine.
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, (os.environ.get("PYTHONPATH"), str(FILES))))
    if launch["kind"] != "shell":
        # A script that reads its standard input finds its end.
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    Path(launch["event_log"]["folder"]).mkdir(mode=0o700, parents=True, exist_ok=True)
    code = drive([ENTRYPOINT, *command], environment, lambda: hand_over(launch, ended=False))
    if apart(lambda: hand_over(launch, ended=True), HANDING_SECONDS) != 0:
        print("sparkvault: the history server will miss events of this job", file=sys.stderr, flush=True)
    return code


def drive(command: list[str], environment: dict[str, str], meanwhile: Callable[[], None]) -> int:
    """Run the driver to its end, whatever signals come; its exit code as shells give it.

    ``meanwhile`` is done every now and then, and may fail: what it says is for nobody.
    """
    for number in _SIGNALS:
        # A function, as the driver would inherit SIG_IGN. tini sends signals to the whole group.
        signal.signal(number, lambda *_: None)
    driver = subprocess.Popen(command, env=environment)
    while True:
        try:
            return shell_code(driver.wait(EVENT_LOG_SECONDS))
        except subprocess.TimeoutExpired:
            apart(meanwhile, HANDING_SECONDS, quiet=True)


def shell_code(code: int) -> int:
    """An exit code as shells give it: 128 and the signal's number where one ended the program."""
    return 128 - code if code < 0 else code


def apart(work: Callable[[], None], seconds: int = 0, *, quiet: bool = False) -> int:
    """Do it in a process of its own, whose memory is free again afterwards; its exit code as shells give it.

    What went wrong is said in the job's output, unless ``quiet``. ``seconds``: how long it may take; 0: as it needs.
    """
    child = os.fork()
    if child == 0:
        code = 1
        try:
            signal.alarm(seconds)
            work()
            code = 0
        except DriverError as error:
            code = CANNOT_START
            if not quiet:
                print(f"sparkvault: {error}", file=sys.stderr, flush=True)
        except BaseException:  # noqa: BLE001 - whatever it is, nothing goes on in two processes
            if not quiet:
                traceback.print_exc()
        finally:
            os._exit(code)
    return shell_code(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


def bucket(launch: dict[str, Any]) -> Any:
    """The job bucket, with credentials that are new. Raises DriverError."""
    from pyarrow import fs

    endpoint = launch.get("endpoint") or ""
    where: dict[str, Any] = {"region": launch["region"], "connect_timeout": 5, "request_timeout": 30, **credentials()}
    if endpoint:
        scheme, _, address = endpoint.partition("://")
        where |= {"scheme": scheme, "endpoint_override": address.rstrip("/")}
    return fs.S3FileSystem(**where)


def hand_over(launch: dict[str, Any], *, ended: bool) -> None:
    """Files of the event log that nothing is added to any more go to the bucket: all, once the driver has ended.

    Raises DriverError.
    """
    found = complete(Path(launch["event_log"]["folder"]), ended=ended)
    if not found:
        return
    store = bucket(launch)
    for file in found:
        try:
            with (
                file.open("rb") as source,
                store.open_output_stream(f"{launch['event_log']['place']}/{file.parent.name}/{file.name}") as copy,
            ):
                shutil.copyfileobj(source, copy, _PIECE)
        except OSError as error:
            raise DriverError(f"the event log cannot be written to the job bucket: {error}") from error
        if _EVENTS.fullmatch(file.name):
            file.unlink()


def complete(folder: Path, *, ended: bool) -> list[Path]:
    """Files of event logs that are complete: Spark adds to the one with the highest number only."""
    found = []
    for log in sorted(folder.glob("eventlog_v2_*/")):
        numbered = sorted((int(match[1]), file) for file in log.iterdir() if (match := _EVENTS.fullmatch(file.name)))
        found += [file for _, file in (numbered if ended else numbered[:-1])]
        if ended:
            found += sorted(log.glob(f"{_STATUS}*"))
    return found


def prepare(launch: dict[str, Any]) -> None:
    """Every file of the job, as the specification names it. Raises DriverError."""
    store = bucket(launch)
    FILES.mkdir(parents=True, exist_ok=True)
    for file in launch["files"]:
        try:
            # As it was sent: Arrow would unpack what is named .gz or .zst.
            with store.open_input_stream(f"{launch['place']}/{file['name']}", compression=None) as source:
                fetch(source, file)
        except OSError as error:
            raise DriverError(f"the job's file {file['name']} cannot be fetched: {error}") from error


def credentials() -> dict[str, str]:
    """The tenant's, from the broker; Arrow's own SDK does not read the token's file. Raises DriverError."""
    address = os.environ["AWS_CONTAINER_CREDENTIALS_FULL_URI"]
    token = Path(os.environ["AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"]).read_text(encoding="utf-8").strip()
    request = urllib.request.Request(address, headers={"Authorization": token})  # noqa: S310 - the broker of this host
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    for attempt in range(1, CREDENTIALS_ATTEMPTS + 1):
        try:
            with opener.open(request, timeout=10) as answer:
                given = json.load(answer)
            break
        except (OSError, ValueError) as error:
            if attempt == CREDENTIALS_ATTEMPTS:
                raise DriverError(f"the credentials broker gives no credentials: {error}") from error
            time.sleep(attempt)
    return {
        "access_key": given["AccessKeyId"],
        "secret_key": given["SecretAccessKey"],
        "session_token": given["Token"],
    }


def fetch(source: Any, file: dict[str, Any]) -> None:
    """Copy one file. Raises DriverError where its size or digest is not that of the specification."""
    digest, size = hashlib.sha256(), 0
    with (FILES / file["name"]).open("wb") as copy:
        while piece := source.read(_PIECE):
            digest.update(piece)
            size += len(piece)
            if size > file["size"]:
                break
            copy.write(piece)
    if size != file["size"] or digest.hexdigest() != file["sha256"]:
        raise DriverError(f"the job's file {file['name']} is not the one that was submitted; submit again")


def configured() -> Path:
    """Spark's configuration folder with what executors need to get the tenant's credentials from their host's broker.

    The token goes to them as the RPC secret does: in their own environment. Spark redacts the setting by its name.
    """
    folder = Path("/tmp/sparkvault-conf")  # noqa: S108 - a volume of this container's own
    shutil.copytree("/opt/spark/conf", folder)
    folder.chmod(0o700)
    token_file = Path(os.environ.get("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", ""))
    address = os.environ.get("AWS_CONTAINER_CREDENTIALS_FULL_URI", "")
    if address and token_file.is_file():
        defaults = folder / "spark-defaults.conf"
        token = token_file.read_text(encoding="utf-8").strip()
        with os.fdopen(os.open(defaults, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "a") as settings:
            settings.write(f"\nspark.executorEnv.AWS_CONTAINER_CREDENTIALS_FULL_URI {address}\n")
            settings.write(f"spark.executorEnv.AWS_CONTAINER_AUTHORIZATION_TOKEN {token}\n")
    return folder


def wrapped(script: Path, arguments: list[str]) -> list[str]:
    """Arguments of spark-shell that run a script to its end: spark-shell itself goes on after an error.

    One more line, reached only if all before it went well, sets a property; a last file turns it into the exit code.
    """
    folder = FILES.parent
    literals = ", ".join(json.dumps(argument) for argument in arguments)
    first, last = folder / "sparkvault-first.scala", folder / "sparkvault-last.scala"
    first.write_text(f"val args: Array[String] = Array({literals})\n", encoding="utf-8")
    with script.open("a", encoding="utf-8") as text:
        text.write('\n;System.setProperty("sparkvault.script.done", "true"): Unit\n')
    last.write_text('System.exit(if (System.getProperty("sparkvault.script.done") == "true") 0 else 1)\n')
    return [word for file in (first, script, last) for word in ("-i", str(file))]


if __name__ == "__main__":
    sys.exit(main())
