"""What people can have run on hosts: the documents, as Systems Manager takes them, and who may run which."""

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st

from emulation.aws import EmbeddedAws
from emulation.ssm_sessions import SsmAgents
from emulation.ssm_sessions.plugin_build import plugin
from spark_constructs.job_documents import LAUNCHER, documents
from spark_constructs.job_interface import FORWARDED_PORTS, JOB_ID_PATTERN
from sparkvault.account import Account
from sparkvault.errors import NotAvailable
from sparkvault.jobs import is_job_id, new_job_id
from sparkvault.targets.remote import documents as remote
from tests.swarm_jobs.specifications import JOB_ID

HOST = "i-0123456789abcdef0"
OTHER_HOST = "i-0123456789abcdef1"
CUT_OFF = "i-0123456789abcdef2"


class ThisMachine:
    """A machine whose launcher only says how it was called; nothing needs root."""

    def __init__(self, instance: str) -> None:
        self.instance = instance

    def is_connected(self) -> bool:
        return self.instance != CUT_OFF

    def process(self, command: list[str], *, interactive: bool = True, terminal: bool = False, **popen: Any) -> Any:
        streams: dict[str, Any] = {"stdin": subprocess.PIPE if interactive else subprocess.DEVNULL}
        streams |= {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | popen
        return subprocess.Popen(["setsid", "--ctty", *command] if terminal else command, **streams)


@pytest.fixture(scope="module")
def launcher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What documents run: it is not ready as often as its file `booting` has lines."""
    launcher = tmp_path_factory.mktemp("launcher") / "launcher"
    launcher.write_text(
        '#!/bin/sh\necho "$@"\n[ "$1" = attach ] && { read -r line; echo "heard $line"; exit 0; }\n'
        'cd "$(dirname "$0")"\n'
        '[ -s booting ] && { sed -i 1d booting; echo "sparkvault: no master yet" >&2; exit 3; }\n'
        '[ "$1" = status ] && seq 100000\n[ "$1" = rotate ] && { echo "sparkvault: no" >&2; exit 3; }\nexit 0\n'
    )
    launcher.chmod(0o755)
    return launcher


@pytest.fixture(scope="module")
def aws(launcher: Path) -> Iterator[EmbeddedAws]:
    with EmbeddedAws() as embedded:
        ssm = embedded.client("ssm")
        for short, (kind, content) in documents().items():
            text = json.dumps(content).replace(LAUNCHER, str(launcher))
            ssm.create_document(Name=f"c-{short}", Content=text, DocumentType=kind, DocumentFormat="JSON")
        hosts = {instance: ThisMachine(instance) for instance in (HOST, OTHER_HOST, CUT_OFF)}
        with SsmAgents(embedded, hosts.get):
            yield embedded


def ran(aws: EmbeddedAws, short: str, **parameters: list[str]) -> dict[str, Any]:
    ssm = aws.client("ssm")
    sent = ssm.send_command(InstanceIds=[HOST], DocumentName=f"c-{short}", Parameters=parameters)["Command"]
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        found: dict[str, Any] = ssm.get_command_invocation(CommandId=sent["CommandId"], InstanceId=HOST)
        if found["Status"] not in ("Pending", "InProgress"):
            return found
        time.sleep(0.05)
    raise AssertionError("the command did not end within 30 s")


@given(st.from_regex(JOB_ID_PATTERN) | st.text(max_size=30) | st.just(new_job_id()))
def test_documents_and_command_line_mean_the_same_by_a_jobs_id(text: str) -> None:
    import re

    assert is_job_id(text) == bool(re.search(JOB_ID_PATTERN[:-1] + r"\Z", text))


def test_every_parameter_of_every_document_is_validated() -> None:
    for _, content in documents().values():
        for parameter in content.get("parameters", {}).values():
            assert parameter["allowedPattern"].startswith("^")
            assert parameter["allowedPattern"].endswith("$")


def test_a_document_runs_the_launcher_with_the_jobs_id_and_nothing_else(aws: EmbeddedAws) -> None:
    assert ran(aws, "job.default.submit", job=[JOB_ID])["StandardOutputContent"] == f"submit {JOB_ID} default\n"


@pytest.mark.parametrize(
    "job", [f"{JOB_ID}; id", f"$(id){JOB_ID}", f"{JOB_ID}\n", "' $(id) '", " ", "../x", JOB_ID.upper()]
)
def test_nothing_but_a_jobs_id_reaches_a_host(aws: EmbeddedAws, job: str) -> None:
    for short in ("job.default.submit", "job.default.cancel", "job.default.driver-ui"):
        with pytest.raises(ClientError, match="InvalidParameters"):
            ran(aws, short, job=[job])
    with pytest.raises(ClientError, match="InvalidParameters"):
        aws.client("ssm").start_session(Target=HOST, DocumentName="c-job.default.shell", Parameters={"job": [job]})


@pytest.mark.parametrize("port", ["22", "2377", "7077", "2375", "80", "8080x", "8080 ", "-1", "18080\n"])
def test_only_listed_ports_are_forwarded(aws: EmbeddedAws, port: str) -> None:
    assert port not in {str(listed) for listed in FORWARDED_PORTS}
    with pytest.raises(ClientError, match="InvalidParameters"):
        aws.client("ssm").start_session(Target=HOST, DocumentName="c-view.port", Parameters={"portNumber": [port]})


def test_a_parameter_that_a_document_does_not_have_is_refused(aws: EmbeddedAws) -> None:
    with pytest.raises(ClientError, match="InvalidParameters"):
        ran(aws, "host.rotate", commands=["id"])


def test_output_is_kept_up_to_the_limit_and_failures_have_their_exit_code(aws: EmbeddedAws) -> None:
    assert len(ran(aws, "view.status")["StandardOutputContent"]) == 24_000
    failed = ran(aws, "host.rotate")
    assert (failed["Status"], failed["ResponseCode"]) == ("Failed", 3)
    assert "sparkvault: no" in failed["StandardErrorContent"]


def test_an_unknown_host_is_not_connected(aws: EmbeddedAws) -> None:
    with pytest.raises(ClientError, match="InvalidInstanceId"):
        aws.client("ssm").send_command(InstanceIds=["i-0fedcba9876543210"], DocumentName="c-view.status")
    with pytest.raises(ClientError, match="TargetNotConnected"):
        aws.client("ssm").start_session(
            Target="i-0fedcba9876543210", DocumentName="c-job.default.shell", Parameters={"job": [JOB_ID]}
        )


class OnThisHost(remote.Documents):
    """The command line's side, for a group with one manager or those of ``hosts``."""

    hosts: tuple[str, ...] = (HOST,)

    def managers(self) -> list[str]:
        return list(self.hosts)


def test_a_command_waits_for_a_host_that_is_not_ready(
    aws: EmbeddedAws, launcher: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (launcher.parent / "booting").write_text("once\ntwice\n")
    asked = OnThisHost(cast(Account, aws), "c")
    assert asked.run("job.default.submit", JOB_ID, patience=30.0) == f"submit {JOB_ID} default\n"
    # Said once, however often it was asked.
    assert capsys.readouterr().err.count("waiting for the cluster, at most 30 s: no master yet") == 1


def test_a_command_does_not_wait_for_ever(aws: EmbeddedAws, launcher: Path) -> None:
    asked = OnThisHost(cast(Account, aws), "c")
    hidden = launcher.rename(launcher.with_name("hidden"))
    try:
        with pytest.raises(remote.NotReadyError, match=f"host {HOST} is not set up yet"):
            asked.run("job.default.submit", JOB_ID, patience=1.0)
    finally:
        hidden.rename(launcher)
    asked.hosts = ("i-0fedcba9876543210",)
    with pytest.raises(NotAvailable, match="manager i-0fedcba9876543210 is not connected"):
        asked.run("job.default.submit", JOB_ID)


def test_another_manager_is_asked_where_one_is_not_ready(aws: EmbeddedAws, launcher: Path) -> None:
    (launcher.parent / "booting").write_text("once\n")
    asked = OnThisHost(cast(Account, aws), "c")
    asked.hosts = ("i-0fedcba9876543210", HOST, OTHER_HOST)
    assert asked.run("job.default.submit", JOB_ID) == f"submit {JOB_ID} default\n"


def test_another_manager_is_asked_where_one_is_cut_off(aws: EmbeddedAws, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "TAKEN_SECONDS", 1.0)
    asked = OnThisHost(cast(Account, aws), "c")
    asked.hosts = (CUT_OFF, HOST)
    before = time.monotonic()
    assert asked.run("job.default.submit", JOB_ID) == f"submit {JOB_ID} default\n"
    waited = time.monotonic() - before
    monkeypatch.setattr(remote, "TAKEN_SECONDS", 60.0)
    # The next time the one that did not answer is not asked first.
    assert asked.run("job.default.submit", JOB_ID) == f"submit {JOB_ID} default\n"
    assert 1.0 < waited < 30.0


def session(aws: EmbeddedAws, document: str, **parameters: list[str]) -> tuple[list[str], dict[str, str], str]:
    """The real plugin's command line and environment for a new session, and the session's id."""
    answer = aws.client("ssm").start_session(Target=HOST, DocumentName=document, Parameters=parameters)
    answer.pop("ResponseMetadata")
    environment = aws.environment() | {"AWS_SSM_START_SESSION_RESPONSE": json.dumps(answer)}
    request = json.dumps({"Target": HOST})
    command = [str(plugin()), "AWS_SSM_START_SESSION_RESPONSE", aws.region, "StartSession", "", request, aws.endpoint]
    return command, environment, answer["SessionId"]


def test_amazons_own_plugin_opens_a_terminal_by_a_session_document(aws: EmbeddedAws, tmp_path: Path) -> None:
    command, environment, _ = session(aws, "c-job.default.shell", job=[JOB_ID])
    quoted = " ".join(f"'{word}'" for word in command)
    done = subprocess.run(
        ["script", "--quiet", "--return", "--command", quoted, "/dev/null"],
        env=environment,
        input=b"a line\n",
        capture_output=True,
        timeout=60,
        check=True,
    )
    assert f"attach {JOB_ID}" in done.stdout.decode()
    assert "heard a line" in done.stdout.decode()


def test_a_sessions_token_opens_one_channel_and_another_token_none(aws: EmbeddedAws) -> None:
    from websockets.exceptions import ConnectionClosed
    from websockets.sync.client import connect

    answer = aws.client("ssm").start_session(
        Target=HOST, DocumentName="c-job.default.shell", Parameters={"job": [JOB_ID]}
    )
    for token in ("wrong", answer["TokenValue"], answer["TokenValue"]):
        with connect(answer["StreamUrl"], proxy=None) as channel:
            channel.send(json.dumps({"TokenValue": token}))
            if token == "wrong":
                with pytest.raises(ConnectionClosed):
                    channel.recv(10)
            else:
                assert channel.recv(10)
                break
    with connect(answer["StreamUrl"], proxy=None) as channel:
        channel.send(json.dumps({"TokenValue": answer["TokenValue"]}))
        with pytest.raises(ConnectionClosed):
            channel.recv(10)
