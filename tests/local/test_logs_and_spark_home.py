"""The line of a log that tells why, lines as they grow, and which Spark is the right one."""

from pathlib import Path

import pytest

from sparkvault.errors import SparkvaultError
from sparkvault.targets.local.log_tail import grow, reason_in, tail
from sparkvault.targets.local.spark_home import find_spark


@pytest.mark.parametrize(
    ("log", "reason"),
    [
        (
            "Traceback (most recent call last):\n  File\nValueError: no price\n26/11/21 10:00:00 WARN x: y\n",
            "ValueError: no price",
        ),
        (
            "Caused by: java.net.BindException: Address already in use\n\tat x.y.Z\n",
            "Caused by: java.net.BindException: Address already in use",
        ),
        (
            "2026-11-21 10:00:00 ERROR Master: it broke\n2026-11-21 10:00:01 INFO Master: bye\n",
            "2026-11-21 10:00:00 ERROR Master: it broke",
        ),
        ("one\ntwo\n\n", "two"),
        ("WARNING: Using incubator modules: jdk.incubator.vector\n", "it said nothing"),
        ("", "it said nothing"),
    ],
)
def test_the_reason_in_a_log(tmp_path: Path, log: str, reason: str) -> None:
    path = tmp_path / "log"
    path.write_text(log)
    assert reason_in(path) == reason


def test_no_log_at_all(tmp_path: Path) -> None:
    assert reason_in(tmp_path / "log") == "it left no log"


def test_a_growing_file_is_read_line_by_line_to_its_very_end(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"one\r\ntw")
    steps = iter([b"o\nthr", b"ee \xff", b""])

    def ended() -> bool:
        written = next(steps)
        with path.open("ab") as file:
            file.write(written)
        return not written

    assert list(grow(path, ended)) == ["one", "two", "three \N{REPLACEMENT CHARACTER}"]


def test_a_file_that_never_came_has_no_lines(tmp_path: Path) -> None:
    assert list(grow(tmp_path / "log", lambda: True)) == []


def test_the_last_lines_of_several_files_then_what_is_new(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_text("1\n2\n3\n")
    other.write_text("a\n")
    asked = iter([False, True])

    def ended() -> bool:
        with one.open("a") as file:
            file.write("4\n")
        return next(asked)

    lines = list(tail({"one": one, "other": other}, 2, ended))
    assert lines == [("one", "2"), ("one", "3"), ("other", "a"), ("one", "4"), ("one", "4")]


def test_spark_is_the_installed_packages() -> None:
    home = find_spark({})
    assert home.name == "pyspark"
    assert (home / "bin" / "spark-submit").is_file()


def test_a_spark_home_of_another_version_or_of_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SparkvaultError, match=r"holds no Spark 4\.2\.0"):
        find_spark({"SPARK_HOME": str(tmp_path)})
    (tmp_path / "jars").mkdir()
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "spark-class").touch()
    (tmp_path / "jars" / "spark-core_2.13-4.0.1.jar").touch()
    with pytest.raises(SparkvaultError, match=r"holds Spark 4\.0\.1, not 4\.2\.0") as error:
        find_spark({"SPARK_HOME": str(tmp_path)})
    assert "unset SPARK_HOME" in (error.value.remedy or "")
