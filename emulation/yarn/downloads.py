"""Fetches what the cluster needs and no Debian 12 has: Hadoop's jars from Maven, gVisor's runsc from the backports."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
import urllib.request
import zipfile
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock

from emulation.ec2.host_image import AWS_CLI
from emulation.yarn.errors import YarnEmulationError
from spark_enclave_image import debian_packages
from sparkvault.project import project_root

MAVEN_CENTRAL = "https://repo1.maven.org/maven2"
_LOCK = Path(__file__).with_name("hadoop.lock")
#: Version of all Hadoop jars in the lock, Spark's own.
HADOOP_VERSION = "3.5.0"

#: Debian's build of gVisor of 2024-07-29 (bookworm-backports): the first in Debian 12 with the platform systrap.
_RUNSC_URL = "http://deb.debian.org/debian/pool/main/g/golang-gvisor-gvisor/runsc_0.0~20240729.0-4~bpo12+2_amd64.deb"
_RUNSC_SHA256 = "afdde883e3876ea807e19c708d4432674a20cb10186a7a5b554d62f38ea8de46"
#: Hadoop's own native library, which no package of Hadoop's in Maven has: as Trino's build of Hadoop carries it, with
#: the classes of the same version that call it. Both as (path, SHA-256, what is taken).
_NATIVE = (
    (
        "io/trino/hadoop/hadoop-apache/3.4.3-1/hadoop-apache-3.4.3-1.jar",
        "a154ec99659f376e9483e9786fdd623790f8900c58352c7044fd7a1cad3b1282",
        "nativelib/Linux-amd64/libhadoop.so",
    ),
    (
        "org/apache/hadoop/hadoop-common/3.4.3/hadoop-common-3.4.3.jar",
        "73cc542694c25555b026a41c91f6192863afee18de947551f6225acfe23faf7a",
        "org/apache/hadoop/io/nativeio/",
    ),
)
_TIMEOUT_SECONDS = 600
_OTHER_REPOSITORY = "set MAVEN_MIRROR to another repository"


def cache() -> Path:
    """Folder of what is fetched once and kept."""
    folder = Path.home() / ".cache" / "sparkvault" / "yarn"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder


def kept(name: str, what: str, progress: Callable[[str], None], fill: Callable[[Path], None]) -> Path:
    """Folder of that name, filled once and then kept; `what` is told to whoever waits. Raises what `fill` raises."""
    folder = cache() / name
    with FileLock(cache() / f"{name.partition('-')[0]}.lock").acquire(timeout=_TIMEOUT_SECONDS):
        if not folder.exists():
            progress(what)
            partial = folder.with_name(f"{name}.partial")
            partial.mkdir(exist_ok=True)
            fill(partial)
            partial.replace(folder)
    return folder


def _fetched(address: str, sha256: str, remedy: str) -> bytes:
    """What is at that address, which must be what is pinned. Raises YarnEmulationError."""
    try:
        # https, or http where a package archive is served so; what counts is the digest.
        with urllib.request.urlopen(address, timeout=60) as answer:  # noqa: S310
            content: bytes = answer.read()
    except OSError as error:
        raise YarnEmulationError(f"{address}: {error}", remedy) from error
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise YarnEmulationError(f"{address} has sha256 {found}, and {sha256} is pinned", "do not use it")
    return content


def hadoop_jars(progress: Callable[[str], None]) -> Path:
    """Folder with Hadoop's daemons and all they need, each jar as its SHA-256 says. Raises YarnEmulationError."""
    digest = hashlib.sha256(_LOCK.read_bytes()).hexdigest()[:16]
    return kept(f"hadoop-{digest}", "fetching Hadoop's daemons from Maven (100 MB)", progress, _fetch_jars)


def _fetch_jars(folder: Path) -> None:
    program = project_root() / "assets" / "spark-images" / "build" / "fetch_jars.py"
    done = subprocess.run(
        [sys.executable, str(program), str(_LOCK), _maven(), str(folder)],
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_SECONDS,
        check=False,
    )
    if done.returncode:
        raise YarnEmulationError(f"Hadoop's jars could not be fetched: {done.stderr.strip()}", _OTHER_REPOSITORY)
    # Hadoop looks for its pages' folders on the class path, and there need not be anything in them.
    for name in ("hdfs", "datanode", "cluster", "node"):
        (folder / "webapps" / name).mkdir(parents=True, exist_ok=True)


def _maven() -> str:
    return os.environ.get("MAVEN_MIRROR", MAVEN_CENTRAL)


def aws_program(progress: Callable[[str], None]) -> Path:
    """Folder of AWS's command line as emulated hosts have it, for this machine's Python. Raises YarnEmulationError."""
    version = AWS_CLI.rpartition("=")[2]
    return kept(f"awscli-{version}", "installing AWS's command line", progress, _install_aws_program)


def _install_aws_program(folder: Path) -> None:
    uv = Path(sys.executable).parent / "uv"
    done = subprocess.run(
        [str(uv), "pip", "install", "--quiet", "--python", "/usr/bin/python3", "--target", str(folder), AWS_CLI],
        capture_output=True, text=True, timeout=_TIMEOUT_SECONDS, check=False,
    )  # fmt: skip
    if done.returncode:
        raise YarnEmulationError(f"{AWS_CLI}: {done.stderr.strip()[-500:]}", "is PyPI reachable?")


def native_library(progress: Callable[[str], None]) -> Path:
    """Folder with Hadoop's libhadoop.so, which log aggregation under Kerberos asks for, and `classes` that call it.

    Raises YarnEmulationError.
    """
    name = f"native-{hashlib.sha256(repr(_NATIVE).encode()).hexdigest()[:16]}"
    return kept(name, "fetching Hadoop's native library from Maven (24 MB)", progress, _fetch_native_library)


def _fetch_native_library(folder: Path) -> None:
    for path, digest, wanted in _NATIVE:
        packed = zipfile.ZipFile(io.BytesIO(_fetched(f"{_maven()}/{path}", digest, _OTHER_REPOSITORY)))
        for name in packed.namelist():
            if name == wanted and not name.endswith("/"):
                place = folder / "libhadoop.so"
            elif wanted.endswith("/") and name.startswith(wanted) and name.endswith(".class"):
                place = folder / "classes" / name
            else:
                continue
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(packed.read(name))


def runsc(progress: Callable[[str], None]) -> Path:
    """gVisor's runtime program. Raises YarnEmulationError."""
    name = f"runsc-{_RUNSC_SHA256[:16]}"
    return kept(name, "fetching gVisor from Debian's backports (7 MB)", progress, _fetch_runsc) / "usr/bin/runsc"


def _fetch_runsc(folder: Path) -> None:
    package = folder.with_suffix(".deb")
    package.write_bytes(_fetched(_RUNSC_URL, _RUNSC_SHA256, "is Debian's archive reachable?"))
    debian_packages.unpack(package, folder)
    package.unlink()
