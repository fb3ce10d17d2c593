"""Every promise of the threat model names the tests that show it, and those tests are there."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
PAGE = TESTS.parents[1] / "docs" / "enclave-threat-model.md"
HEADING = "## Which test shows it"


def promises() -> list[tuple[str, list[tuple[str, str]]]]:
    """Each row of the table: the promise, and (file, test) of what shows it."""
    table = PAGE.read_text(encoding="utf-8").split(HEADING, 1)[1].split("\n## ", 1)[0]
    rows = [line.strip("| ").split(" | ") for line in table.splitlines() if line.startswith("| ")][1:]
    return [(promise, re.findall(r"`(\w+)::(\w+)`", shown)) for promise, shown in rows]


@cache
def names_in(file: str) -> frozenset[str]:
    tree = ast.parse((TESTS / f"{file}.py").read_text(encoding="utf-8"))
    found = (node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))
    return frozenset(name for name in found if name.startswith("test_"))


@pytest.mark.parametrize(("promise", "shown"), promises(), ids=lambda value: value if isinstance(value, str) else "")
def test_a_promise_is_shown_by_tests_that_are_there(promise: str, shown: list[tuple[str, str]]) -> None:
    assert shown, f"no test shows that {promise}"
    assert [f"{file}::{test}" for file, test in shown if test not in names_in(file)] == []


def test_there_are_promises() -> None:
    assert len(promises()) >= 20
