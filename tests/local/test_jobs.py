"""Jobs: their own exit code and message, output that is followed live, ends that are always on record."""

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from sparkvault.errors import NotAvailable, UsageError
from sparkvault.jobs import JobState, new_job_id
from sparkvault.targets.local.master_ui import get_json
from sparkvault.targets.local.processes import marked
from sparkvault.targets.local.target import LocalTarget
from tests.support.local_cluster import APPLICATIONS, NO_EXECUTORS, QUICK, Finished, job_spec, run, start, wait_until
from tests.support.terminal import Terminal


@pytest.fixture(scope="session")
def failed(target: LocalTarget) -> Finished:
    """A job that ran on an executor and failed there."""
    return run(target, APPLICATIONS / "fail_in_a_task.py")


def test_a_job_that_fails_in_a_task_shows_its_own_message_and_exit_code(failed: Finished) -> None:
    assert failed.record.state is JobState.FAILED
    assert failed.record.exit_code == 1
    assert "ValueError: row 3 has no price" in (failed.record.message or "")
    assert "ValueError: row 3 has no price" in failed.output


def test_an_exit_code_of_its_own_comes_through_and_modules_beside_it_are_found(target: LocalTarget) -> None:
    finished = run(target, APPLICATIONS / "exit_42.py", "--top", "a b", "$(touch x)")
    assert finished.record.exit_code == 42, finished.output
    assert "arguments: ['--top', 'a b', '$(touch x)']" in finished.output
    assert target.store.of(finished.record.id).exit.read_text() == "42\n"


def test_a_spark_shell_script_that_throws_has_failed(target: LocalTarget) -> None:
    finished = run(target, APPLICATIONS / "fail.scala", flags=NO_EXECUTORS)
    assert finished.record.state is JobState.FAILED, finished.output
    assert finished.record.exit_code == 1
    assert finished.record.message == "java.lang.IllegalStateException: the fourth row is wrong"
    assert "before" in finished.output
    assert "after" not in finished.output


def test_a_sql_script_runs_with_its_variables(target: LocalTarget) -> None:
    finished = run(target, APPLICATIONS / "query.sql", "-d", "label=the sum", flags=NO_EXECUTORS)
    assert finished.record.state is JobState.SUCCEEDED, finished.output
    assert "the sum\t55" in finished.output


def test_a_job_goes_on_when_the_program_that_submitted_it_has_gone(target: LocalTarget, tmp_path: Path) -> None:
    spec = job_spec(APPLICATIONS / "hold.py", tmp_path / "go", "driver", flags=NO_EXECUTORS)
    submitter = (
        "import sys; from pathlib import Path; from sparkvault.jobs import JobSpec\n"
        "from sparkvault.targets.local.folder import LocalFolder\n"
        "from sparkvault.targets.local.target import LocalTarget\n"
        "LocalTarget(LocalFolder(Path(sys.argv[1]))).submit(JobSpec.model_validate_json(sys.argv[2]))\n"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", submitter, str(target.folder.root), spec.model_dump_json()]
    subprocess.run(command, env=environment, timeout=60, check=True, start_new_session=True)

    wait_until("the web UI", lambda: target.job(spec.id).ui)
    record = target.job(spec.id)
    assert record.state is JobState.RUNNING
    assert target.ui("driver") == record.ui

    output = target.follow(spec.id)
    assert any("holding 0" in line for line in output), "live output comes while the job runs"
    (tmp_path / "go").touch()
    assert "let go 0" in list(output)
    record = target.job(spec.id)
    assert (record.state, record.exit_code, record.ui) == (JobState.SUCCEEDED, 0, None)
    assert list(target.store.of(spec.id).event_log.iterdir()), "the event log is kept with the job"


def test_a_job_whose_supervisor_was_killed_is_lost_and_can_still_be_ended(target: LocalTarget, tmp_path: Path) -> None:
    running = start(target, APPLICATIONS / "hold.py", tmp_path / "never", "nothing")
    processes = target.store.of(running.id).read_processes()
    assert processes is not None
    supervisor = psutil.Process(processes.supervisor.pid)
    supervisor.kill()
    supervisor.wait(timeout=10)
    assert target.job(running.id).state is JobState.LOST
    assert marked(target.folder, running.id), "its driver still runs"
    assert target.cancel(running.id).state is JobState.LOST
    assert marked(target.folder, running.id) == []


def test_all_jobs_are_listed_newest_first(target: LocalTarget, failed: Finished) -> None:
    newer = run(target, APPLICATIONS / "exit_42.py").record.id
    ids = [record.id for record in target.jobs()]
    assert ids == sorted(ids, reverse=True)
    assert ids.index(newer) < ids.index(failed.record.id)


def test_a_jobs_output_and_the_daemons_logs_can_be_read(target: LocalTarget, failed: Finished) -> None:
    lines = list(target.logs(failed.record.id, follow=False, lines=5))
    assert lines == failed.output.splitlines()[-5:]
    assert any("Registering worker" in line for line in target.logs("master", follow=False, lines=1000))
    assert {line.split(": ")[0] for line in target.logs(None, follow=False, lines=3)} >= {"master", "worker-1"}


def test_the_log_of_something_unknown_is_refused_with_what_there_is(target: LocalTarget) -> None:
    with pytest.raises(NotAvailable, match=r"'executor'[\s\S]*master, worker-1"):
        list(target.logs("executor", follow=False, lines=1))


def test_a_refused_job_leaves_nothing_behind(target: LocalTarget, tmp_path: Path) -> None:
    before = set(target.folder.jobs.iterdir())
    with pytest.raises(UsageError, match="does not exist"):
        target.submit(job_spec(tmp_path / "missing.py"))
    assert set(target.folder.jobs.iterdir()) == before


def test_a_job_that_was_never_there_is_not_available(target: LocalTarget) -> None:
    with pytest.raises(NotAvailable):
        target.job(new_job_id())
    with pytest.raises(UsageError):
        target.job("../../etc/passwd")


def test_the_history_server_shows_jobs_that_have_ended(target: LocalTarget, failed: Finished) -> None:
    application = next(target.store.of(failed.record.id).event_log.iterdir()).name.removeprefix("eventlog_v2_")
    ui = target.ui("history")
    assert target.ui("history") == ui, "it is started once"

    def shown() -> bool:
        return application in {one["id"] for one in get_json(f"{ui}/api/v1/applications") or []}

    wait_until("the history server to show the job", shown)


def test_a_shell_on_a_terminal_uses_the_cluster(target: LocalTarget) -> None:
    program = (
        "import sys; from pathlib import Path\n"
        "from sparkvault.targets.local.folder import LocalFolder\n"
        "from sparkvault.targets.local.target import LocalTarget\n"
        "sys.exit(LocalTarget(LocalFolder(Path(sys.argv[1]))).shell(sys.argv[2], sys.argv[3:], 'default'))\n"
    )
    command = [sys.executable, "-c", program, str(target.folder.root), "python", *QUICK]
    with Terminal(command) as terminal:
        terminal.read_until(">>> ")
        terminal.write("print(sc.parallelize(range(11)).sum())\nexit()\n")
        assert terminal.exit_code() == 0
    assert "55" in terminal.shown.splitlines()
    assert "spark://127.0.0.1" in terminal.shown
