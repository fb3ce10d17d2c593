"""Java 17 or 21 is found wherever it lies; anything else is one clear error that names what is there."""

from pathlib import Path

import pytest

from sparkvault.errors import SparkvaultError
from sparkvault.java import find_java


def fake_java(home: Path, version: str, *, modules: bool = True) -> Path:
    """A `java` that answers as that version does: Java 8 knows no modules, small runtimes lack some."""
    program = home / "bin" / "java"
    program.parent.mkdir(parents=True)
    refusal = "" if modules else 'case "$*" in *--add-modules*) echo "Module not found" >&2; exit 1;; esac\n'
    program.write_text(f"#!/bin/sh\n{refusal}echo 'openjdk version \"{version}\" 2026-01-20' >&2\n")
    program.chmod(0o755)
    return home


def environment(**more: str) -> dict[str, str]:
    return {"PATH": "/nonexistent", **more}


def test_the_java_of_this_machine_is_found() -> None:
    java = find_java()
    assert java.major in (17, 21)
    assert java.program.is_file()


@pytest.mark.parametrize("version", ["17.0.15", "21", "21.0.7-ea"])
def test_java_home_comes_first(tmp_path: Path, version: str) -> None:
    home = fake_java(tmp_path / "a jdk", version)
    fake_java(tmp_path / "other", "17.0.1")
    java = find_java(environment(JAVA_HOME=str(home), PATH=f"{tmp_path}/other/bin"), places=())
    assert (java.home, java.version, java.major) == (home, version, int(version[:2]))


def test_one_on_path_will_do_and_so_will_one_in_the_usual_places(tmp_path: Path) -> None:
    home = fake_java(tmp_path / "jvm" / "java-17", "17.0.15")
    assert find_java(environment(PATH=str(home / "bin")), places=()).home == home
    assert find_java(environment(), places=(f"{tmp_path}/jvm/*",)).home == home


def test_one_that_does_not_fit_is_passed_over(tmp_path: Path) -> None:
    old = fake_java(tmp_path / "jvm" / "java-11", "11.0.2")
    good = fake_java(tmp_path / "jvm" / "java-17", "17.0.15")
    assert find_java(environment(JAVA_HOME=str(old)), places=(f"{tmp_path}/jvm/*",)).home == good


def test_no_java_at_all(tmp_path: Path) -> None:
    with pytest.raises(SparkvaultError, match="this machine has no Java") as error:
        find_java(environment(), places=(f"{tmp_path}/*",))
    assert "install OpenJDK 17 or 21" in (error.value.remedy or "")


@pytest.mark.parametrize(
    ("version", "reason"),
    [("11.0.2", "too old"), ("1.8.0_402", "too old"), ("25.0.1", "not supported"), ("19.0.2", "not supported")],
)
def test_only_a_java_that_does_not_fit(tmp_path: Path, version: str, reason: str) -> None:
    home = fake_java(tmp_path / "jdk", version)
    with pytest.raises(SparkvaultError) as error:
        find_java(environment(JAVA_HOME=str(home)), places=())
    assert f"{version} in {home} ({reason}" in error.value.what


def test_a_runtime_without_the_vector_module(tmp_path: Path) -> None:
    home = fake_java(tmp_path / "jre", "17.0.15", modules=False)
    with pytest.raises(SparkvaultError, match=r"without the module jdk\.incubator\.vector"):
        find_java(environment(JAVA_HOME=str(home)), places=())


def test_a_launcher_with_nothing_behind_it_is_no_java(tmp_path: Path) -> None:
    program = tmp_path / "bin" / "java"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\nexit 1\n")
    program.chmod(0o755)
    with pytest.raises(SparkvaultError, match="no Java"):
        find_java(environment(JAVA_HOME=str(tmp_path)), places=())
