"""The ramdisk with what others have written: Debian's libraries, Python and its wheels, a Java runtime by jlink."""

from __future__ import annotations

import shutil
import subprocess
import sysconfig
import zipfile
from pathlib import Path, PurePosixPath
from typing import Final

from spark_enclave_image import debian_packages
from spark_enclave_image.errors import EifInputError
from spark_enclave_image.image_tree import ImageTree
from spark_enclave_image.pinned_inputs import InputLock, InputStore
from spark_enclave_image.recipe import Recipe, left_out

JAVA_HOME: Final = "opt/java"
PYTHON_PACKAGES: Final = "usr/lib/python3/dist-packages"
#: Debian 12 has these folders under /usr, and links to them in the root.
MERGED: Final = ("bin", "lib", "lib64", "sbin")
_JDK: Final = "usr/lib/jvm/java-17-openjdk-amd64"
_TOOL_TIMEOUT_SECONDS: Final = 900

#: Runs in the image's own Python: compiles each file given on a line as `path on disk<TAB>path in the image`. The root
#: is read-only, so that bytecode that is never compared with its source is right for ever; and it holds no time.
_COMPILE: Final = """
import py_compile, sys
for line in sys.stdin:
    source, place = line.rstrip("\\n").split("\\t")
    try:
        py_compile.compile(source, dfile=place, doraise=True,
                           invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
    except py_compile.PyCompileError:
        pass
"""


def stage(folder: Path, lock: InputLock, store: InputStore, recipe: Recipe) -> None:
    """Lay out the system under `folder` (empty). Raises EifInputError."""
    for package in lock.debian["system"]:
        _add_debian(folder, store.debian(package, lock.snapshot), recipe.system.leave_out)
    for wheel in lock.python["system"]:
        _add_wheel(folder / PYTHON_PACKAGES, store.wheel(wheel), recipe.system.leave_out)
    for name in MERGED:
        (folder / "usr" / name).mkdir(parents=True, exist_ok=True)
        (folder / name).symlink_to(f"usr/{name}")
    _add_java(folder, lock, store, recipe)
    compile_python(folder, folder, [folder / "usr" / "lib"])
    etc = folder / "etc"
    etc.mkdir(exist_ok=True)
    (etc / "passwd").write_text("root:x:0:0::/nonexistent:/bin/false\n")
    (etc / "group").write_text("root:x:0:\n")
    # Where the first process mounts file systems.
    for name in ("proc", "sys", "dev", "run", "tmp"):
        (folder / name).mkdir()


def tree(folder: Path) -> ImageTree:
    """What was staged, as a ramdisk's files."""
    made = ImageTree()
    made.add_tree("", folder)
    return made


def run_staged(
    system: Path, program: Path, arguments: list[str], *, stdin: bytes = b"", home: Path | None = None
) -> bytes:
    """Run a Debian program with the C library of the staged system, not this machine's; returns its output.

    Raises EifInputError.
    """
    libraries = system / "usr/lib/x86_64-linux-gnu"
    loader = libraries / "ld-linux-x86-64.so.2"
    command = [str(loader), "--library-path", str(libraries), str(program), *arguments]
    environment = {"PYTHONHASHSEED": "0", "LC_ALL": "C.UTF-8", "PATH": "/usr/bin:/bin"}
    environment |= {"PYTHONHOME": str(home)} if home else {}
    done = subprocess.run(
        command, input=stdin, capture_output=True, env=environment, timeout=_TOOL_TIMEOUT_SECONDS, check=False
    )
    if done.returncode != 0:
        words = done.stderr.decode(errors="replace").strip()[-600:]
        raise EifInputError(f"{program.name} of the image's tools failed ({done.returncode}): {words}")
    return done.stdout


def compile_python(system: Path, root: Path, folders: list[Path]) -> None:
    """Byte-compile the Python below `folders`, which lie in `root`, with the image's own Python out of `system`."""
    sources = sorted(path for folder in folders for path in folder.rglob("*.py") if path.is_file())
    lines = "".join(f"{path}\t/{path.relative_to(root).as_posix()}\n" for path in sources)
    python = system / "usr/bin/python3.11"
    run_staged(system, python, ["-S", "-B", "-c", _COMPILE], stdin=lines.encode(), home=system / "usr")


def _merged(path: str) -> str:
    first, _, rest = path.partition("/")
    return f"usr/{first}/{rest}" if first in MERGED and rest else path


def _add_debian(root: Path, package: Path, patterns: dict[str, str]) -> None:
    for original, member, data in debian_packages.members(package):
        path = _merged(original)
        if member.isdir() or left_out(path, patterns):
            continue
        place = root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        if place.is_symlink() or place.exists():
            continue
        if member.issym():
            place.symlink_to(member.linkname)
        else:
            place.write_bytes(data)
            place.chmod(0o755 if member.mode & 0o100 else 0o644)


def _add_wheel(root: Path, wheel: Path, patterns: dict[str, str]) -> None:
    with zipfile.ZipFile(wheel) as archive:
        for info in sorted(archive.infolist(), key=lambda entry: entry.filename):
            name = info.filename
            path = PurePosixPath(name)
            if info.is_dir() or left_out(f"{PYTHON_PACKAGES}/{name}", patterns) or path.parts[0].endswith(".data"):
                continue
            if path.is_absolute() or ".." in path.parts:
                raise EifInputError(f"The wheel {wheel.name} wants to write {name} outside of its folder.")
            place = root / name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(archive.read(info))
            place.chmod(0o644)


def _add_java(root: Path, lock: InputLock, store: InputStore, recipe: Recipe) -> None:
    jdk = root.with_name(f"{root.name}.jdk")
    shutil.rmtree(jdk, ignore_errors=True)
    for package in lock.debian["java"]:
        debian_packages.unpack(store.debian(package, lock.snapshot), jdk)
    runtime = root.with_name(f"{root.name}.java")
    shutil.rmtree(runtime, ignore_errors=True)
    command = [str(jdk / _JDK / "bin/jlink"), "--module-path", str(jdk / _JDK / "jmods")]
    command += ["--add-modules", ",".join(recipe.java.modules), "--strip-debug", "--no-man-pages", "--no-header-files"]
    # Packed once, by the ramdisk: smaller than packed twice, and classes load faster.
    # The plugin system-modules writes a class in the order of a hash that is salted anew in each run (JDK 17).
    command += ["--compress=0", "--disable-plugin", "system-modules", "--output", str(runtime)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TOOL_TIMEOUT_SECONDS, check=False)
    except OSError as error:
        raise EifInputError(f"jlink cannot be run on this machine ({error}); it needs Linux on x86-64.") from None
    if done.returncode != 0:
        glibc = sysconfig.get_config_var("HOST_GNU_TYPE")
        raise EifInputError(f"jlink failed on {glibc}: {(done.stderr or done.stdout).strip()[-600:]}")
    for path in sorted(runtime.rglob("*")):
        name = path.relative_to(runtime).as_posix()
        if path.is_dir() or left_out(name, recipe.java.leave_out):
            continue
        place = root / JAVA_HOME / name
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, place)
        place.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)
    shutil.rmtree(jdk)
    shutil.rmtree(runtime)
