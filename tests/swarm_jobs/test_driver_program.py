"""The first program of a job's container, run for real: S3 and the host's broker are stand-ins, Spark is a script."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from emulation.aws import EmbeddedAws
from tests.support.local_cluster import wait_until

PROGRAM = Path(__file__).parents[2] / "assets/hosts/sparkvault_host/launcher/driver.py"
BUCKET, PLACE = "jobs-bucket", "jobs/20261121-130455-9f3a01bc"
#: The program as it is, but for the places that only Spark's image has.
RUN = """
import importlib.util, sys, pathlib
spec = importlib.util.spec_from_file_location("driver", sys.argv[1])
driver = importlib.util.module_from_spec(spec)
spec.loader.exec_module(driver)
here = pathlib.Path(sys.argv[2])
driver.ENTRYPOINT, driver.FILES, driver.EVENT_LOG_SECONDS = str(here / "entrypoint"), here / "files", 0.3
driver.CREDENTIALS_ATTEMPTS = 1
driver.configured = lambda: here
sys.exit(driver.main())
"""


class Broker(BaseHTTPRequestHandler):
    """Gives credentials to whoever has the token, as often as asked."""

    def do_GET(self) -> None:
        known = self.headers["Authorization"] == "the-token"
        body = json.dumps({"AccessKeyId": "A", "SecretAccessKey": "s", "Token": "t"}).encode() if known else b"{}"
        self.send_response(200 if known else 401)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture(scope="module")
def aws() -> Iterator[EmbeddedAws]:
    with EmbeddedAws() as embedded:
        embedded.client("s3").create_bucket(
            Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": embedded.region}
        )
        yield embedded


@dataclass
class Container:
    """What a job's container has, in a folder."""

    folder: Path
    aws: EmbeddedAws
    broker: str
    place: str = f"{BUCKET}/{PLACE}"

    @property
    def log(self) -> Path:
        return self.folder / "eventlog"

    def start(self, script: str, **launch: Any) -> subprocess.Popen[str]:
        """Begin with a driver that does this; it has the event log's folder as its working directory."""
        entrypoint = self.folder / "entrypoint"
        entrypoint.write_text(f"#!/bin/bash\ncd {self.log}\nmkdir -p eventlog_v2_app\n{script}\n")
        entrypoint.chmod(0o755)
        self.log.mkdir()
        given = {
            "kind": "python",
            "command": ["submit"],
            "region": self.aws.region,
            "endpoint": self.aws.endpoint,
            "place": f"{BUCKET}/{PLACE}/files",
            "event_log": {"folder": str(self.log), "place": f"{self.place}/eventlog"},
            "files": [],
            **launch,
        }
        (self.folder / "launch.json").write_text(json.dumps(given))
        (self.folder / "token").write_text("the-token")
        environment = os.environ | {
            "SPARKVAULT_LAUNCH": str(self.folder / "launch.json"),
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": self.broker,
            "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": str(self.folder / "token"),
        }
        return subprocess.Popen(
            [sys.executable, "-c", RUN, str(PROGRAM), str(self.folder)],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def kept(self) -> dict[str, str]:
        """What the bucket has of the event log, by name."""
        s3, prefix = self.aws.client("s3"), f"{PLACE}/eventlog/"
        found = s3.list_objects_v2(Bucket=BUCKET, Prefix=prefix).get("Contents", [])
        return {
            one["Key"].removeprefix(prefix): s3.get_object(Bucket=BUCKET, Key=one["Key"])["Body"].read().decode()
            for one in found
        }


@pytest.fixture
def container(tmp_path: Path, aws: EmbeddedAws) -> Iterator[Container]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Broker)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield Container(tmp_path, aws, f"http://127.0.0.1:{server.server_port}/credentials")
    server.shutdown()
    server.server_close()
    for one in aws.client("s3").list_objects_v2(Bucket=BUCKET).get("Contents", []):
        aws.client("s3").delete_object(Bucket=BUCKET, Key=one["Key"])


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    said, _ = process.communicate(timeout=60)
    return process.returncode, said


def test_a_drivers_exit_code_is_the_containers_and_its_log_is_kept(container: Container) -> None:
    script = "touch eventlog_v2_app/appstatus_app; echo one > eventlog_v2_app/events_1_app; echo counted; exit 3"
    assert ended(container.start(script)) == (3, "counted\n")
    assert container.kept() == {"eventlog_v2_app/appstatus_app": "", "eventlog_v2_app/events_1_app": "one\n"}


def test_what_is_complete_is_handed_over_while_the_driver_runs(container: Container) -> None:
    script = (
        "for n in 9 10 11; do echo $n > eventlog_v2_app/events_${n}_app; done\n"
        "touch eventlog_v2_app/appstatus_app.inprogress\n"
        "while [ ! -e ../go-on ]; do sleep 0.1; done"
    )
    process = container.start(script)
    wait_until("two files", lambda: len(container.kept()) == 2)
    assert container.kept() == {f"eventlog_v2_app/events_{n}_app": f"{n}\n" for n in (9, 10)}
    wait_until("room on the disk", lambda: len(list((container.log / "eventlog_v2_app").glob("events_*"))) == 1)
    (container.folder / "go-on").touch()
    assert ended(process) == (0, "")
    assert len(container.kept()) == 4


def test_a_driver_that_is_told_to_end_keeps_its_log(container: Container) -> None:
    script = (
        "trap 'echo last > eventlog_v2_app/events_1_app; exit 143' TERM\ntouch ../ready; while true; do sleep 0.1; done"
    )
    process = container.start(script)
    wait_until("the driver", (container.folder / "ready").exists)
    os.killpg(process.pid, signal.SIGTERM)
    assert ended(process)[0] == 143
    assert container.kept() == {"eventlog_v2_app/events_1_app": "last\n"}


def test_the_log_of_a_driver_that_was_killed_is_kept(container: Container) -> None:
    assert ended(container.start("echo one > eventlog_v2_app/events_1_app; kill -9 $$"))[0] == 137
    assert container.kept() == {"eventlog_v2_app/events_1_app": "one\n"}


def test_a_log_that_cannot_be_kept_is_said_and_the_job_is_what_it_is(container: Container) -> None:
    container.place = "no-such-bucket/x"
    code, said = ended(container.start("echo one > eventlog_v2_app/events_1_app"))
    assert code == 0
    assert "the event log cannot be written to the job bucket" in said
    assert "the history server will miss events of this job" in said


@pytest.mark.parametrize(("sent", "code"), [(b"print(1)", 0), (b"print(2)", 78)])
def test_a_file_that_is_not_the_submitted_one_starts_no_driver(container: Container, sent: bytes, code: int) -> None:
    container.aws.client("s3").put_object(Bucket=BUCKET, Key=f"{PLACE}/files/app.py", Body=sent)
    file = {"name": "app.py", "size": 8, "sha256": hashlib.sha256(b"print(1)").hexdigest()}
    found, said = ended(container.start("echo started", files=[file]))
    assert found == code
    assert ("started" in said) == (code == 0)
    assert ("app.py is not the one that was submitted" in said) == (code != 0)


def test_without_credentials_no_driver_starts(container: Container) -> None:
    container.broker = "http://127.0.0.1:9/"
    code, said = ended(container.start("echo started"))
    assert (code, "started" in said) == (78, False)
    assert "the credentials broker gives no credentials" in said
