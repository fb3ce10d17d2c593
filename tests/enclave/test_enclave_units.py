"""What a host does to keep its enclave running: one at a time, never in debug mode, ended with its unit."""

from __future__ import annotations

import configparser
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from spark_enclave.server.parent_host import CREDENTIALS_PORT, read_credentials

HOSTS = Path(__file__).parents[2] / "assets" / "hosts"
UNITS = HOSTS / "systemd" / "enclaves"
SECONDS = 20

#: Holds enclaves in a file, as the hypervisor does, and refuses what it refuses.
NITRO_CLI = """#!{python}
import json, os, sys
place = os.path.join(os.environ["NITRO_STATE"], "state.json")
state = json.load(open(place))
verb, options = sys.argv[1], sys.argv[2:]
state["calls"].append(sys.argv[1:])
answer, code = None, 0
if verb == "run-enclave":
    if state["running"]:
        print("[ E36 ] Enclave boot failure", file=sys.stderr)
        code = 36
    else:
        state["running"] = [dict(EnclaveID="i-1-enc1", EnclaveName="sparkvault", State="RUNNING", Flags=state["flags"])]
        answer = dict(state["running"][0])
elif verb == "describe-enclaves":
    answer = state["running"]
elif verb == "terminate-enclave":
    state["running"] = []
    answer = dict(Terminated=True)
# Whole or not at all, as it may be killed at any moment.
with open(place + f".{{os.getpid()}}", "w") as file:
    json.dump(state, file)
os.replace(file.name, place)
print(json.dumps(answer))
sys.exit(code)
"""


@pytest.fixture
def hypervisor(tmp_path: Path) -> dict[str, Any]:
    program = tmp_path / "bin" / "nitro-cli"
    program.parent.mkdir()
    program.write_text(NITRO_CLI.format(python=sys.executable))
    program.chmod(0o755)
    (tmp_path / "host.json").write_text(json.dumps({"enclaves": {"count": 1, "memory_mib": 4096, "cpus": 2}}))
    state: dict[str, Any] = {"running": [], "flags": "NONE", "calls": []}
    return state


def run_enclave(folder: Path, state: dict[str, Any]) -> tuple[subprocess.Popen[str], socket.socket]:
    """The unit's program, with a socket where it says that it is ready."""
    (folder / "state.json").write_text(json.dumps(state))
    program = (
        (HOSTS / "bin" / "run-enclave").read_text().replace("/etc/sparkvault/host.json", str(folder / "host.json"))
    )
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
    read: dict[str, Any] = json.loads((folder / "state.json").read_text())
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
    left = {"EnclaveID": "i-1-enc0", "EnclaveName": "sparkvault", "State": "RUNNING", "Flags": "NONE"}
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
    assert "bind=127.0.0.1" in relay["Service"]["ExecStart"]
    assert "OPENSSL" not in relay["Service"]["ExecStart"].upper()
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
    listener.waiting = [(others_end, (17, 1)), (enclaves_end, (program["ENCLAVE_CID"], 1))]
    program["serve"](listener, MetadataService())
    with enclave, other:
        enclave.settimeout(SECONDS)
        other.settimeout(SECONDS)
        found = read_credentials(enclave)
        assert (found.access_key_id, found.secret_access_key, found.session_token) == ("AKIA", "s", "t")
        assert other.recv(10) == b""
    assert asked == ["iam/security-credentials/", "iam/security-credentials/the-role"]
    assert program["PORT"] == CREDENTIALS_PORT
