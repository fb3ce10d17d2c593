"""When a host is sick: each trouble on both sides of its limit, how long it must last, and who is told of it."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sparkvault_host.agent import health
from sparkvault_host.agent.decide import ENGINE_PATIENCE, decide
from sparkvault_host.agent.health import LASTING_SECONDS, Sickness
from sparkvault_host.agent.model import MarkUnhealthy
from tests.hosts.test_decisions import LEADER
from tests.support.swarm_world import World

#: What `chronyc -c tracking` prints; the fifth field is what the clock is off by, in seconds.
TRACKING = (
    "A9FEA97B,169.254.169.123,4,1795390000.123456789,{offset},0.000003456,0.000020871,-12.345,-0.001,0.050,"
    "0.000312345,0.000201234,16.2,Normal"
)
#: What /proc/pressure/memory holds.
PRESSURE = (
    "some avg10={avg10} avg60={avg60} avg300={avg300} total=4861002\n"
    "full avg10=0.00 avg60=99.00 avg300=0.00 total=3967001\n"
)

Chrony = Callable[[str], None]


@pytest.fixture
def chrony(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Chrony:
    """Makes the body of a program `chronyc`, the only one that there is."""
    programs = tmp_path / "bin"
    programs.mkdir()
    monkeypatch.setenv("PATH", str(programs))

    def make(body: str) -> None:
        program = programs / "chronyc"
        program.write_text(f'#!/bin/sh\n[ "$*" = "-c tracking" ] || exit 64\n{body}\n')
        program.chmod(0o755)

    return make


def volume(monkeypatch: pytest.MonkeyPatch, *, blocks: int, free: int, available: int) -> None:
    """The volume of images and spill has so many blocks; `available` are those that root does not keep."""
    found = os.statvfs_result((4096, 4096, blocks, free, available, 65536, 65000, 65000, 4096, 255))
    monkeypatch.setattr("os.statvfs", lambda folder: found)


def pressure(folder: Path, avg60: str) -> Path:
    file = folder / "memory"
    file.write_text(PRESSURE.format(avg10="99.00", avg60=avg60, avg300="99.00"))
    return file


# Each trouble


@pytest.mark.parametrize("offset", ["0.000012345", "29.999999999", "30.000000000", "-30.000000000"])
def test_a_clock_within_its_limit_is_no_trouble(chrony: Chrony, offset: str) -> None:
    chrony(f"echo {TRACKING.format(offset=offset)}")
    assert health.clock_trouble() == ""


@pytest.mark.parametrize(
    ("offset", "seconds"), [("30.000000001", "30"), ("-30.000000001", "30"), ("3600.000000000", "3600")]
)
def test_a_clock_that_is_off_is_a_trouble_whether_fast_or_slow(chrony: Chrony, offset: str, seconds: str) -> None:
    chrony(f"echo {TRACKING.format(offset=offset)}")
    assert health.clock_trouble() == f"the clock is off by {seconds} s"


@pytest.mark.parametrize("body", ["echo '506 Cannot talk to daemon'; exit 1", "exit 1", "echo ,,,,soon,"])
def test_a_clock_that_nobody_can_judge_is_no_trouble(chrony: Chrony, body: str) -> None:
    chrony(body)
    assert health.clock_trouble() == ""


def test_a_host_without_chrony_has_no_trouble_with_its_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert health.clock_trouble() == ""


def test_a_disk_is_full_above_97_percent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    volume(monkeypatch, blocks=100_000, free=3_000, available=3_000)
    assert health.disk_trouble(tmp_path) == ""
    volume(monkeypatch, blocks=100_000, free=2_999, available=2_999)
    assert health.disk_trouble(tmp_path) == f"{tmp_path} is 97 % full"
    volume(monkeypatch, blocks=100_000, free=0, available=0)
    assert health.disk_trouble(tmp_path) == f"{tmp_path} is 100 % full"


def test_what_only_root_could_still_use_does_not_count_as_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ext4 keeps 5 % back; containers are full when `df` says so."""
    volume(monkeypatch, blocks=100_000, free=5_000, available=0)
    assert health.disk_trouble(tmp_path) == f"{tmp_path} is 100 % full"
    volume(monkeypatch, blocks=100_000, free=10_000, available=5_000)
    assert health.disk_trouble(tmp_path) == ""


def test_a_disk_that_is_gone_is_a_trouble(tmp_path: Path) -> None:
    gone = tmp_path / "docker"
    assert health.disk_trouble(gone) == f"{gone} cannot be read: No such file or directory"


def test_this_machines_own_disk_can_be_read(tmp_path: Path) -> None:
    assert "cannot be read" not in health.disk_trouble(tmp_path)


@pytest.mark.parametrize("avg60", ["0.00", "59.99", "60.00"])
def test_processes_that_wait_for_memory_now_and_then_are_no_trouble(tmp_path: Path, avg60: str) -> None:
    assert health.memory_trouble(pressure(tmp_path, avg60)) == ""


@pytest.mark.parametrize(("avg60", "percent"), [("60.01", "60"), ("99.99", "100")])
def test_processes_that_wait_for_memory_most_of_a_minute_are_a_trouble(
    tmp_path: Path, avg60: str, percent: str
) -> None:
    assert health.memory_trouble(pressure(tmp_path, avg60)) == f"processes wait for memory {percent} % of the time"


@pytest.mark.parametrize("content", ["", "some\n", "some avg10=99.00\n", "some avg60=much\n", "some avg60\n"])
def test_pressure_that_cannot_be_read_is_no_trouble(tmp_path: Path, content: str) -> None:
    file = tmp_path / "memory"
    file.write_text(content)
    assert health.memory_trouble(file) == ""
    assert health.memory_trouble(tmp_path / "of-an-old-kernel") == ""


def test_all_troubles_are_looked_for_and_only_those_that_there_are_are_named(
    chrony: Chrony, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "DATA_FOLDER", tmp_path)
    monkeypatch.setattr(health, "_PRESSURE", pressure(tmp_path, "0.50"))
    volume(monkeypatch, blocks=100_000, free=50_000, available=50_000)
    chrony(f"echo {TRACKING.format(offset='0.000012345')}")
    assert health.troubles() == {}
    chrony(f"echo {TRACKING.format(offset='-41.000000000')}")
    volume(monkeypatch, blocks=100_000, free=1_000, available=1_000)
    assert health.troubles() == {"clock": "the clock is off by 41 s", "disk": f"{tmp_path} is 99 % full"}
    monkeypatch.setattr(health, "_PRESSURE", pressure(tmp_path, "75.00"))
    assert health.troubles()["memory"] == "processes wait for memory 75 % of the time"


# How long it must last


def test_a_trouble_counts_once_it_has_lasted_a_minute() -> None:
    sickness = Sickness(lambda: {"disk": "full"})
    assert LASTING_SECONDS == 60.0
    assert sickness.reason(1000.0) == ""
    assert sickness.reason(1059.9) == ""
    assert sickness.reason(1060.0) == "full"
    assert sickness.reason(2000.0) == "full"


def test_a_trouble_that_was_away_for_a_moment_begins_anew() -> None:
    wrong = {"memory": "tight"}
    sickness = Sickness(lambda: dict(wrong))
    assert sickness.reason(0.0) == ""
    wrong.clear()
    assert sickness.reason(59.0) == ""
    wrong["memory"] = "tight"
    assert sickness.reason(60.0) == ""
    assert sickness.reason(119.9) == ""
    assert sickness.reason(120.0) == "tight"
    wrong.clear()
    assert sickness.reason(121.0) == ""


def test_each_trouble_has_a_minute_of_its_own_and_is_told_as_it_is_now() -> None:
    wrong = {"disk": "98 % full"}
    sickness = Sickness(lambda: dict(wrong))
    assert sickness.reason(0.0) == ""
    wrong["clock"] = "off"
    assert sickness.reason(30.0) == ""
    wrong["disk"] = "99 % full"
    assert sickness.reason(60.0) == "99 % full"
    assert sickness.reason(90.0) == "99 % full; off"


# Who is told


def test_a_sick_host_is_marked_unhealthy_once_and_only_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []

    def aws(*arguments: str, **given: Any) -> Any:
        if arguments[1] != "set-instance-health":
            return world.aws(*arguments, **given)
        assert arguments[arguments.index("--health-status") + 1] == "Unhealthy"
        # Its group has not acted on it yet: the host goes on as it was.
        told.append(arguments[arguments.index("--instance-id") + 1])
        return None

    monkeypatch.setattr("sparkvault_host.agent.act.aws", aws)
    for name, role in (("i-m1", "manager"), ("i-w1", "worker"), ("i-w2", "worker")):
        world.add(name, role)
    assert world.runs_until(world.is_whole, 60)
    wrong: dict[str, str] = {}
    monkeypatch.setattr("tests.support.swarm_world.Sickness", lambda look: Sickness(lambda: dict(wrong)))
    sick = world.hosts["i-w1"]
    world.start_agent(sick)
    world.run(90)
    wrong["disk"] = "/var/lib/docker is 98 % full"
    # The first of so many looks is when it begins.
    world.run(int(LASTING_SECONDS))
    assert told == []
    world.step()
    assert told == ["i-w1"]
    world.run(300)
    # Its next agent knows it, too.
    world.start_agent(sick)
    world.run(300)
    assert told == ["i-w1"]
    assert world.is_whole(), "until it is replaced it does its work"


def test_a_host_whose_engine_does_not_answer_is_marked_unhealthy_after_two_minutes() -> None:
    def marks(seconds: float, *, marked: bool = False) -> list[MarkUnhealthy]:
        seen = replace(LEADER, engine=None, engine_silent_seconds=seconds, marked_unhealthy=marked)
        return [action for action in decide(seen) if isinstance(action, MarkUnhealthy)]

    assert ENGINE_PATIENCE == 120.0
    assert marks(0.0) == marks(120.0) == []
    assert marks(120.1) == [MarkUnhealthy("the Docker engine does not answer")]
    assert marks(1000.0, marked=True) == []
