"""Every broken configuration in `broken/` gets exactly one error, which names path, value, rule and remedy.

What is expected stands in comments at the end of each file (beside it for JSON, which has none).
"""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from spark_constructs.config_errors import ConfigError
from spark_constructs.config_source import load_file

BROKEN = sorted(file for file in (Path(__file__).parent / "broken").iterdir() if file.suffix != ".expected")


def expected(file: Path) -> dict[str, str]:
    beside = file.with_name(file.name + ".expected")
    text = (beside if beside.exists() else file).read_text()
    return dict(re.findall(r"^# (path|rule|remedy): (.*)$", text, re.MULTILINE))


def test_there_are_at_least_forty_of_them() -> None:
    assert len(BROKEN) >= 40


@pytest.mark.parametrize("file", BROKEN, ids=lambda file: file.stem)
def test_a_broken_file_gets_one_error_with_path_value_rule_and_remedy(file: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_file(file)
    wanted = expected(file)
    assert [problem.path for problem in caught.value.problems] == [wanted["path"]], str(caught.value)
    (problem,) = caught.value.problems
    assert wanted["rule"] in problem.rule
    assert wanted["remedy"] in problem.remedy
    assert problem.value


def test_the_command_line_names_all_of_them_and_ends_with_2() -> None:
    command = [sys.executable, "-m", "sparkvault", "config", "check", "--json", *map(str, BROKEN)]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert answer.returncode == 2, answer.stderr
    report = json.loads(answer.stdout)
    assert [Path(entry["source"]) for entry in report] == BROKEN
    for entry in report:
        assert entry["valid"] is False
        assert all(problem[key] for problem in entry["problems"] for key in ("path", "value", "rule", "remedy"))
