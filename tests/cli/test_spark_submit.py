"""A command line with options of sparkvault and flags of spark-submit is taken apart as people expect."""

import pytest

from sparkvault.errors import UsageError
from sparkvault.spark_submit import split

VALUES = ["--target", "--tenant"]
SWITCHES = ["--detach"]


@pytest.mark.parametrize(
    ("line", "own", "spark", "rest"),
    [
        ("app.py", [], [], ["app.py"]),
        ("--target local app.py 1 2", ["--target", "local"], [], ["app.py", "1", "2"]),
        ("--class a.B --target local app.jar", ["--target", "local"], ["--class", "a.B"], ["app.jar"]),
        ("--detach --conf a=b --conf c=d=e app.py", ["--detach"], ["--conf", "a=b", "--conf", "c=d=e"], ["app.py"]),
        ("--executor-memory=2g app.py", [], ["--executor-memory", "2g"], ["app.py"]),
        ("app.py --target x --conf y", [], [], ["app.py", "--target", "x", "--conf", "y"]),
        ("-- --odd-name.py", [], [], ["--odd-name.py"]),
        ("--verbose app.py -v", [], ["--verbose"], ["app.py", "-v"]),
    ],
)
def test_options_before_the_application_are_sorted_and_those_after_it_are_its_own(
    line: str, own: list[str], spark: list[str], rest: list[str]
) -> None:
    parts = split(line.split(), VALUES, SWITCHES)
    assert (parts.own, parts.spark, parts.rest) == (own, spark, rest)


@pytest.mark.parametrize("line", ["--clas a.B app.jar", "--conf", "--target", "-x app.py"])
def test_a_flag_that_nobody_knows_or_without_its_value_is_refused(line: str) -> None:
    with pytest.raises(UsageError):
        split(line.split(), VALUES, SWITCHES)
