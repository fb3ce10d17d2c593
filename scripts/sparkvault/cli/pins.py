"""`sparkvault pins update`: third-party pins, by their makers' signatures; what is not verified stays null."""

import json as json_module
import subprocess
from pathlib import Path
from typing import Annotated

import typer

from sparkvault.console import progress, result
from sparkvault.errors import SparkvaultError, UsageError
from sparkvault.project import project_root

app = typer.Typer(help="Pins of what others have made.", no_args_is_help=True)

_BLOBS_PACKAGE = "aws-nitro-enclaves-cli-devel"
_RPM_SECONDS = 60


@app.callback()
def pins() -> None:
    """Pins of what others have made."""


@app.command()
def update(
    blobs: Annotated[
        Path | None,
        typer.Option(
            help="Folder with AWS's kernel, on Amazon Linux 2023: pin those files instead.", show_default=False
        ),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Only show what would change; exit 1 if something would.")
    ] = False,
) -> None:
    """Refresh the enclave image's lock file (on Debian), or pin AWS's kernel (on Amazon Linux 2023)."""
    if blobs is not None:
        _pin_blobs(blobs)
        return
    from spark_enclave_image.errors import EifError
    from spark_enclave_image.lock_refresh import changes, refreshed
    from spark_enclave_image.pinned_inputs import LOCK_FILE, InputLock
    from spark_enclave_image.recipe import Recipe

    try:
        old = InputLock.load()
        with progress("asking Debian and PyPI what there is"):
            new = refreshed(Recipe.load(), project_root() / "requirements.txt")
    except EifError as error:
        raise SparkvaultError(str(error)) from None
    found = changes(old, new)
    for line in found:
        result(line)
    if not found:
        result("The lock file is current.")
    elif check:
        raise typer.Exit(1)
    else:
        LOCK_FILE.write_text(new.to_json(), encoding="utf-8")
        result(
            f"{LOCK_FILE.relative_to(project_root())} is written; build, diff and review the image before trusting it."
        )


def _pin_blobs(folder: Path) -> None:
    from spark_enclave_image.kernels import BLOB_NAMES, BLOB_PINS_FILE
    from spark_enclave_image.pinned_inputs import sha256_of

    missing = [name for name in BLOB_NAMES if not (folder / name).is_file()]
    if missing:
        raise UsageError(
            f"{folder} has no {', '.join(missing)}", f"on Amazon Linux 2023: sudo dnf install -y {_BLOBS_PACKAGE}"
        )
    package = _verified_package(folder)
    values = {"package": package} | {name: sha256_of(folder / name) for name in BLOB_NAMES}
    BLOB_PINS_FILE.write_text(json_module.dumps(values, indent=2) + "\n", encoding="utf-8")
    result(f"pinned {', '.join(BLOB_NAMES)} of {package}; review and commit {BLOB_PINS_FILE.name}.")


def _verified_package(folder: Path) -> str:
    """The installed package that the files belong to, whose signature and digests rpm has confirmed."""
    from spark_enclave_image.kernels import BLOB_NAMES

    owners = {_rpm("--query", "--file", str((folder / name).resolve())) for name in BLOB_NAMES}
    package = owners.pop()
    if owners or not package.startswith(_BLOBS_PACKAGE):
        raise SparkvaultError(f"the files in {folder} are not all of the package {_BLOBS_PACKAGE}", "give its folder")
    if "Key ID" not in _rpm("--query", "--queryformat", "%{RSAHEADER:pgpsig}", package):
        raise SparkvaultError(f"{package} is not signed", "install it with dnf from Amazon Linux's repository")
    _rpm("--verify", "--nomtime", package)
    return package


def _rpm(*arguments: str) -> str:
    try:
        done = subprocess.run(["rpm", *arguments], capture_output=True, text=True, timeout=_RPM_SECONDS, check=False)
    except FileNotFoundError:
        raise SparkvaultError(
            "AWS's kernel can only be checked where rpm has its signed package", "run this on Amazon Linux 2023"
        ) from None
    if done.returncode != 0:
        raise SparkvaultError(
            f"rpm {' '.join(arguments)}: {(done.stdout + done.stderr).strip()}", "reinstall the package"
        )
    return done.stdout.strip()
