"""`sparkvault enclave build|measure|diff`: the trusted image, its measurements, what changed between two of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sparkvault.cli.options import JsonOption
from sparkvault.console import out as console
from sparkvault.console import print_json, progress, result, table
from sparkvault.errors import SparkvaultError, UsageError
from sparkvault.project import project_root, work_folder

if TYPE_CHECKING:
    from spark_enclave_image.image_build import BuiltImage


class _Platform(StrEnum):
    NITRO = "nitro-x86_64"
    VM_TEST = "vm-test"


class _NewStatus(StrEnum):
    NEXT = "next"
    CURRENT = "current"


_PlatformOption = Annotated[_Platform, typer.Option(help="Real hardware, or the virtual machine of the tests.")]
_BlobsOption = Annotated[
    Path | None, typer.Option(help="Folder with AWS's bzImage, cmdline and nsm.ko.", show_default=False)
]
_OutOption = Annotated[
    Path | None, typer.Option(help="Folder for the image; by default in the work folder.", show_default=False)
]
_SimulatorOption = Annotated[
    bool, typer.Option("--simulator", help="Add the ramdisk with a SIMULATED security module; for vm-test only.")
]


def build(
    platform: _PlatformOption = _Platform.NITRO,
    blobs: _BlobsOption = None,
    out: _OutOption = None,
    simulator: _SimulatorOption = False,
    json: JsonOption = False,
) -> None:
    """Build the image: the same inputs give the same bytes."""
    with _clear_errors():
        image = _build(platform, blobs, out, simulator)
    _report(image, json)


def measure(
    platform: _PlatformOption = _Platform.NITRO,
    blobs: _BlobsOption = None,
    out: _OutOption = None,
    simulator: _SimulatorOption = False,
    check: Annotated[
        bool, typer.Option("--check", help="Exit 1 unless measurements.json trusts exactly this image.")
    ] = False,
    against: Annotated[
        Path | None,
        typer.Option(help="An older image: where --check fails, the files that differ.", show_default=False),
    ] = None,
    add: Annotated[str | None, typer.Option(metavar="ID", help="Add it to measurements.json under this name.")] = None,
    status: Annotated[_NewStatus, typer.Option(help="Status of what --add adds.")] = _NewStatus.NEXT,
    measurements: Annotated[
        Path | None, typer.Option(help="Another list than assets/enclave/measurements.json.", show_default=False)
    ] = None,
    json: JsonOption = False,
) -> None:
    """Build the image and hold its registers against measurements.json, or add them to it."""
    from spark_enclave_image import trust_lock
    from spark_enclave_image.image_diff import compare

    path = measurements or trust_lock.MEASUREMENTS_FILE
    with _clear_errors():
        image = _build(platform, blobs, out, simulator)
        if add is not None:
            policy = trust_lock.with_entry(trust_lock.load(path), image, add, status.value)
            path.write_text(trust_lock.to_text(policy), encoding="utf-8")
            result(f"{add} ({status.value}) is in {path.name}; its review is the moment of trust.")
        if check:
            try:
                entry = trust_lock.require_listed(image, trust_lock.load(path))
            except trust_lock.MeasurementsDiffer:
                if against is not None:
                    for change in compare(against, image.eif):
                        result(change.describe())
                raise
            result(f"{path.name} trusts this image: {entry.id}, {entry.status}.")
    _report(image, json)


def diff(
    before: Annotated[Path, typer.Argument(help="An image (EIF).")],
    after: Annotated[Path, typer.Argument(help="Another.")],
    json: JsonOption = False,
) -> None:
    """Show what changed between two images, file by file; exit 1 if something did."""
    from spark_enclave_image.image_diff import compare

    for path in (before, after):
        if not path.is_file():
            raise UsageError(f"there is no image {path}", "build one with `sparkvault enclave build --out DIR`")
    with _clear_errors():
        changes = compare(before, after)
    if json:
        print_json([change.to_json() for change in changes])
    else:
        for change in changes:
            result(change.describe())
        result(f"{len(changes)} files differ." if changes else "Nothing that is measured differs.")
    if changes:
        raise typer.Exit(1)


def _build(platform: _Platform, blobs: Path | None, out: Path | None, simulator: bool) -> BuiltImage:
    from spark_enclave_image.image_build import SessionWorker, build_image
    from sparkvault.plugins import plugin_jar

    if simulator and platform is not _Platform.VM_TEST:
        raise UsageError("a simulator has no place in an image for hardware", "add --platform vm-test")
    if blobs is not None and platform is _Platform.VM_TEST:
        raise UsageError("--blobs is AWS's kernel; vm-test has Debian's", "leave --blobs out")
    extras = []
    if simulator:
        # An explicit option alone brings the emulation in.
        from emulation.enclave_vm import simulator_ramdisk

        extras.append(simulator_ramdisk)
    if platform is _Platform.NITRO:
        # Refused before minutes of building.
        from spark_enclave_image.kernels import AWS_BLOBS_FOLDER, nitro_kernel

        nitro_kernel(blobs or AWS_BLOBS_FOLDER)
    options = project_root() / "assets" / "spark-plugins" / "enclave" / "session-jvm.options"
    worker = SessionWorker(jar=plugin_jar("enclave"), options=options)
    folder = out or work_folder() / "enclave"
    with progress("building the image") as say:
        return build_image(platform.value, folder, worker, blobs=blobs, extras=extras, say=say)


def _report(image: BuiltImage, json: bool) -> None:
    if json:
        print_json(image.report() | {"path": str(image.eif)})
        return
    if image.extras:
        result("SIMULATED: this image has a simulated security module and must never see a real key.")
    result(f"{image.eif}: {image.eif_mb} MB, {image.unpacked_mb} MB unpacked")
    result(f"give the enclave at least {image.needed_memory_mib} MiB of memory")
    parts = table("ramdisk", "bytes", "unpacked")
    for ramdisk in image.ramdisks:
        parts.add_row(ramdisk.name, f"{ramdisk.size:,}", f"{ramdisk.unpacked_bytes:,}")
    console.print(parts)
    for name, value in image.measurements.to_json().items():
        result(f"{name} {value}")


@contextmanager
def _clear_errors() -> Iterator[None]:
    from spark_enclave_image.errors import EifError

    try:
        yield
    except EifError as error:
        what, _, remedy = str(error).partition("\n")
        raise SparkvaultError(what, remedy or None) from None
    except OSError as error:
        raise SparkvaultError(f"the image cannot be built or read: {error}") from None
