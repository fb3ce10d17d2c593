"""What every program on a host stands on: the engine's API, the ``aws`` program, the host's identity."""

import ast
import json
import os
import socketserver
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from spark_constructs import naming, swarm_authority, tenant_roles
from sparkvault_host.aws_cli import AwsError, aws
from sparkvault_host.broker.sessions import JOB_TAG, TENANT_TAG
from sparkvault_host.engine_api import EngineApi, EngineError
from sparkvault_host.identity import HostIdentity, IdentityError, Metadata, host_identity

PACKAGE = Path(__file__).parents[2] / "assets" / "hosts" / "sparkvault_host"


@pytest.mark.parametrize("file", sorted(PACKAGE.rglob("*.py")), ids=lambda file: str(file.relative_to(PACKAGE)))
def test_hosts_have_python_3_9(file: Path) -> None:
    tree = ast.parse(file.read_text(encoding="utf-8"), feature_version=(3, 9))
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    froms = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    roots = {name.split(".")[0] for name in names | froms} - {"sparkvault_host"}
    if file.name != "driver.py":  # It runs inside Spark's image, which has more.
        assert roots <= sys.stdlib_module_names, "hosts have the standard library only"


class _Engine(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/version":
            self._say(200, {"ApiVersion": "1.41"})
        elif self.path.startswith("/v1.41/services"):
            self._say(200, {"asked": self.path})
        elif self.path == "/v1.41/logs":
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"one")
            self.wfile.write(b"two")
        else:
            self._say(404, {"message": "no such thing"})

    do_POST = do_GET

    def _say(self, status: int, body: Any) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def address_string(self) -> str:
        return ""


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[EngineApi]:
    path = str(tmp_path / "docker.sock")
    server = socketserver.ThreadingUnixStreamServer(path, _Engine)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield EngineApi(path)
    server.shutdown()
    server.server_close()


def test_the_engine_is_asked_in_a_version_that_both_know(engine: EngineApi) -> None:
    asked = engine.get("/services", filters={"name": ["a"]}, status=True, nothing=None)["asked"]
    assert asked == "/v1.41/services?filters=%7B%22name%22%3A+%5B%22a%22%5D%7D&status=true"


def test_the_engines_own_words_are_in_the_error(engine: EngineApi) -> None:
    with pytest.raises(EngineError, match="no such thing") as raised:
        engine.get("/nodes")
    assert raised.value.status == 404


def test_a_stream_comes_in_pieces(engine: EngineApi) -> None:
    assert b"".join(engine.stream("/logs", silence_seconds=10)) == b"onetwo"


def test_an_engine_that_is_not_there_has_status_0() -> None:
    with pytest.raises(EngineError) as raised:
        EngineApi("/nonexistent/docker.sock").get("/info")
    assert raised.value.status == 0


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An ``aws`` program of our own: what it should do is in a file beside it."""
    folder = tmp_path / "bin"
    folder.mkdir()
    script = folder / "aws"
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr("sparkvault_host.aws_cli.FIRST_PAUSE_SECONDS", 0.01)
    return script


def says(script: Path, body: str) -> None:
    script.write_text(f'#!/bin/sh\necho "$@" >> {script}.calls\n{body}\n')
    script.chmod(0o755)


def calls(script: Path) -> list[str]:
    return Path(f"{script}.calls").read_text().splitlines()


def test_secrets_go_through_memory_that_can_be_read_twice(program: Path) -> None:
    last = 'for word in "$@"; do last="${word#file://}"; done'
    says(program, f"{last}; cat $last > {program}.input1; cat $last > {program}.input2; echo '{{}}'")
    aws("ssm", "put-parameter", secret_input={"Name": "/a", "Value": "SWMTKN-secret"})
    assert "SWMTKN-secret" not in calls(program)[0]
    for time in (1, 2):
        assert json.loads(Path(f"{program}.input{time}").read_text()) == {"Name": "/a", "Value": "SWMTKN-secret"}


def test_a_refusal_is_not_repeated(program: Path) -> None:
    says(program, "echo 'An error occurred (AccessDeniedException) when calling the X operation: no' >&2; exit 254")
    with pytest.raises(AwsError, match="AccessDeniedException: no"):
        aws("ssm", "get-parameter")
    assert len(calls(program)) == 1


def test_throttling_is_waited_out_and_given_up_after_some_attempts(program: Path) -> None:
    says(program, "echo 'An error occurred (ThrottlingException) when calling the X operation: slow' >&2; exit 254")
    with pytest.raises(AwsError) as raised:
        aws("ssm", "get-parameter", attempts=3)
    assert raised.value.code == "ThrottlingException"
    assert len(calls(program)) == 3


def test_a_call_that_hangs_ends(program: Path) -> None:
    says(program, "exec sleep 60")
    with pytest.raises(AwsError, match="TimedOut"):
        aws("ssm", "get-parameter", timeout_seconds=0.2, attempts=1)


class _Metadata(BaseHTTPRequestHandler):
    values = {
        "/latest/meta-data/instance-id": "i-0a1b",
        "/latest/meta-data/local-ipv4": "10.20.0.5",
        "/latest/meta-data/placement/availability-zone": "eu-central-1a",
        "/latest/meta-data/spot/instance-action": '{"action": "terminate", "time": "2026-11-21T12:00:00Z"}',
    }

    def do_PUT(self) -> None:
        self._say(200, "token")

    def do_GET(self) -> None:
        if self.headers.get("X-aws-ec2-metadata-token") != "token":
            self._say(401, "")
        elif self.path in self.values:
            self._say(200, self.values[self.path])
        else:
            self._say(404, "")

    def _say(self, status: int, text: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def metadata() -> Iterator[Metadata]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Metadata)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield Metadata(f"http://127.0.0.1:{server.server_address[1]}/latest")
    server.shutdown()
    server.server_close()


HOST = {
    "cluster": "analytics",
    "role": "worker",
    "region": "eu-central-1",
    "group": "analytics-workers",
    "drain_hook": "analytics-workers-drain",
    "drain_timeout_seconds": 600,
    "log_group": "/sparkvault/analytics/swarm",
    "parameters": "/sparkvault/analytics",
    "job_bucket": "jobs",
    "enclaves": {"count": 2, "cpus": 2, "memory_mib": 4096},
}


def identity(tmp_path: Path, metadata: Metadata, host: dict[str, Any] = HOST) -> HostIdentity:
    file = tmp_path / "host.json"
    file.write_text(json.dumps(host))
    return host_identity(file, metadata)


def test_a_host_knows_itself(tmp_path: Path, metadata: Metadata) -> None:
    known = identity(tmp_path, metadata)
    assert (known.instance, known.address, known.zone) == ("i-0a1b", "10.20.0.5", "eu-central-1a")
    assert known.enclave_memory_mib == 8192
    assert metadata.lifecycle_state() is None
    assert metadata.spot_notice() == {"action": "terminate", "time": "2026-11-21T12:00:00Z"}


def test_hosts_and_templates_call_things_by_the_same_names(tmp_path: Path, metadata: Metadata) -> None:
    known = identity(tmp_path, metadata)
    assert known.authority_table == naming.table_name("analytics", swarm_authority.TABLE_PART)
    assert known.managers_group == naming.auto_scaling_group_name("analytics", "managers")
    assert known.workers_group == naming.auto_scaling_group_name("analytics", "workers")
    assert known.parameter("swarm", "desired") == naming.parameter_name("analytics", "swarm", "desired")
    assert (TENANT_TAG, JOB_TAG) == (tenant_roles.TENANT_TAG, tenant_roles.JOB_TAG)


def test_a_broken_host_file_is_said_so(tmp_path: Path, metadata: Metadata) -> None:
    with pytest.raises(IdentityError, match="as user data writes it"):
        identity(tmp_path, metadata, {"cluster": "analytics"})
