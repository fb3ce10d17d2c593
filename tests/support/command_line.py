"""Runs `sparkvault` in this process, as its entry point does, and gives back what a person would see."""

import sys
from dataclasses import dataclass

import pytest

from sparkvault.__main__ import main


@dataclass(frozen=True)
class Answer:
    """How a command ended."""

    code: int
    out: str
    err: str


class CommandLine:
    """`run("jobs", "--json")` runs `sparkvault jobs --json`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch = monkeypatch
        self._capfd = capfd

    def run(self, *arguments: str) -> Answer:
        self._capfd.readouterr()
        self._monkeypatch.setattr(sys, "argv", ["sparkvault", *arguments])
        code: object = 0
        try:
            main()
        except SystemExit as end:
            code = end.code or 0
        captured = self._capfd.readouterr()
        if not isinstance(code, int):
            raise AssertionError(f"exit code {code!r}")
        return Answer(code, captured.out, captured.err)
