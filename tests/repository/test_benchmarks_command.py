"""`python -m benchmarks` itself: what a person reads whose benchmark did not come to its end."""

import os
import signal
import time

import pytest

import benchmarks.synth
from benchmarks.__main__ import main
from sparkvault.errors import SparkvaultError


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_benchmark_cleans_up_and_says_so_in_one_line(
    number: signal.Signals, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cleaned = []

    def interrupted(arguments: list[str]) -> int:
        try:
            os.kill(os.getpid(), number)
            time.sleep(10)
        finally:
            cleaned.append(number)
        return 0

    monkeypatch.setattr(benchmarks.synth, "main", interrupted)
    assert main(["synth"]) == 130
    assert cleaned == [number]
    assert capsys.readouterr().err.strip() == "interrupted; everything that was started has been ended"


def test_a_benchmark_that_fails_ends_with_its_reason(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def failing(arguments: list[str]) -> int:
        raise SparkvaultError("no engine is reachable")

    monkeypatch.setattr(benchmarks.synth, "main", failing)
    assert main(["synth"]) == 1
    assert capsys.readouterr().err == "Error: no engine is reachable\n"


def test_an_unknown_benchmark_is_named_with_those_that_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sleep"]) == 2
    assert "there is no benchmark 'sleep'; there are" in capsys.readouterr().err
