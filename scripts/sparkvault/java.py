"""Which Java runs Spark on this machine: 17 or 21, with the module that Spark 4 needs, or one clear error."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from sparkvault.errors import SparkvaultError

#: Spark 4.2 is built for and tested on these (its documentation, "Overview").
SUPPORTED = (17, 21)

#: Spark's launcher adds this module on every start; small runtimes such as those inside wheels lack it.
NEEDED_MODULE = "jdk.incubator.vector"

_REMEDY = "install OpenJDK 17 or 21 (Debian: apt-get install openjdk-17-jre-headless) or set JAVA_HOME to one"

#: Where packages and installers put Java, beside JAVA_HOME and PATH.
_USUAL_PLACES = (
    "/usr/lib/jvm/*",
    "/usr/java/*",
    "/opt/java/*",
    "/Library/Java/JavaVirtualMachines/*/Contents/Home",
    "~/.sdkman/candidates/java/*",
)


@dataclass(frozen=True)
class Java:
    """A Java runtime: its home folder, its version (`17.0.15`) and the first number of that."""

    home: Path
    version: str
    major: int

    @property
    def program(self) -> Path:
        """The `java` launcher."""
        return self.home / "bin" / "java"


def find_java(environment: Mapping[str, str] | None = None, places: tuple[str, ...] = _USUAL_PLACES) -> Java:
    """The Java to run Spark with: JAVA_HOME's if it fits, else the one on PATH, else one from the usual places.

    Raises SparkvaultError that names what was found instead.
    """
    unfit: list[str] = []
    for home in _homes(os.environ if environment is None else environment, places):
        java = _java_at(home)
        if java is None:
            continue
        reason = _unfit(java)
        if reason is None:
            return java
        unfit.append(f"{java.version} in {java.home} ({reason})")
    if not unfit:
        raise SparkvaultError("Spark needs Java 17 or 21, and this machine has no Java", _REMEDY)
    raise SparkvaultError(f"Spark needs Java 17 or 21; found only {', '.join(unfit)}", _REMEDY)


def _homes(environment: Mapping[str, str], places: tuple[str, ...]) -> Iterator[Path]:
    """Candidates in order of preference, each once."""
    seen: set[Path] = set()
    for home in _all_homes(environment, places):
        resolved = home.resolve()
        if resolved not in seen and (resolved / "bin" / "java").is_file():
            seen.add(resolved)
            yield resolved


def _all_homes(environment: Mapping[str, str], places: tuple[str, ...]) -> Iterator[Path]:
    if environment.get("JAVA_HOME"):
        yield Path(environment["JAVA_HOME"])
    on_path = shutil.which("java", path=environment.get("PATH", os.defpath))
    if on_path:
        yield Path(on_path).resolve().parent.parent
    for place in places:
        pattern = Path(place).expanduser()
        anchor, wildcard = _split(pattern)
        if anchor.is_dir():
            yield from sorted(anchor.glob(wildcard))


def _split(pattern: Path) -> tuple[Path, str]:
    """A pattern as the folder before its first wildcard and the rest."""
    fixed = next(parent for parent in pattern.parents if "*" not in str(parent))
    return fixed, str(pattern.relative_to(fixed))


def _java_at(home: Path) -> Java | None:
    """What lies in that folder; None where its `java` does not run (a wrapper without a runtime behind it)."""
    answer = _ask(home / "bin" / "java", "-version")
    if answer is None or answer.returncode != 0:
        return None
    match = re.search(r'version "((?:1\.)?(\d+)[^"]*)"', answer.stderr + answer.stdout)
    return Java(home, match[1], int(match[2])) if match else None


def _unfit(java: Java) -> str | None:
    """Why Spark cannot run on it, None if it can."""
    if java.major < min(SUPPORTED):
        return "too old"
    if java.major not in SUPPORTED:
        return "not supported by Spark 4.2"
    answer = _ask(java.program, "--add-modules", NEEDED_MODULE, "-version")
    if answer is None or answer.returncode != 0:
        return f"without the module {NEEDED_MODULE}"
    return None


def _ask(program: Path, *arguments: str) -> subprocess.CompletedProcess[str] | None:
    try:
        return subprocess.run([program, *arguments], capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.SubprocessError):
        return None


def main() -> int:
    """`python -m sparkvault.java`: print where Java is, or what is missing; the set-up asks this way."""
    try:
        java = find_java()
    except SparkvaultError as error:
        print(f"{error.what}. Remedy: {error.remedy}", file=sys.stderr)
        return 1
    print(java.home)
    return 0


if __name__ == "__main__":
    sys.exit(main())
