"""Builds the JVM plugins under `assets/spark-plugins` with Maven, once for each state of their sources."""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from sparkvault.console import say
from sparkvault.errors import NotAvailable, SparkvaultError, UsageError
from sparkvault.java import find_java
from sparkvault.project import project_root

#: Seconds that one run of Maven may take; the first one of a machine downloads what Spark is compiled against.
BUILD_TIMEOUT_SECONDS = 900.0

#: Seconds to wait for another process that builds the same plugin.
LOCK_TIMEOUT_SECONDS = BUILD_TIMEOUT_SECONDS + 60.0

#: What Maven says where it would have to download while told not to.
_OFFLINE_MISSES = ("in offline mode", "has not been downloaded from it before")

_REMEDY = "Debian: apt-get install maven; the repositories it downloads from must be reachable the first time"


def plugin_jar(name: str) -> Path:
    """The jar of the plugin `assets/spark-plugins/<name>`, built if these sources never were.

    Jars are kept by a fingerprint of the sources under ``$XDG_CACHE_HOME/sparkvault/plugins``, so that every clone and
    every test run of a machine shares them. Raises UsageError for a name without a module, NotAvailable without Maven,
    SparkvaultError with the compiler's first errors.
    """
    module = _module(name)
    kept = _cache() / f"{name}-{fingerprint(name)}.jar"
    if kept.is_file():
        return kept
    with _locked(name):
        if kept.is_file():  # another process built it while we waited
            return kept
        say(f"building the plugin {name} (Maven)")
        with tempfile.TemporaryDirectory(prefix=f"sparkvault-{name}-") as folder:
            stage = _stage(module, Path(folder))
            _maven(stage, "package", "-DskipTests", what=f"the plugin {name}")
            fresh = _built(stage, name)
            partial = kept.with_suffix(f".{os.getpid()}")
            shutil.copyfile(fresh, partial)
            partial.replace(kept)
    return kept


def run_plugin_tests(name: str) -> str:
    """Run the plugin's own tests (`mvn test`), once for each state of sources and tests; returns Maven's output.

    Raises SparkvaultError if one fails; a failure is never kept.
    """
    module = _module(name)
    kept = _cache() / f"{name}-tests-{fingerprint(name, 'src')}.log"
    with _locked(name):
        if kept.is_file():
            return kept.read_text(encoding="utf-8")
        with tempfile.TemporaryDirectory(prefix=f"sparkvault-{name}-") as folder:
            output = _maven(_stage(module, Path(folder)), "test", what=f"the tests of the plugin {name}")
        kept.write_text(output, encoding="utf-8")
    return output


def fingerprint(name: str, part: str = "src/main") -> str:
    """16 hexadecimal digits that change with any file that the plugin (or that part of it) is built from."""
    digest = hashlib.sha256()
    module = _module(name)
    for path in [module.parent / "pom.xml", *_sources(module, part)]:
        content = path.read_bytes()
        digest.update(f"{path.relative_to(module.parent)}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()[:16]


def _module(name: str) -> Path:
    parent = project_root() / "assets" / "spark-plugins"
    if not (parent / name / "pom.xml").is_file():
        there = sorted(path.parent.name for path in parent.glob("*/pom.xml"))
        raise UsageError(f"there is no plugin {name!r} under {parent}", f"there are: {', '.join(there) or 'none'}")
    return parent / name


def _sources(module: Path, part: str) -> Iterator[Path]:
    """What is built: no documents, nothing that was made, and of `src/main` no tests."""
    yield module / "pom.xml"
    yield from sorted(path for path in (module / part).rglob("*") if path.is_file())


def _cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME")
    folder = (Path(base) if base else Path.home() / ".cache") / "sparkvault" / "plugins"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise SparkvaultError(
            f"the cache folder {folder} cannot be made: {error.strerror}", "mend it, or set XDG_CACHE_HOME to another"
        ) from error
    return folder


@contextmanager
def _locked(name: str) -> Iterator[None]:
    lock = FileLock(_cache() / f"{name}.lock", timeout=LOCK_TIMEOUT_SECONDS)
    try:
        lock.acquire()
    except Timeout as error:
        raise SparkvaultError(
            f"waited {LOCK_TIMEOUT_SECONDS:.0f} s for another process that builds the plugin {name}, in vain",
            f"end that process; the lock is {lock.lock_file}",
        ) from error
    try:
        yield
    finally:
        lock.release()


def _stage(module: Path, folder: Path) -> Path:
    """A copy of the module beside its parent's pom: nothing is written into the tree, two builds never meet."""
    stage = folder / module.name
    shutil.copytree(module, stage, ignore=shutil.ignore_patterns("target"))
    shutil.copyfile(module.parent / "pom.xml", folder / "pom.xml")
    return stage


def _built(stage: Path, name: str) -> Path:
    jars = [path for path in (stage / "target").glob("*.jar") if not path.name.startswith("original-")]
    if len(jars) != 1:
        raise SparkvaultError(f"Maven made {len(jars)} jars of the plugin {name} where one was expected")
    return jars[0]


def _maven(stage: Path, *goals: str, what: str) -> str:
    """Run Maven, first without the network. Returns its output; raises NotAvailable, SparkvaultError."""
    program = shutil.which("mvn")
    if program is None:
        raise NotAvailable(f"building {what} needs Maven, and this machine has none", _REMEDY)
    output = ""
    for offline in (True, False):
        flags = ["--offline"] if offline else []
        if not offline:
            say("downloading what it is compiled against: once for each machine")
        code, output = _run([program, *flags, "--batch-mode", "--no-transfer-progress", *goals], stage, what)
        if code == 0:
            return output
        if not any(miss in output for miss in _OFFLINE_MISSES):
            break
    raise SparkvaultError(f"building {what} failed:\n{_first_errors(output)}", f"mend {stage.name}, or: {_REMEDY}")


def _run(command: list[str], folder: Path, what: str) -> tuple[int, str]:
    environment = os.environ | {"JAVA_HOME": str(find_java().home)}
    started = time.monotonic()
    try:
        answer = subprocess.run(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=BUILD_TIMEOUT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise SparkvaultError(
            f"waited {time.monotonic() - started:.0f} s for Maven to build {what}, in vain",
            "try again when the machine is less busy, or see whether Maven's repositories answer",
        ) from error
    return answer.returncode, answer.stdout + answer.stderr


def _first_errors(output: str) -> str:
    # The compiler's warnings count as errors (-Werror), and only they name the place then.
    signs = ("ERROR", "*** FAILED ***", ": warning:")
    said = output.splitlines()
    marked = [any(sign in line for sign in signs) for line in said]
    # With the line after: scalatest says there what was expected.
    lines = [line for line, own, before in zip(said, marked, [False, *marked], strict=False) if own or before]
    return "\n".join((lines or said)[:12])


def main() -> int:
    """``python -m sparkvault.plugins``: build every plugin that was never built, so that no test waits for it."""
    for name in sorted(each.parent.name for each in (project_root() / "assets" / "spark-plugins").glob("*/pom.xml")):
        print(f"· plugin {name}", flush=True)
        try:
            plugin_jar(name)
        except NotAvailable as error:
            print(error, file=sys.stderr)
            return 1 if os.environ.get("CI") == "true" else 0
        except SparkvaultError as error:
            print(error, file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
