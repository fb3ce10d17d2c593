"""Imports go one way, as CONTRIBUTING.md says; the folder `constructs/` must not hide the package of that name."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

#: Folder → top-level modules that nothing in it may import.
FORBIDDEN = {
    "constructs": {"stacks", "sparkvault", "emulation", "benchmarks", "tests", "app"},
    "stacks": {"sparkvault", "emulation", "benchmarks", "tests", "app"},
    "scripts": {"stacks", "emulation", "tests", "app", "aws_cdk"},
    "assets": {"stacks", "sparkvault", "spark_constructs", "emulation", "benchmarks", "tests", "app", "aws_cdk"},
    "examples": {"stacks", "sparkvault", "spark_constructs", "emulation", "benchmarks", "tests", "app", "aws_cdk"},
}

#: What explicit options of the command line bring in, inside the function that needs it, never when a module is loaded.
LATE = {("scripts/sparkvault/cli/enclave_image.py", "emulation.enclave_vm")}


def imports(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


@pytest.mark.parametrize("folder", FORBIDDEN)
def test_nothing_is_imported_against_the_direction(folder: str) -> None:
    files = list((ROOT / folder).rglob("*.py"))
    assert files or folder == "assets"
    wrong = [
        f"{file.relative_to(ROOT)} imports {name}"
        for file in files
        for name in imports(file)
        if name.split(".")[0] in FORBIDDEN[folder] and (str(file.relative_to(ROOT)), name) not in LATE
    ]
    assert wrong == []


def test_the_emulation_is_never_imported_when_a_module_is_loaded() -> None:
    for path, name in LATE:
        tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
        loaded = [each for each in tree.body if isinstance(each, ast.ImportFrom) and each.module == name]
        assert loaded == [], path


def test_the_constructs_folder_is_no_package() -> None:
    assert not (ROOT / "constructs" / "__init__.py").exists()
    import constructs

    assert hasattr(constructs, "Construct")


def test_no_class_exists_twice_by_another_import_path() -> None:
    wrong = [
        f"{file.relative_to(ROOT)} imports {name}"
        for file in ROOT.rglob("*.py")
        if not {".venv", "node_modules", "cdk.out"} & set(file.relative_to(ROOT).parts)
        for name in imports(file)
        if name.startswith("constructs.spark_constructs")
    ]
    assert wrong == []


def test_requirements_are_pinned_with_hashes() -> None:
    for file in ROOT.glob("requirements*.txt"):
        text = file.read_text(encoding="utf-8")
        pinned = [line for line in text.splitlines() if line and line[0].isalnum()]
        assert pinned
        assert all("==" in line and line.endswith("\\") for line in pinned), file.name
        assert "://" not in text, f"{file.name} names a host"


def test_the_lock_of_the_cdk_names_no_host_and_one_version() -> None:
    lock = (ROOT / "package-lock.json").read_text(encoding="utf-8")
    assert '"resolved"' not in lock
    assert '"node_modules/aws-cdk": {\n      "version": "2.1148.1"' in lock
