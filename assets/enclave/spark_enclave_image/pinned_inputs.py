"""What an image is made of that others have made: each file known by its SHA-256, fetched once and kept.

The lock file is the whole list. A file that is not of its digest is never used, wherever it came from; so mirrors,
proxies and the kept copies need not be trusted.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

from spark_enclave_image.errors import EifInputError

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]

LOCK_FILE: Final = Path(__file__).parent.parent / "rootfs" / "inputs.lock.json"
#: Names the folder of kept inputs, where it shall not be ~/.cache/sparkvault/enclave.
CACHE_VARIABLE: Final = "SPARKVAULT_ENCLAVE_CACHE"
#: Names a mirror of Debian, where the public one is not reached.
MIRROR_VARIABLE: Final = "SPARKVAULT_DEBIAN_MIRROR"

_MIRROR: Final = "http://deb.debian.org"
#: Keeps every version that Debian ever had; mirrors keep the last ones.
_ARCHIVE: Final = "http://snapshot.debian.org/archive"
_ATTEMPTS: Final = 3
_TIMEOUT_SECONDS: Final = 60
_PIP_TIMEOUT_SECONDS: Final = 600
_CHUNK: Final = 1 << 20


class _Pinned(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    version: str
    sha256: Sha256


class DebianPackage(_Pinned):
    """A binary package: `archive` is `debian` or `debian-security`, `path` its place there."""

    archive: str
    path: str


class PythonPackage(_Pinned):
    """A wheel: its whole file name says for which Python and platform it is."""

    file: str


class InputLock(BaseModel):
    """The lock file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    snapshot: str
    """When the Debian packages were chosen (`20261121T000000Z`): where the archive of old versions has them."""
    debian: dict[str, tuple[DebianPackage, ...]]
    """By use: `system` goes into the image, `java` and `compression` make parts of it, `kernel-vm-test` is a kernel."""
    python: dict[str, tuple[PythonPackage, ...]]
    """By use: `system` goes into the image, `compiler` makes our init."""
    spark_jars: dict[str, Sha256]
    """Jars of Spark's distribution that go into the image."""

    @classmethod
    def load(cls, path: Path = LOCK_FILE) -> InputLock:
        """Read it; raises EifInputError."""
        try:
            return cls.model_validate(json.loads(path.read_bytes()))
        except (OSError, ValueError, ValidationError) as error:
            raise EifInputError(f"The lock file {path} cannot be read: {error}") from None

    def to_json(self) -> str:
        """As it is committed."""
        return json.dumps(self.model_dump(mode="json"), indent=2, sort_keys=True) + "\n"


def cache_folder() -> Path:
    """Where inputs and intermediate products are kept, by content; made if it is missing."""
    given = os.environ.get(CACHE_VARIABLE)
    folder = Path(given).expanduser() if given else Path.home() / ".cache" / "sparkvault" / "enclave"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


class InputStore:
    """Gives pinned files, fetching those that are not kept yet."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = (folder or cache_folder()) / "inputs"
        self._folder.mkdir(parents=True, exist_ok=True)

    def debian(self, package: DebianPackage, snapshot: str) -> Path:
        """The package's file; raises EifInputError when no server has it."""
        mirror = os.environ.get(MIRROR_VARIABLE, _MIRROR).rstrip("/")
        urls = [f"{mirror}/{package.archive}/{package.path}", f"{_ARCHIVE}/{package.archive}/{snapshot}/{package.path}"]
        return self._kept(package, lambda out: _download(urls, out))

    def wheel(self, package: PythonPackage) -> Path:
        """The wheel; raises EifInputError when pip's index has none of that digest."""
        return self._kept(package, lambda out: _pip_download(package, out))

    def _kept(self, package: DebianPackage | PythonPackage, fetch: Callable[[Path], None]) -> Path:
        kept = self._folder / package.sha256
        if kept.is_file():
            return kept
        with tempfile.TemporaryDirectory(dir=self._folder) as folder:
            fetched = Path(folder) / "file"
            fetch(fetched)
            found = sha256_of(fetched)
            if found != package.sha256:
                raise EifInputError(
                    f"{package.name} {package.version} has the SHA-256 {found}, the lock file says {package.sha256}. "
                    "Do not use it; if its maker replaced the file, `sparkvault pins update` shows what changed."
                )
            fetched.replace(kept)
        return kept


def sha256_of(path: Path) -> str:
    """Hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _download(urls: list[str], out: Path) -> None:
    problems = []
    for url in urls:
        for attempt in range(_ATTEMPTS):
            try:
                with urllib.request.urlopen(url, timeout=_TIMEOUT_SECONDS) as answer, out.open("wb") as file:  # noqa: S310
                    shutil.copyfileobj(answer, file, _CHUNK)
                return
            except urllib.error.HTTPError as error:
                problems.append(f"{url}: HTTP {error.code}")
                break
            except OSError as error:
                problems.append(f"{url}: {error}")
                time.sleep(2**attempt)
    raise EifInputError(
        "A Debian package cannot be fetched:\n  " + "\n  ".join(problems) + "\nCheck the network, name a mirror in "
        f"{MIRROR_VARIABLE}, or refresh the lock file with `sparkvault pins update`."
    )


def _pip_download(package: PythonPackage, out: Path) -> None:
    folder = out.parent / "wheels"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--only-binary=:all:", "--implementation=cp", "--python-version=3.11", "--abi=cp311", "--abi=abi3"]
    command += ["--abi=none", f"--dest={folder}"]
    for tag in package.file.removesuffix(".whl").rsplit("-", 1)[1].split("."):
        command.append(f"--platform={tag}")
    command.append(f"{package.name}=={package.version}")
    done = subprocess.run(command, capture_output=True, text=True, timeout=_PIP_TIMEOUT_SECONDS, check=False)
    fetched = folder / package.file
    if done.returncode != 0 or not fetched.is_file():
        raise EifInputError(f"{package.file} cannot be fetched by pip: {done.stderr.strip()[-400:] or 'no such file'}")
    fetched.replace(out)
