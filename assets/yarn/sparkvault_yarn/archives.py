"""Installs Hadoop, Kata or gVisor from the project's own bucket: the archive that was pinned, or nothing."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from sparkvault_host.aws_cli import aws

from . import places
from .errors import YarnHostError

_FETCH_SECONDS = 1800
_UNPACK_SECONDS = 900
_PIECE = 1 << 20


def install(kind: str, archive: Mapping[str, str]) -> None:
    """``hadoop``, ``kata`` or ``runsc``; one that is there already is left alone. Raises YarnHostError, AwsError."""
    place = {"hadoop": places.HADOOP, "kata": places.KATA, "runsc": places.RUNSC}[kind]
    mark = Path("/var/lib/sparkvault") / f"installed-{kind}"
    if mark.exists() and mark.read_text(encoding="utf-8") == archive["sha512"] and place.exists():
        return
    file = places.STATE / archive["url"].rpartition("/")[2]
    aws("s3", "cp", "--only-show-errors", archive["url"], str(file), timeout_seconds=_FETCH_SECONDS)
    try:
        found = sha512(file)
        if found != archive["sha512"]:
            raise YarnHostError(f"{archive['url']} has the SHA-512 {found}, and {archive['sha512']} is pinned")
        unpack(kind, file, place)
    finally:
        file.unlink()
    mark.parent.mkdir(parents=True, exist_ok=True)
    mark.write_text(archive["sha512"], encoding="utf-8")


def unpack(kind: str, file: Path, place: Path) -> None:
    """Whole or not at all; everything is root's and nobody else writes it. Raises YarnHostError."""
    partial = place.with_name(place.name + ".partial")
    if kind == "runsc":
        shutil.copyfile(file, partial)
        partial.chmod(0o755)
        partial.replace(place)
        return
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    # Hadoop's archive begins with hadoop-VERSION/, Kata's with ./opt/kata/.
    strip = "1" if kind == "hadoop" else "3"
    command = ["tar", "--extract", "--auto-compress", "--no-same-owner", f"--strip-components={strip}"]
    done = subprocess.run(
        [*command, "--file", str(file), "--directory", str(partial)],
        capture_output=True,
        text=True,
        timeout=_UNPACK_SECONDS,
        check=False,
    )
    if done.returncode:
        raise YarnHostError(f"{file.name} cannot be unpacked: {done.stderr.strip()[-300:]}")
    shutil.rmtree(place, ignore_errors=True)
    partial.replace(place)


def sha512(path: Path) -> str:
    """Hexadecimal."""
    digest = hashlib.sha512()
    with path.open("rb") as file:
        for piece in iter(lambda: file.read(_PIECE), b""):
            digest.update(piece)
    return digest.hexdigest()
