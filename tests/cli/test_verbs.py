"""Every verb explains itself, and wrong use ends with one clear message and exit code 2."""

import json
from pathlib import Path

import pytest
import yaml

from sparkvault.cli import root
from tests.support.command_line import CommandLine

VERBS = [
    *("synth", "diff", "deploy", "destroy", "status", "submit", "shell", "ui", "logs", "jobs", "cancel", "scale"),
    *("local", "config", "doctor", "bench"),
]
GROUPS = [("config", "show"), ("config", "check"), ("config", "schema"), ("local", "up"), ("local", "down")]


@pytest.mark.parametrize("verb", [*((verb,) for verb in VERBS), *GROUPS], ids=" ".join)
def test_every_verb_has_help(sparkvault: CommandLine, verb: tuple[str, ...]) -> None:
    answer = sparkvault.run(*verb, "--help")
    assert answer.code == 0
    assert "Usage:" in answer.out


def test_the_version_names_spark(sparkvault: CommandLine) -> None:
    assert "Spark 4.2.0" in sparkvault.run("--version").out


def test_the_effective_configuration_is_shown_for_people_and_programs(sparkvault: CommandLine) -> None:
    shown = yaml.safe_load(sparkvault.run("config", "show").out)
    assert shown == json.loads(sparkvault.run("config", "show", "--json").out)
    assert shown["cluster"] == "sparkvault"


def test_the_schema_is_printed_as_json(sparkvault: CommandLine) -> None:
    assert "Deployment" in json.loads(sparkvault.run("config", "schema").out)["title"]


def test_a_valid_configuration_is_said_to_be_valid(sparkvault: CommandLine) -> None:
    answer = sparkvault.run("config", "check")
    assert (answer.code, answer.out) == (0, "cdk.json: valid (cluster sparkvault, targets swarm)\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["frobnicate"], "No such command"),
        (["config", "check", "absent.yaml"], "No such file"),
        (["synth", "--config", "absent.yaml"], "No such file"),
        (["submit"], "Missing argument 'APP'"),
        (["submit", "--target", "moon", "app.py"], "targets are local, swarm, fargate, yarn"),
        (["submit", "--tenant", "nobody", "app.py"], "tenants are default"),
        (["submit", "--conf", "spark.authenticate=false", "app.py"], "may not be switched off"),
        (["submit", "--conf", "no-value", "app.py"], "spark.some.setting=value"),
        (["submit", "--master", "local[2]", "app.py"], "--target"),
        (["submit", "--colour", "app.py"], "--colour"),
        (["submit", "absent.py"], "does not exist"),
        (["shell", "--lang", "cobol"], "languages are python, scala, sql"),
        (["ui", "kitchen"], "there are master, worker, driver, history"),
        (["jobs", "../../etc/passwd"], "is not a job id"),
        (["cancel", "x"], "is not a job id"),
        (["local", "up", "--workers", "0"], "Invalid value"),
        (["local", "up", "--memory", "a lot"], "a lot"),
        (["deploy", "--yes"], "there are no AWS credentials"),
        (["bench", "unknown"], "there is no benchmark"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_use_ends_with_2_and_says_what_to_do(
    sparkvault: CommandLine, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    answer = sparkvault.run(*arguments)
    assert answer.code == 2, answer.err
    assert message in answer.out + answer.err
    assert "Traceback" not in answer.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["local", "down"], "no local cluster is up"),
        (["ui"], "no local cluster is up"),
        (["logs", "master"], "no local cluster was ever up"),
        (["scale", "2"], "no local cluster is up"),
        (["cancel", "20261121-130455-9f3a01bc"], "20261121-130455-9f3a01bc"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_is_not_there_ends_with_1_and_says_so(sparkvault: CommandLine, arguments: list[str], message: str) -> None:
    answer = sparkvault.run(*arguments)
    assert answer.code == 1, answer.err
    assert message in answer.err
    assert "Traceback" not in answer.err


def test_no_jobs_yet_is_an_answer_and_no_error(sparkvault: CommandLine) -> None:
    assert sparkvault.run("jobs").out == "no jobs yet\n"
    assert json.loads(sparkvault.run("jobs", "--json").out) == []


def test_an_unexpected_error_shows_no_traceback_but_keeps_one(
    sparkvault: CommandLine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fail() -> None:
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr(root, "app", fail)
    answer = sparkvault.run("jobs")
    assert answer.code == 1
    assert "ZeroDivisionError: division by zero" in answer.err
    assert "Traceback" not in answer.err
    assert "Traceback" in (tmp_path / "work" / "last-error.txt").read_text()


def test_a_work_folder_that_cannot_be_written_is_said(
    sparkvault: CommandLine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("SPARKVAULT_HOME", str(tmp_path / "file" / "work"))
    answer = sparkvault.run("local", "up")
    assert answer.code == 1
    assert "SPARKVAULT_HOME" in answer.err


def test_without_node_synth_says_how_to_get_it(sparkvault: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sparkvault.toolchain.tool_environment", lambda base=None: {"PATH": "/nonexistent"})
    monkeypatch.setattr("sparkvault.cdk.tool_environment", lambda base=None: {"PATH": "/nonexistent"})
    answer = sparkvault.run("synth")
    assert answer.code == 1
    assert "this machine has none" in answer.err
    assert "make setup" in answer.err


def test_completion_is_offered(sparkvault: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_SPARKVAULT_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", "sparkvault sub")
    monkeypatch.setenv("COMP_CWORD", "1")
    assert "submit" in sparkvault.run().out


def test_the_doctor_names_what_is_missing(sparkvault: CommandLine) -> None:
    findings = {finding["what"]: finding for finding in json.loads(sparkvault.run("doctor", "--json").out)}
    assert findings["Java"]["ok"]
    assert not findings["AWS credentials"]["ok"]
    assert "aws" in findings["AWS credentials"]["remedy"]


def test_the_doctor_only_notes_that_the_session_manager_plugin_is_missing(
    sparkvault: CommandLine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    findings = {finding["what"]: finding for finding in json.loads(sparkvault.run("doctor", "--json").out)}
    found = findings["session-manager-plugin"]
    assert (found["ok"], found["required"]) == (False, False)
    assert "shells" in found["needed_for"]
    assert "install it" in found["remedy"]
