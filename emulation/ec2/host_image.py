"""Builds the image of an emulated EC2 host: Debian with systemd and Docker, dressed as Amazon Linux 2023.

What lies in `host/` is laid over Debian's files. The image is kept in the engine under a tag that names its content, so
it is built once (about a minute) and again only when something here changes.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import docker

from emulation.ec2.errors import Ec2EmulationError

OVERLAY = Path(__file__).resolve().parent / "host"
REPOSITORY = "sparkvault-emulation/ec2-host"
SUITE = "bookworm"
#: The first version 1 of the AWS CLI here that knows everything hosts ask for; the bundle's commands fit 1 and 2.
AWS_CLI = "awscli==1.46.3"
BUILD_TIMEOUT_SECONDS = 900
#: What hosts of YARN have beside all others: Debian's packages for those that their boot installs on Amazon Linux.
YARN_PACKAGES = ("openjdk-17-jre-headless", "krb5-user", "krb5-kdc", "krb5-admin-server", "tar", "zstd")
#: Units of Debian's that stay away: on Amazon Linux they are called otherwise, and are the bundle's to start.
_YARN_OFF = ("krb5-kdc.service", "krb5-admin-server.service")
_YARN_RECIPE = """\
FROM {base}
RUN printf '#!/bin/sh\\nexit 101\\n' > /usr/sbin/policy-rc.d && chmod 0755 /usr/sbin/policy-rc.d \\
 && export DEBIAN_FRONTEND=noninteractive && apt-get update --quiet \\
 && apt-get install --quiet --yes --no-install-recommends {packages} && cd /lib/systemd/system && rm -f {off} \\
 && rm -rf /usr/sbin/policy-rc.d /var/lib/apt/lists/* /var/cache/apt /etc/krb5.conf
"""
#: Counted up when the code that builds the base changes what it makes.
BASE_REVISION = 1
_ON = ("sparkvault-emulation-aws.service", "sparkvault-emulation-user-data.service")
_MIRROR = "http://deb.debian.org/debian"
_PACKAGES = (
    *("systemd", "systemd-sysv", "dbus", "udev", "libnss-myhostname"),
    *("docker.io", "iptables", "iproute2", "iputils-ping", "xfsprogs", "chrony", "socat"),
    *("ca-certificates", "openssl", "curl", "jq", "file", "procps", "python3"),
)
# Units that would start without being asked: what a new EC2 host lacks until its bundle installs and starts it, and
# what has nothing to do in a container.
_OFF = ("docker.service", "docker.socket", "containerd.service", "chrony.service", "nitro-enclaves-allocator.service")
_MASKED = (
    *("systemd-udevd.service", "systemd-udev-trigger.service", "systemd-udevd-kernel.socket"),
    *("systemd-udevd-control.socket", "systemd-timesyncd.service", "getty.target", "console-getty.service"),
    *("chrony-wait.service", "systemd-networkd.service", "systemd-networkd.socket", "systemd-resolved.service"),
    *("systemd-networkd-wait-online.service", "systemd-firstboot.service"),
    *("apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "e2scrub_all.timer", "fstrim.timer"),
)
_AWS = """\
#!/usr/bin/python3 -I
import sys
sys.path.insert(0, "/opt/awscli")
from awscli.clidriver import main
sys.exit(main())
"""


def host_image(client: docker.DockerClient, *, yarn: bool = False) -> str:
    """The image's name in this engine, built if it is not there. Raises `Ec2EmulationError` with what is missing.

    `yarn`: with the packages that YARN's hosts install.
    """
    base = f"{REPOSITORY}-base:{_digest(json.dumps([_PACKAGES, _OFF, AWS_CLI, _AWS, BASE_REVISION]).encode())}"
    if not client.images.list(name=base):
        _build_base(client, base)
    if yarn:
        base = _with_yarn_packages(client, base)
    overlay = _overlay()
    tag = f"{REPOSITORY}:{_digest(base.encode() + overlay)}"
    if not client.images.list(name=tag):
        _dress(client, base, overlay, tag)
    return tag


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def _build_base(client: docker.DockerClient, tag: str) -> None:
    if os.geteuid() != 0 or shutil.which("debootstrap") is None:
        raise Ec2EmulationError(
            "the image of emulated hosts is made with debootstrap, as root: "
            "run `scripts/set_up.py --machine` as root on Debian first"
        )
    with tempfile.TemporaryDirectory(prefix="ec2-host-") as folder:
        root = Path(folder) / "root"
        included = f"--include={','.join(_PACKAGES)}"
        _run("debootstrap", "--variant=minbase", included, SUITE, str(root), _MIRROR)
        _install_aws_cli(root)
        _quieten(root)
        _import(client, root, tag)


def _with_yarn_packages(client: docker.DockerClient, base: str) -> str:
    recipe = _YARN_RECIPE.format(base=base, packages=" ".join(YARN_PACKAGES), off=" ".join(_YARN_OFF))
    tag = f"{REPOSITORY}-yarn-base:{_digest(recipe.encode())}"
    if not client.images.list(name=tag):
        try:
            client.images.build(
                fileobj=io.BytesIO(recipe.encode()),
                tag=tag,
                network_mode="host",
                rm=True,
                timeout=BUILD_TIMEOUT_SECONDS,
            )
        except (docker.errors.BuildError, docker.errors.APIError) as error:
            raise Ec2EmulationError(f"the image of YARN's emulated hosts could not be built: {error}") from error
    return tag


def _install_aws_cli(root: Path) -> None:
    """From outside, for the Python inside: the image needs no installer and no registry settings."""
    uv = Path(sys.executable).parent / "uv"
    version = next((root / "usr/lib").glob("python3.*")).name.removeprefix("python")
    _run(
        *(str(uv), "pip", "install", "--quiet", "--no-progress", "--only-binary", ":all:"),
        *("--python-version", version, "--python-platform", f"{platform.machine()}-manylinux_2_28"),
        *("--target", str(root / "opt/awscli"), AWS_CLI),
    )
    _write(root / "usr/bin/aws", _AWS, 0o755)
    # Started dozens of times by each boot: without compiled files each start takes a second more.
    _run("chroot", str(root), "python3", "-m", "compileall", "-q", "-j0", "/opt/awscli", "/usr/lib/python3")


def _quieten(root: Path) -> None:
    """Nothing starts that a new EC2 host would not start, or that a container cannot."""
    (root / "lib/systemd/system/chrony.service").unlink()
    for unit in _OFF:
        for wanted in (root / "etc/systemd/system").rglob(unit):
            if wanted.is_symlink():
                wanted.unlink()
    shutil.rmtree(root / "var/cache/apt", ignore_errors=True)
    shutil.rmtree(root / "var/lib/apt/lists", ignore_errors=True)


def _overlay() -> bytes:
    """`host/` as an archive, the same for the same content."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for file in sorted(OVERLAY.rglob("*")):
            if not file.is_file() or "__pycache__" in file.parts:
                continue
            entry = tarfile.TarInfo(str(file.relative_to(OVERLAY)))
            # Git keeps of a file's mode only whether it may be run.
            entry.size, entry.mode = file.stat().st_size, 0o755 if os.access(file, os.X_OK) else 0o644
            with file.open("rb") as content:
                archive.addfile(entry, content)
        links = {f"multi-user.target.wants/{unit}": f"/etc/systemd/system/{unit}" for unit in _ON}
        links |= {"default.target": "/lib/systemd/system/multi-user.target"} | dict.fromkeys(_MASKED, "/dev/null")
        for name, target in sorted(links.items()):
            link = tarfile.TarInfo(f"etc/systemd/system/{name}")
            link.type, link.linkname = tarfile.SYMTYPE, target
            archive.addfile(link)
        # Empty, not "uninitialized": a first boot would enable every unit that Debian's presets name.
        archive.addfile(tarfile.TarInfo("etc/machine-id"))
    return packed.getvalue()


def _dress(client: docker.DockerClient, base: str, overlay: bytes, tag: str) -> None:
    made = client.api.create_container(base, ["/sbin/init"], network_disabled=True)
    try:
        client.api.put_archive(made["Id"], "/", overlay)
        name, _, version = tag.rpartition(":")
        client.api.commit(made["Id"], repository=name, tag=version)
    finally:
        client.api.remove_container(made["Id"], force=True)


def _import(client: docker.DockerClient, root: Path, tag: str) -> None:
    packed = subprocess.Popen(
        ["tar", "--numeric-owner", "--one-file-system", "-C", str(root), "-cf", "-", "."], stdout=subprocess.PIPE
    )
    assert packed.stdout is not None  # noqa: S101 (it was asked for as a pipe)
    name, _, version = tag.rpartition(":")
    with packed.stdout as stream:
        client.api.import_image_from_stream(stream, repository=name, tag=version)
    if packed.wait(BUILD_TIMEOUT_SECONDS) != 0 or not client.images.list(name=tag):
        raise Ec2EmulationError(f"the engine did not take the host image {tag}")


def _run(*command: str) -> None:
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=BUILD_TIMEOUT_SECONDS, check=False, stdin=subprocess.DEVNULL
    )
    if done.returncode != 0:
        said = "\n".join((done.stdout + done.stderr).splitlines()[-8:])
        raise Ec2EmulationError(
            f"the host image could not be built: `{command[0]}` ended with {done.returncode}:\n{said}"
        )


def _write(file: Path, text: str, mode: int) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.unlink(missing_ok=True)
    file.write_text(text)
    file.chmod(mode)
