"""A job that runs: what can be seen of it and by whom, and how it is ended."""

import contextlib
import re
import stat
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from sparkvault.jobs import JobRecord, JobState
from sparkvault.targets.local.master_ui import ask_master
from sparkvault.targets.local.processes import marked
from sparkvault.targets.local.target import LocalTarget
from tests.support.local_cluster import APPLICATIONS, files_with, listening, secret_of, start, wait_until


@pytest.fixture(scope="module")
def held() -> list[JobRecord]:
    """The job that is running, if one is."""
    return []


@pytest.fixture
def holding(target: LocalTarget, held: list[JobRecord], tmp_path: Path) -> JobRecord:
    """A job that has run tasks and goes on until it is cancelled; its event log is kept readable for the search."""
    if not held or target.job(held[0].id).state.ended:
        flags = ["--verbose", "--conf", "spark.eventLog.compress=false", "--conf", "spark.logConf=true"]
        held[:] = [start(target, APPLICATIONS / "hold.py", tmp_path / "never", flags=flags)]
    wait_until("the web UI", lambda: target.job(held[0].id).ui)
    return target.job(held[0].id)


@pytest.fixture(scope="module", autouse=True)
def _cancelled_in_the_end(target: LocalTarget, held: list[JobRecord]) -> Iterator[None]:
    yield
    for record in held:
        target.cancel(record.id)


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


def test_a_cancelled_job_is_gone_and_on_record(target: LocalTarget, holding: JobRecord) -> None:
    record = target.cancel(holding.id)
    assert (record.state, record.ui) == (JobState.CANCELLED, None)
    assert marked(target.folder, holding.id) == []
    assert not target.store.of(holding.id).scratch.exists()
    wait_until("the master to free the cores", lambda: " 0 of" in target.status().summary)
    assert target.cancel(holding.id) == record, "cancelling twice changes nothing"
