"""What a host does to keep its enclave running: one at a time, never in debug mode, ended with its unit."""

from __future__ import annotations

import configparser
import hashlib
import json
import os
import re
import runpy
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from spark_enclave.server.parent_host import CREDENTIALS_PORT, read_credentials
from sparkvault import enclave_reports

HOSTS = Path(__file__).parents[2] / "assets" / "hosts"
UNITS = HOSTS / "systemd" / "enclaves"
SECONDS = 20

#: Holds enclaves in a file, as the hypervisor does, and refuses what it refuses.
NITRO_CLI = """#!/usr/bin/env python3
import fcntl, json, os, sys
place = os.path.join(os.environ["NITRO_STATE"], "hypervisor.json")
# Until this process ends: two of them at a time do not lose what the other wrote.
turn = open(place + ".lock", "w")
fcntl.flock(turn, fcntl.LOCK_EX)
state = json.load(open(place))
verb, options = sys.argv[1], sys.argv[2:]
state["calls"].append(sys.argv[1:])
answer, code = None, 0
if verb == "run-enclave":
    given = dict(zip(options[::2], options[1::2]))
    name = given["--enclave-name"]
    if any(name == one["EnclaveName"] or given["--enclave-cid"] == one["EnclaveCID"] for one in state["running"]):
        print("[ E36 ] Enclave boot failure", file=sys.stderr)
        code = 36
    else:
        answer = dict(EnclaveID=f"i-1-enc{len(state['calls'])}", EnclaveName=name, EnclaveCID=given["--enclave-cid"])
        answer |= dict(State="RUNNING", Flags=state["flags"], Measurements=state["measurements"])
        state["running"].append(answer)
elif verb == "describe-enclaves":
    answer = state["running"]
elif verb == "terminate-enclave":
    state["running"] = [one for one in state["running"] if one["EnclaveID"] != options[1]]
    answer = dict(Terminated=True)
# Whole or not at all, as it may be killed at any moment.
with open(place + f".{os.getpid()}", "w") as file:
    json.dump(state, file)
os.replace(file.name, place)
print(json.dumps(answer))
sys.exit(code)
"""


MEASURED = {"HashAlgorithm": "Sha384", "PCR0": "ab" * 48, "PCR1": "cd" * 48, "PCR2": "ef" * 48}


@pytest.fixture
def hypervisor(tmp_path: Path) -> dict[str, Any]:
    program = tmp_path / "bin" / "nitro-cli"
    program.parent.mkdir()
    program.write_text(NITRO_CLI)
    program.chmod(0o755)
    (tmp_path / "host.json").write_text(json.dumps({"enclaves": {"count": 1, "memory_mib": 4096, "cpus": 2}}))
    state: dict[str, Any] = {"running": [], "flags": "NONE", "calls": [], "measurements": MEASURED}
    return state


def run_enclave(
    folder: Path, state: dict[str, Any], *, pinned: dict[str, str] | None = None
) -> tuple[subprocess.Popen[str], socket.socket]:
    """The unit's program, with a socket where it says that it is ready."""
    (folder / "hypervisor.json").write_text(json.dumps(state))
    (folder / "enclave-image.json").write_text(json.dumps({"pcrs": pinned or {}}))
    program = (HOSTS / "bin" / "run-enclave").read_text().replace("/etc/sparkvault/", f"{folder}/")
    for name, quick in (("WATCH_SECONDS", 0.1), ("FIRST_PAUSE_SECONDS", 0.2)):
        program = re.sub(rf"^{name} = \d+$", f"{name} = {quick}", program, flags=re.MULTILINE)
    channel = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    channel.bind(str(folder / "notify"))
    channel.settimeout(SECONDS)
    environment = {"PATH": f"{folder / 'bin'}:{os.environ['PATH']}", "NITRO_STATE": str(folder)}
    environment |= {"NOTIFY_SOCKET": str(folder / "notify"), "RUNTIME_DIRECTORY": str(folder)}
    (folder / "run-enclave").write_text(program)
    process = subprocess.Popen(
        [sys.executable, str(folder / "run-enclave")], env=environment, stderr=subprocess.PIPE, text=True
    )
    return process, channel


def state_of(folder: Path) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((folder / "hypervisor.json").read_text())
    return read


def test_the_enclave_runs_without_debug_mode_and_ends_with_its_unit(tmp_path: Path, hypervisor: dict[str, Any]) -> None:
    process, channel = run_enclave(tmp_path, hypervisor)
    assert channel.recv(200).startswith(b"READY=1")
    (started,) = [call for call in state_of(tmp_path)["calls"] if call[0] == "run-enclave"]
    assert "--debug-mode" not in started
    assert started[started.index("--enclave-cid") + 1] == "16"
    assert started[started.index("--memory") + 1] == "4096"
    process.send_signal(signal.SIGTERM)
    assert process.wait(SECONDS) == 0
    assert state_of(tmp_path)["running"] == []


def test_what_a_killed_process_left_is_ended_before_another_is_started(
    tmp_path: Path, hypervisor: dict[str, Any]
) -> None:
    left = {
        "EnclaveID": "i-1-enc0",
        "EnclaveName": "sparkvault",
        "State": "RUNNING",
        "Flags": "NONE",
        "EnclaveCID": "16",
    }
    process, channel = run_enclave(tmp_path, hypervisor | {"running": [left]})
    assert channel.recv(200).startswith(b"READY=1")
    verbs = [call[0] for call in state_of(tmp_path)["calls"]]
    assert verbs.index("terminate-enclave") < verbs.index("run-enclave")
    process.terminate()
    process.wait(SECONDS)


def test_an_enclave_in_debug_mode_is_never_ready_and_is_ended(tmp_path: Path, hypervisor: dict[str, Any]) -> None:
    process, _ = run_enclave(tmp_path, hypervisor | {"flags": "DEBUG_MODE"})
    _, words = process.communicate(timeout=SECONDS)
    assert process.returncode == 1
    assert words.strip() == "the enclave runs in debug mode; it is ended"
    assert state_of(tmp_path)["running"] == []


def test_another_image_than_the_deployment_pinned_is_never_ready_and_is_ended(
    tmp_path: Path, hypervisor: dict[str, Any]
) -> None:
    process, _ = run_enclave(tmp_path, hypervisor, pinned={"PCR0": "ab" * 48, "PCR2": "00" * 47 + "01"})
    _, words = process.communicate(timeout=SECONDS)
    assert process.returncode == 1
    assert "the hypervisor measured another PCR2 than the deployment pinned" in words
    assert state_of(tmp_path)["running"] == []


def test_several_enclaves_have_addresses_of_their_own_and_one_that_ends_comes_back_alone(
    tmp_path: Path, hypervisor: dict[str, Any]
) -> None:
    (tmp_path / "host.json").write_text(json.dumps({"enclaves": {"count": 2, "memory_mib": 4096, "cpus": 2}}))
    process, channel = run_enclave(tmp_path, hypervisor, pinned={"PCR0": "AB" * 48})
    assert channel.recv(200) == b"READY=1\nSTATUS=2 of 2 enclaves run"
    first, second = state_of(tmp_path)["running"]
    assert [(one["EnclaveName"], one["EnclaveCID"]) for one in (first, second)] == [
        ("sparkvault", "16"),
        ("sparkvault-1", "17"),
    ]
    subprocess.run(
        [str(tmp_path / "bin" / "nitro-cli"), "terminate-enclave", "--enclave-id", second["EnclaveID"]],
        env={"NITRO_STATE": str(tmp_path)},
        check=True,
        timeout=SECONDS,
        stdout=subprocess.DEVNULL,
    )
    said = channel.recv(200)
    while said != b"STATUS=1 of 2 enclaves run":
        said = channel.recv(200)
    told = runpy.run_path(str(HOSTS / "bin" / "report-enclaves"))["state"](tmp_path / "state.json")
    assert told == {"wanted": 2, "running": 1, "last": "is not running any more (it is gone)"}
    while said != b"STATUS=2 of 2 enclaves run":
        said = channel.recv(200)
    process.terminate()
    _, words = process.communicate(timeout=SECONDS)
    assert "enclave sparkvault-1: is not running any more (it is gone); started again in 0.2 s" in words
    assert "enclave sparkvault:" not in words


def fetch_image(folder: Path, *, in_bucket: bytes, pinned: bytes) -> subprocess.CompletedProcess[str]:
    """The unit's program on a host with an `aws` command that copies a file."""
    (folder / "bin").mkdir(exist_ok=True)
    (folder / "bucket").write_bytes(in_bucket)
    aws = folder / "bin" / "aws"
    aws.write_text(f'#!/bin/sh\ncp "{folder}/bucket" "$5" && echo "$4" >> "{folder}/asked"\n')
    aws.chmod(0o755)
    pin = {"url": "s3://assets/image.eif", "sha384": hashlib.sha384(pinned).hexdigest(), "pcrs": {}}
    (folder / "enclave-image.json").write_text(json.dumps(pin))
    program = (HOSTS / "bin" / "fetch-enclave-image").read_text().replace("/etc/sparkvault/", f"{folder}/")
    (folder / "fetch").write_text(program.replace("/opt/sparkvault/enclave/", f"{folder}/enclave/"))
    environment = {"PATH": f"{folder / 'bin'}:{os.environ['PATH']}"}
    return subprocess.run(
        [sys.executable, str(folder / "fetch")], env=environment, capture_output=True, text=True, timeout=SECONDS
    )


def test_the_pinned_image_is_fetched_once_and_another_one_never_gets_to_its_place(tmp_path: Path) -> None:
    image = tmp_path / "enclave" / "image.eif"
    assert fetch_image(tmp_path, in_bucket=b"the image", pinned=b"the image").returncode == 0
    assert image.read_bytes() == b"the image"
    assert fetch_image(tmp_path, in_bucket=b"the image", pinned=b"the image").returncode == 0
    assert (tmp_path / "asked").read_text() == "s3://assets/image.eif\n"

    refused = fetch_image(tmp_path, in_bucket=b"another", pinned=b"the next image")
    assert refused.returncode == 1
    assert "is pinned" in refused.stderr
    assert "Traceback" not in refused.stderr
    # Nor does the old one stay: the deployment does not want it any more.
    assert list(image.parent.iterdir()) == []


def test_units_start_in_order_and_the_relay_ends_no_tls() -> None:
    units = {}
    for path in UNITS.glob("*.service"):
        units[path.stem] = configparser.ConfigParser(strict=False, interpolation=None)
        units[path.stem].optionxform = str  # type: ignore[assignment,method-assign]
        units[path.stem].read(path)
    enclave, relay = units["sparkvault-enclave"], units["sparkvault-enclave-relay"]
    assert "nitro-enclaves-allocator.service" in enclave["Unit"]["Requires"]
    assert "nitro-enclaves-allocator.service" in enclave["Unit"]["After"]
    assert enclave["Service"]["Type"] == "notify"
    assert relay["Unit"]["BindsTo"] == "sparkvault-enclave.service"
    program = (HOSTS / "bin" / Path(relay["Service"]["ExecStart"]).name).read_text()
    assert "bind=127.0.0.1" in program
    assert "OPENSSL" not in program.upper()
    image = units.pop("sparkvault-enclave-image")
    assert image["Service"]["Type"] == "oneshot"
    for name in ("sparkvault-enclave", "sparkvault-enclave-credentials", "sparkvault-kms-proxy"):
        assert "sparkvault-enclave-image.service" in units[name]["Unit"]["Requires"]
        assert "sparkvault-enclave-image.service" in units[name]["Unit"]["After"]
    for unit in units.values():
        assert unit["Service"]["Restart"] == "always"
        assert unit["Service"]["NoNewPrivileges"] == "yes"


def test_credentials_go_to_the_enclave_and_to_no_other_address() -> None:
    """The unit's own program; the listener and the metadata service are stand-ins."""
    program: dict[str, Any] = runpy.run_path(str(HOSTS / "bin" / "enclave-credentials"))
    asked: list[str] = []

    class MetadataService:
        def get(self, path: str) -> str:
            asked.append(path)
            kept = {"AccessKeyId": "AKIA", "SecretAccessKey": "s", "Token": "t", "Expiration": "later"}
            return "the-role\n" if path.endswith("/") else json.dumps(kept)

    class Listener:
        def __init__(self) -> None:
            self.waiting: list[tuple[socket.socket, tuple[int, int]]] = []

        def accept(self) -> tuple[socket.socket, tuple[int, int]]:
            if not self.waiting:
                raise OSError("closed")
            return self.waiting.pop(0)

    listener = Listener()
    enclave, enclaves_end = socket.socketpair()
    other, others_end = socket.socketpair()
    listener.waiting = [(others_end, (15, 1)), (enclaves_end, (program["ENCLAVE_CIDS"][-1], 1))]
    program["serve"](listener, MetadataService())
    with enclave, other:
        enclave.settimeout(SECONDS)
        other.settimeout(SECONDS)
        found = read_credentials(enclave)
        assert (found.access_key_id, found.secret_access_key, found.session_token) == ("AKIA", "s", "t")
        assert other.recv(10) == b""
    assert asked == ["iam/security-credentials/", "iam/security-credentials/the-role"]
    assert program["PORT"] == CREDENTIALS_PORT


class LogGroup:
    """Events of streams, filtered as CloudWatch Logs does; the account and the client of it in one."""

    deployment = SimpleNamespace(cluster="analytics")

    def __init__(self, *events: tuple[str, float, dict[str, object] | str]) -> None:
        self._events = events

    def client(self, service: str) -> LogGroup:
        assert service == "logs"
        return self

    def get_paginator(self, operation: str) -> LogGroup:
        assert operation == "filter_log_events"
        return self

    def paginate(self, *, logGroupName: str, logStreamNamePrefix: str, startTime: int) -> list[dict[str, Any]]:
        assert logGroupName == "/sparkvault/analytics/swarm"
        found = [
            {"timestamp": int(at * 1000), "message": what if isinstance(what, str) else json.dumps(what)}
            for stream, at, what in self._events
            if stream.startswith(logStreamNamePrefix) and at * 1000 >= startTime
        ]
        return [{"events": found}]


def test_status_shows_for_each_host_what_it_said_last_and_distrusts_the_silent() -> None:
    now = time.time()
    prefix = enclave_reports.STREAM_PREFIX
    account: Any = LogGroup(
        (f"{prefix}i-1", now - 400, {"instance": "i-1", "wanted": 2, "running": 1, "last": "it is gone"}),
        (f"{prefix}i-1", now - 20, {"instance": "i-1", "wanted": 2, "running": 2, "last": ""}),
        (f"{prefix}i-2", now - 30, {"instance": "i-2", "wanted": 1, "running": 0, "last": "E36"}),
        (f"{prefix}i-2", now - 10, "no report"),
        (f"{prefix}i-3", now - 5000, {"instance": "i-3", "wanted": 1, "running": 1, "last": ""}),
        ("boot/i-3", now, {"instance": "i-3", "boot": "SUCCESS"}),
    )
    found = enclave_reports.enclave_components(account, "swarm", ["i-1", "i-2", "i-3"])
    assert [(one.name, one.kind, one.state, one.healthy) for one in found] == [
        ("i-1", "enclave", "2 of 2 running", True),
        ("i-2", "enclave", "0 of 1 running", False),
        ("i-3", "enclave", "unknown", False),
    ]
    assert found[1].detail == "E36"
