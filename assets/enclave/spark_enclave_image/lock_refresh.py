"""Makes the lock file of the image's inputs anew: Debian's newest packages as apt verifies them, wheels of pip's index.

Debian's archive signatures are checked by apt with Debian's own keyring; wheels must be among the digests that
requirements.txt has for their version. What changed is for the reviewer to judge.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from spark_enclave_image.errors import EifInputError
from spark_enclave_image.pinned_inputs import DebianPackage, InputLock, PythonPackage, sha256_of
from spark_enclave_image.recipe import Packages, Recipe
from spark_enclave_image.spark_part import chosen_jars, spark_jars_folder

_KEYRING: Final = "/usr/share/keyrings/debian-archive-keyring.gpg"
_SUITES: Final = (
    ("debian", "bookworm"),
    ("debian", "bookworm-updates"),
    ("debian", "bookworm-backports"),
    ("debian-security", "bookworm-security"),
)
_APT_TIMEOUT_SECONDS: Final = 300
_PIP_TIMEOUT_SECONDS: Final = 600
#: The image's C library is Debian 12's, 2.36.
_PLATFORMS: Final = ("manylinux_2_36_x86_64", "manylinux_2_34_x86_64", "manylinux_2_28_x86_64", "manylinux_2_17_x86_64",
                     "manylinux2014_x86_64", "manylinux_2_12_x86_64", "manylinux2010_x86_64", "any")  # fmt: skip


def refreshed(recipe: Recipe, requirements: Path) -> InputLock:
    """The lock file as it should be today; needs apt (Debian or its relatives) and pip. Raises EifInputError."""
    uses = {"system": recipe.system, "java": recipe.java, "compression": recipe.compression}
    uses |= {"kernel-vm-test": recipe.kernel_vm_test}
    admitted = _admitted(requirements)
    return InputLock(
        snapshot=datetime.now(UTC).strftime("%Y%m%dT000000Z"),
        debian=_debian({use: packages.debian for use, packages in uses.items()}),
        python={
            "system": _wheels(recipe.system, admitted),
            "compiler": _wheels(recipe.compiler, None),
        },
        spark_jars={jar.name: sha256_of(jar) for jar in chosen_jars(spark_jars_folder(), recipe)},
    )


def changes(old: InputLock, new: InputLock) -> list[str]:
    """What a person should look at: `libssl3 3.0.19 → 3.0.20`, one line each."""
    before, after = _versions(old), _versions(new)
    return [
        f"{name} {before.get(name, 'absent')} → {after.get(name, 'absent')}"
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name)
    ]


def _versions(lock: InputLock) -> dict[str, str]:
    found = {f"{use}: {entry.name}": entry.version for use, entries in lock.debian.items() for entry in entries}
    found |= {f"{use}: {entry.name}": entry.version for use, entries in lock.python.items() for entry in entries}
    return found | {f"spark: {name}": digest[:16] for name, digest in lock.spark_jars.items()}


def _debian(uses: dict[str, tuple[str, ...]]) -> dict[str, tuple[DebianPackage, ...]]:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for name in ("lists/partial", "cache/archives/partial"):
            (root / name).mkdir(parents=True)
        (root / "status").touch()
        (root / "sources.list").write_text(
            "".join(f"deb [signed-by={_KEYRING}] http://deb.debian.org/{a} {suite} main\n" for a, suite in _SUITES)
        )
        options = {
            "Dir::State": root, "Dir::State::status": root / "status", "Dir::Cache": root / "cache",
            "Dir::Etc::sourcelist": root / "sources.list", "Dir::Etc::sourceparts": "/dev/null",
            "APT::Architecture": "amd64", "APT::Get::AllowUnauthenticated": "false", "Acquire::Languages": "none",
        }  # fmt: skip
        base = ["apt-get", *(part for key, value in options.items() for part in ("-o", f"{key}={value}"))]
        _run([*base, "update", "-qq"])
        names = sorted({name for wanted in uses.values() for name in wanted})
        printed = _run([*base, "download", "--print-uris", *names])
    found = dict(map(_debian_package, printed.splitlines()))
    missing = [name for name in names if name not in found]
    if missing:
        raise EifInputError(f"Debian has no {', '.join(missing)}; change the recipe.")
    return {use: tuple(found[name] for name in wanted) for use, wanted in uses.items()}


def _debian_package(line: str) -> tuple[str, DebianPackage]:
    match = re.fullmatch(r"'(\S+)' (\S+) \d+ SHA256:([0-9a-f]{64})", line.strip())
    if match is None:
        raise EifInputError(f"apt-get said something else than the place of a package: {line}")
    url, file, digest = match.groups()
    _, archive, path = urlsplit(url).path.split("/", 2)
    name, version, _ = unquote(file).rsplit(".", 1)[0].split("_")
    return name, DebianPackage(name=name, version=unquote(version), sha256=digest, archive=archive, path=path)


def _wheels(packages: Packages, admitted: dict[str, tuple[str, set[str]]] | None) -> tuple[PythonPackage, ...]:
    wanted = []
    for entry in packages.python:
        name, _, version = entry.partition("==")
        if admitted is not None and name not in admitted:
            raise EifInputError(f"{name} is in the recipe but not in requirements.txt.")
        wanted.append((name, version or (admitted or {})[name][0]))
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        command += ["--only-binary=:all:", "--implementation=cp", "--python-version=3.11", "--abi=cp311", "--abi=abi3"]
        command += ["--abi=none", f"--dest={folder}", *(f"--platform={tag}" for tag in _PLATFORMS)]
        _run([*command, *(f"{name}=={version}" for name, version in wanted)])
        files = {_normal(path.name.split("-")[0]): path for path in Path(folder).glob("*.whl")}
        found = []
        for name, version in wanted:
            path = files[_normal(name)]
            digest = sha256_of(path)
            if admitted is not None and digest not in admitted[name][1]:
                raise EifInputError(f"{path.name} is none of the files that requirements.txt admits.")
            found.append(PythonPackage(name=name, version=version, sha256=digest, file=path.name))
    return tuple(found)


def _admitted(requirements: Path) -> dict[str, tuple[str, set[str]]]:
    found: dict[str, tuple[str, set[str]]] = {}
    current: set[str] = set()
    for line in requirements.read_text(encoding="utf-8").splitlines():
        if match := re.match(r"([A-Za-z0-9_.-]+)==([^ ;\\]+)", line):
            current = set()
            found[_normal(match[1])] = (match[2], current)
        current.update(re.findall(r"--hash=sha256:([0-9a-f]{64})", line))
    return found


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _run(command: list[str]) -> str:
    limit = _APT_TIMEOUT_SECONDS if command[0] == "apt-get" else _PIP_TIMEOUT_SECONDS
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit, check=False)
    except FileNotFoundError:
        raise EifInputError(f"{command[0]} is not there; refresh the lock file on Debian.") from None
    except subprocess.TimeoutExpired:
        raise EifInputError(f"{command[0]} did not end within {limit} s.") from None
    if done.returncode != 0:
        raise EifInputError(f"{command[0]} failed: {done.stderr.strip()[-600:]}")
    return done.stdout
