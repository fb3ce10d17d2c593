"""Every test gets a command line with a work folder of its own and no AWS credentials."""

import os
from pathlib import Path

import pytest

from tests.support.command_line import CommandLine


@pytest.fixture
def sparkvault(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> CommandLine:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "no-config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "no-credentials"))
    monkeypatch.setenv("SPARKVAULT_HOME", str(tmp_path / "work"))
    return CommandLine(monkeypatch, capfd)
