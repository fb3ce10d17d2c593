"""What protects the local cluster is really on: shown by clients that are refused, and by looking for the secret."""

import contextlib
import os
import re
import stat
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from sparkvault.jobs import JobRecord
from sparkvault.targets.local.master_ui import ask_master
from sparkvault.targets.local.processes import marked
from sparkvault.targets.local.spark_conf import daemon_settings, write_conf
from sparkvault.targets.local.target import LocalTarget
from tests.support.local_cluster import APPLICATIONS, files_with, listening, secret_of, start, wait_until
from tests.support.tcp_relay import Relay


@pytest.fixture(scope="module")
def holding(target: LocalTarget, tmp_path_factory: pytest.TempPathFactory) -> Iterator[JobRecord]:
    """A job that has run tasks and is still there; its event log is kept readable for the search."""
    go = tmp_path_factory.mktemp("hold") / "go"
    flags = ["--verbose", "--conf", "spark.eventLog.compress=false", "--conf", "spark.logConf=true"]
    record = start(target, APPLICATIONS / "hold.py", go, flags=flags)
    wait_until("the web UI", lambda: target.job(record.id).ui)
    yield target.job(record.id)
    go.touch()
    wait_until("the job to end", lambda: target.job(record.id).state.ended)


def page(url: str) -> str:
    with urllib.request.urlopen(url, timeout=30) as response:  # noqa: S310 -- our own loopback addresses
        text: str = response.read().decode()
    return text


def test_the_secret_is_in_two_private_files_and_nowhere_else(target: LocalTarget, holding: JobRecord) -> None:
    secret = secret_of(target.folder)
    assert len(secret) == 64
    conf = {folder / "spark-defaults.conf" for folder in (target.folder.daemon_conf, target.folder.driver_conf)}
    assert files_with(secret, target.folder.root) == conf
    for path in conf:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    # The search would have found it: the event log and the output name the setting, redacted.
    event_logs = target.store.of(holding.id).event_log
    assert any("redacted" in path.read_text() for path in files_with("spark.authenticate.secret", event_logs))


def test_the_secret_is_on_no_command_line(target: LocalTarget, holding: JobRecord) -> None:
    secret = secret_of(target.folder)
    lines = [" ".join(process.info["cmdline"] or []) for process in psutil.process_iter(["cmdline"])]
    assert any("CoarseGrainedExecutorBackend" in line for line in lines), "an executor was among those looked at"
    assert not [line for line in lines if secret in line]


def test_the_secret_is_on_no_web_page(target: LocalTarget, holding: JobRecord) -> None:
    secret = secret_of(target.folder)
    driver, master, worker = holding.ui, target.ui("master"), target.ui("worker")
    info = ask_master(master)
    assert info is not None
    application = next(app.id for app in info.activeapps if app.name == "hold")
    log_page = f"{worker}/logPage/?appId={application}&executorId=0&logType=stderr"
    pages = [
        *(f"{driver}/{path}" for path in ("environment/", "executors/", "jobs/")),
        f"{driver}/api/v1/applications/{application}/environment",
        *(
            f"{master}/{path}"
            for path in ("", "json/", f"app/?appId={application}", "environment/", "logPage/?self&logType=out")
        ),
        *(f"{worker}/{path}" for path in ("", "json/", "logPage/?self&logType=out")),
        log_page,
    ]
    texts = {url: page(url) for url in pages}
    listed = texts[f"{driver}/api/v1/applications/{application}/environment"]
    assert re.search(r'"spark\.authenticate\.secret", "\*+\(redacted\)"', listed), "the driver lists it, redacted"
    assert not [url for url, text in texts.items() if secret in text]


def test_everything_listens_on_loopback_alone(target: LocalTarget, holding: JobRecord) -> None:
    sockets = list(listening(target.folder))
    assert len(sockets) >= 8, "master, worker, driver and executor, and their web UIs"
    assert {address.removeprefix("::ffff:") for _, address, _ in sockets} == {"127.0.0.1"}


def test_nobody_else_may_look_into_the_work_folder(target: LocalTarget) -> None:
    assert stat.S_IMODE(target.folder.root.stat().st_mode) == 0o700


def test_executors_inherit_no_credentials_of_the_user(target: LocalTarget, holding: JobRecord) -> None:
    executors = [one for one in marked(target.folder) if "CoarseGrainedExecutorBackend" in " ".join(one.cmdline())]
    assert executors
    for executor in executors:
        names = set(executor.environ())
        assert not {name for name in names if name.startswith(("AWS_", "SSH_"))}
        assert "_SPARK_AUTH_SECRET" in names, "the stated exception: Spark's own way, readable by this user only"


def test_nobody_ends_a_job_through_a_web_ui(target: LocalTarget, holding: JobRecord) -> None:
    info = ask_master(target.ui("master"))
    assert info is not None
    application = next(app.id for app in info.activeapps if app.name == "hold")
    for url, body in (
        (f"{target.ui('master')}/app/kill/", f"id={application}&terminate=true"),
        (f"{holding.ui}/stages/stage/kill/", "id=0&terminate=true"),
        (f"{target.ui('master')}/workers/kill/", "host=127.0.0.1"),
    ):
        request = urllib.request.Request(url, data=body.encode(), method="POST")  # noqa: S310 -- loopback
        # Whatever it answers (a redirect, 404, 405): what counts is that nothing has ended.
        with contextlib.suppress(urllib.error.HTTPError):
            urllib.request.urlopen(request, timeout=30).close()  # noqa: S310 -- loopback
    after = ask_master(target.ui("master"))
    assert after is not None
    assert application in {app.id for app in after.activeapps}
    assert len(after.alive_workers) == 1
    assert not target.job(holding.id).state.ended


def client(target: LocalTarget, conf: Path, relay: Relay, settings: dict[str, str]) -> "subprocess.Popen[bytes]":
    """A driver that asks the master for executors, through the relay, with settings of its own."""
    state = target.cluster.running()
    conf.mkdir()
    write_conf(conf, settings | {"spark.ui.enabled": "false", "spark.driver.host": "127.0.0.1"}, daemon_level="warn")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("SPARK_", "PYSPARK_"))}
    environment |= {"SPARK_HOME": state.spark_home, "JAVA_HOME": state.java_home, "SPARK_CONF_DIR": str(conf)}
    environment |= {"SPARK_LOCAL_IP": "127.0.0.1", "PYSPARK_PYTHON": sys.executable}
    program = str(Path(state.spark_home) / "bin" / "spark-submit")
    flags = ["--master", f"spark://127.0.0.1:{relay.port}", "--name", "eavesdropped", "--driver-java-options"]
    return subprocess.Popen(
        [program, *flags, "-XX:TieredStopAtLevel=1", str(APPLICATIONS / "fail_in_a_task.py")],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def end(process: "subprocess.Popen[bytes]") -> None:
    for one in psutil.Process(process.pid).children(recursive=True):
        one.kill()
    process.kill()
    process.wait(timeout=30)


def registered(target: LocalTarget) -> bool:
    return any("Registering app fail" in line for line in target.logs("master", follow=False, lines=10_000))


#: In the first message of a client that talks openly (org.apache.spark.rpc.netty.RpcEndpointVerifier).
_READABLE = b"CheckExistence"

#: What a client has that is not what the cluster asks for.
_WEAKER = {
    "no authentication": {"spark.authenticate": "false", "spark.network.crypto.enabled": "false"},
    "another secret": {"spark.authenticate.secret": "0" * 64},
    "no encryption": {"spark.network.crypto.enabled": "false"},
    "encryption that does not notice changes": {"spark.network.crypto.cipher": "AES/CTR/NoPadding"},
}


@pytest.mark.parametrize("weaker", _WEAKER)
def test_a_client_with_less_is_refused(target: LocalTarget, tmp_path: Path, weaker: str) -> None:
    state = target.cluster.running()
    settings = daemon_settings(secret_of(target.folder)) | _WEAKER[weaker]
    before = sum("Registering app" in line for line in target.logs("master", follow=False, lines=10_000))
    with Relay(int(state.master_url.rpartition(":")[2])) as relay:
        refused = client(target, tmp_path / "conf", relay, settings)
        try:
            wait_until("the master to close the connection", relay.closed_by_server.is_set)
        finally:
            end(refused)
        if weaker == "no authentication":
            assert _READABLE in relay.sent, "the relay sees what is not encrypted"
    after = sum("Registering app" in line for line in target.logs("master", follow=False, lines=10_000))
    assert after == before, "the master took no application"


def test_what_goes_over_the_wire_cannot_be_read(target: LocalTarget, tmp_path: Path) -> None:
    state = target.cluster.running()
    with Relay(int(state.master_url.rpartition(":")[2])) as relay:
        accepted = client(target, tmp_path / "conf", relay, daemon_settings(secret_of(target.folder)))
        try:
            wait_until("the master to take the application", lambda: registered(target))
        finally:
            end(accepted)
        for readable in (
            _READABLE,
            b"RegisterApplication",
            b"org.apache.spark.deploy",
            b"eavesdropped",
            b"CoarseGrained",
        ):
            assert readable not in relay.sent + relay.answered
        assert len(relay.sent) > 1000
