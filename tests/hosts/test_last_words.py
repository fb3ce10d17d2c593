"""What people find in the log group of a host that was given up."""

from pathlib import Path
from typing import Any

import pytest

from sparkvault_host.agent import last_words
from sparkvault_host.aws_cli import AwsError
from sparkvault_host.identity import HostIdentity
from sparkvault_host.launcher import log_stream
from tests.support.swarm_world import Host, identity_of


def host(log_group: str = "/sparkvault/analytics/swarm") -> HostIdentity:
    return identity_of(Host("i-w1", "10.0.0.2", "worker", Path()), log_group)


def test_the_reason_and_the_journals_go_to_the_hosts_own_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[tuple[str, ...], Any]] = []
    monkeypatch.setattr(log_stream, "aws", lambda *words, secret_input=None: calls.append((words, secret_input)))
    last_words.leave(host(), "the disk is full", lambda: ["agent: pulls", "dockerd: no space left on device"])
    (made, _), (put, sent) = calls
    assert made[:2] == ("logs", "create-log-stream")
    assert put == ("logs", "put-log-events")
    assert (sent["logGroupName"], sent["logStreamName"]) == ("/sparkvault/analytics/swarm", "hosts/i-w1")
    assert [event["message"] for event in sent["logEvents"]] == [
        "i-w1 is given up: the disk is full",
        "agent: pulls",
        "dockerd: no space left on device",
    ]


def test_a_log_group_that_does_not_answer_keeps_nobody_from_being_replaced(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(*words: str, secret_input: Any = None) -> None:
        raise AwsError("Unreachable", "no route", " ".join(words[:2]))

    monkeypatch.setattr(log_stream, "aws", refused)
    last_words.leave(host(), "the disk is full", list)
    assert "the journals were not sent" in capsys.readouterr().out


def test_without_a_log_group_or_a_journal_nothing_is_sent(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert last_words.journal() == []
    last_words.leave(host(log_group=""), "the disk is full")
