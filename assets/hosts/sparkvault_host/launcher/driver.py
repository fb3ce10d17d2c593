"""First program of a job's container: fetches the job's files, checks them, and becomes Spark's driver.

It is delivered as a Swarm config and runs with the Python of the Spark image. Credentials are the tenant's, from the
host's credentials broker; the files are what was submitted, or nothing starts.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

ENTRYPOINT = "/opt/entrypoint.sh"
FILES = Path("/opt/spark/work-dir/files")
CREDENTIALS_ATTEMPTS = 5
_PIECE = 1 << 20


class DriverError(Exception):
    """The driver cannot start; the message is what the job's output says."""


def main() -> None:
    """Prepare, and become the driver."""
    launch = json.loads(Path(os.environ["SPARKVAULT_LAUNCH"]).read_text(encoding="utf-8"))
    try:
        prepare(launch)
        command = launch["command"]
        if launch["kind"] == "scala":
            command = [*command, *wrapped(FILES / launch["main"], launch["arguments"])]
    except DriverError as error:
        print(f"sparkvault: {error}", file=sys.stderr, flush=True)
        sys.exit(78)
    environment = {**os.environ, "SPARK_CONF_DIR": str(configured())}
    # Modules that were sent along are found, as beside the application on its author's machine.
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, (os.environ.get("PYTHONPATH"), str(FILES))))
    if launch["kind"] != "shell":
        # A script that reads its standard input finds its end.
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.execve(ENTRYPOINT, [ENTRYPOINT, *command], environment)  # noqa: S606 - a list, never a shell


def prepare(launch: dict[str, Any]) -> None:
    """Every file of the job, as the specification names it; and the folder of event logs. Raises DriverError."""
    from pyarrow import fs

    endpoint = launch.get("endpoint") or ""
    where: dict[str, Any] = {"region": launch["region"], "connect_timeout": 5, "request_timeout": 30, **credentials()}
    if endpoint:
        scheme, _, address = endpoint.partition("://")
        where |= {"scheme": scheme, "endpoint_override": address.rstrip("/")}
    store = fs.S3FileSystem(**where)
    try:
        # S3 has no folders: Spark finds this one once something is in it, and does not start before.
        with store.open_output_stream(f"{launch['event_log']}/.sparkvault") as marker:
            marker.write(b"event logs")
    except OSError as error:
        raise DriverError(f"the place of event logs cannot be written: {error}") from error
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
    main()
