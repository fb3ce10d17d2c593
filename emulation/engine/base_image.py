"""The base image, made on the machine: where no registry is reachable, debootstrap brings the same Debian packages."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import docker

from emulation.engine import spark_images
from emulation.engine.capability import PROGRAM_PATH, find
from emulation.engine.errors import EngineError, EngineMissing
from emulation.engine.home import EngineHome

#: What the Dockerfile's `FROM` says.
NAME = "debian:bookworm-slim"
_SUITE = "bookworm"
_TIMEOUT_SECONDS = 900

#: The machine's own certificate authorities: a proxy between it and the registries may have one.
_OWN_AUTHORITIES = Path("/usr/local/share/ca-certificates")
_FINGERPRINT = "sparkvault.fingerprint"

_SOURCES = """Types: deb
URIs: http://deb.debian.org/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://deb.debian.org/debian-security
Suites: bookworm-security
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
"""

#: As in the official slim image: neither documentation nor translations.
_SLIM = """path-exclude /usr/share/doc/*
path-include /usr/share/doc/*/copyright
path-exclude /usr/share/locale/*
path-include /usr/share/locale/locale.alias
path-exclude /usr/share/man/*
path-exclude /usr/share/info/*
path-exclude /usr/share/lintian/*
"""
#: In a build nothing starts services, and what apt fetched is not kept.
_FILES = {
    "etc/apt/sources.list.d/debian.sources": _SOURCES,
    "etc/dpkg/dpkg.cfg.d/docker": _SLIM,
    "etc/apt/apt.conf.d/docker-clean": 'APT::Install-Recommends "false";\n'
    'DPkg::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb /var/cache/apt/*.bin || true"; };\n'
    'Dir::Cache::pkgcache ""; Dir::Cache::srcpkgcache "";\n',
    "usr/sbin/policy-rc.d": "#!/bin/sh\nexit 101\n",
}


def ensure(home: EngineHome, client: Callable[[], docker.DockerClient], progress: Callable[[str], None]) -> str:
    """Name of the base image in this engine. Raises EngineError."""
    fingerprint = _fingerprint()
    with home.lock("base-image").acquire(timeout=_TIMEOUT_SECONDS):
        engine = client()
        try:
            if engine.images.get(NAME).labels.get(_FINGERPRINT) == fingerprint:
                return NAME
        except docker.errors.ImageNotFound:
            pass
        finally:
            engine.close()
        progress(f"making the base image {NAME} by debootstrap (about a minute)")
        with tempfile.TemporaryDirectory(dir=home.root, prefix="base-") as folder:
            _import(home, _root_file_system(Path(folder)), fingerprint)
        engine = client()
        spark_images.forget_all(engine)
        engine.close()
    return NAME


def _fingerprint() -> str:
    digest = hashlib.sha256()
    for name, text in sorted(_FILES.items()):
        digest.update(f"{name}\0{text}\0".encode())
    for path in _own_authorities():
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _own_authorities() -> list[Path]:
    return sorted(_OWN_AUTHORITIES.glob("*.crt"))


def _root_file_system(folder: Path) -> Path:
    root = folder / "root"
    program = find("debootstrap")
    if program is None:
        raise EngineMissing("debootstrap is not installed", "apt-get install debootstrap")
    _run([program, "--variant=minbase", _SUITE, str(root), "http://deb.debian.org/debian"], "debootstrap")
    (root / "etc/apt/sources.list").unlink(missing_ok=True)
    for name, text in _FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    (root / "usr/sbin/policy-rc.d").chmod(0o755)
    authorities = root / _OWN_AUTHORITIES.relative_to("/")
    authorities.mkdir(parents=True, exist_ok=True)
    for path in _own_authorities():
        # Debian's ca-certificates takes them in when it is installed.
        shutil.copy(path, authorities / path.name)
    for pattern in (
        *("var/cache/apt/*", "var/lib/apt/lists/*", "var/log/*", "usr/share/man/*", "usr/share/info/*"),
        *("usr/share/locale/*", "usr/share/lintian/*", "var/cache/debconf/*-old", "var/cache/ldconfig/*"),
    ):
        for path in root.glob(pattern):
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    for path in (root / "usr/share/doc").glob("*/*"):
        if path.name != "copyright":
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    return root


def _import(home: EngineHome, root: Path, fingerprint: str) -> None:
    archive = root.parent / "root.tar"
    _run(["tar", "--create", "--numeric-owner", "--sort=name", "--file", str(archive), "--directory", str(root), "."])
    environment = {"PATH": PROGRAM_PATH, "DOCKER_HOST": f"unix://{home.socket}"}
    changes = [f"--change=LABEL {_FINGERPRINT}={fingerprint}", '--change=CMD ["bash"]']
    _run(["docker", "import", *changes, str(archive), NAME], environment=environment)


def _run(command: list[str], what: str | None = None, environment: dict[str, str] | None = None) -> None:
    what = what or command[0]
    environment = environment or {"PATH": PROGRAM_PATH, **_proxies()}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, env=environment, timeout=_TIMEOUT_SECONDS, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise EngineError(
            f"{what} took longer than {_TIMEOUT_SECONDS} s", "try again on a less busy machine"
        ) from error
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()[-3:]
        raise EngineError(f"{what} failed: {' / '.join(said)}", "is deb.debian.org reachable from this machine?")


def _proxies() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.lower() in ("http_proxy", "https_proxy")}
