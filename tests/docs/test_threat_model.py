"""Every mitigation in the threat models names a test that there is."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
NAMED = re.compile(r"`(tests/[\w/]+\.py)((?:::\w+)+)`")


def there(file: Path) -> set[str]:
    """`::name` and `::Class::name` of all tests in it."""
    found = set()
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef):
            found.add(f"::{node.name}")
        if isinstance(node, ast.ClassDef):
            found |= {f"::{node.name}::{each.name}" for each in node.body if isinstance(each, ast.FunctionDef)}
    return found


def test_each_named_test_exists() -> None:
    named = NAMED.findall((ROOT / "docs" / "threat-model.md").read_text(encoding="utf-8"))
    assert len(named) > 30
    missing = [file + name for file, name in named if not (ROOT / file).is_file() or name not in there(ROOT / file)]
    assert missing == []
