"""The set-up script: what this machine has is used, what it lacks is said with what to do."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def set_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    specification = importlib.util.spec_from_file_location("set_up", ROOT / "scripts" / "set_up.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    monkeypatch.setattr(module, "STAMP", tmp_path / "set-up.json")
    return module


def program(folder: Path, name: str, script: str) -> Path:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def test_an_old_python_is_refused_with_what_to_run(set_up: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(set_up, "OLDEST_PYTHON", (99, 0))
    with pytest.raises(set_up.SetUpError, match=r"too old.*make PYTHON="):
        set_up.check_python()


@pytest.mark.parametrize(
    ("script", "version"), [("echo v24.19.0", 24), ("echo v8.1.0", 8), ("echo hello", 0), ("exit 1", 0)]
)
def test_the_version_of_node_is_read(set_up: ModuleType, tmp_path: Path, script: str, version: int) -> None:
    assert set_up.node_version(str(program(tmp_path, "node", script))) == version
    assert set_up.node_version(str(tmp_path / "absent")) == 0


def test_a_failing_installer_is_shown_with_its_last_words_and_a_remedy(set_up: ModuleType, tmp_path: Path) -> None:
    failing = program(tmp_path, "installer", "echo no network; exit 3")
    with pytest.raises(set_up.SetUpError, match=r"ended with 3:\nno network\nRemedy: check the network"):
        set_up.run([str(failing)], "check the network")


def test_after_the_set_up_nothing_is_left_to_be_done() -> None:
    command = [sys.executable, "scripts/set_up.py", "--check"]
    unreachable = {"PATH": "/usr/bin:/bin", "https_proxy": "http://127.0.0.1:9", "http_proxy": "http://127.0.0.1:9"}
    answer = subprocess.run(
        command, cwd=ROOT, env=unreachable, capture_output=True, text=True, timeout=120, check=False
    )
    assert (answer.returncode, answer.stdout, answer.stderr) == (0, "", "")


def test_what_was_done_is_remembered(set_up: ModuleType) -> None:
    assert set_up.stamp() == {}
    set_up.write_stamp("cdk", "abc")
    set_up.write_stamp("packages", {"files": "def"})
    assert set_up.stamp() == {"cdk": "abc", "packages": {"files": "def"}}
    set_up.STAMP.write_text("not JSON")
    assert set_up.stamp() == {}
    set_up.STAMP.write_text(json.dumps([1]))
    assert set_up.stamp() == {}


def test_without_java_only_root_on_debian_installs_it(
    set_up: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    venv = tmp_path / "venv"
    (venv / "bin").mkdir(parents=True)
    program(venv / "bin", "python", "echo 'Spark needs Java 17 or 21. Remedy: install it' >&2; exit 1")
    monkeypatch.setattr(set_up, "VENV", venv)
    monkeypatch.setattr(set_up.os, "geteuid", lambda: 1000)
    with pytest.raises(set_up.SetUpError, match="Spark needs Java 17 or 21"):
        set_up.install_java()
