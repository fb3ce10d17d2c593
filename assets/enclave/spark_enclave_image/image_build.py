"""Builds the measured image: pinned inputs and our code in, an EIF and a report out, the same bytes each time.

Ramdisks, in the order in which the kernel unpacks them: `bootstrap` (init, kernel modules), `system` (Debian, Python,
Java), `spark` (jars), `application` (the code trusted with keys), and in test images `simulator`.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from filelock import FileLock

from spark_enclave_image import cpio_archive, spark_part, system_part
from spark_enclave_image.application_part import CODE_FOLDER, INIT_SOURCES, application_tree, bootstrap_tree
from spark_enclave_image.eif_builder import BuildMetadata, build
from spark_enclave_image.errors import EifInputError
from spark_enclave_image.image_signing import ImageSigner
from spark_enclave_image.image_tree import ImageTree
from spark_enclave_image.kernels import AWS_BLOBS_FOLDER, Kernel, nitro_kernel, vm_kernel
from spark_enclave_image.measurements import Measurements
from spark_enclave_image.native_programs import compile_program
from spark_enclave_image.pinned_inputs import InputLock, InputStore, cache_folder, sha256_of
from spark_enclave_image.recipe import Recipe

Platform = Literal["nitro-x86_64", "vm-test"]
PLATFORMS: Final[tuple[Platform, ...]] = ("nitro-x86_64", "vm-test")

#: nitro-cli refuses less (error E26).
MEMORY_OF_EIF: Final = 4
#: Beside the unpacked files: kernel, broker, one session with 512 MiB of heap and its tables (server/settings.py).
WORKING_MEMORY_MIB: Final = 2048
_MIB: Final = 1 << 20
_LOCK_SECONDS: Final = 1800

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class SessionWorker:
    """The program of a session: its jar, and the Java argument file it needs."""

    jar: Path
    options: Path


@dataclass(frozen=True, slots=True)
class Ramdisk:
    """One ramdisk of an image; `unpacked_bytes` is what its files take in memory."""

    name: str
    path: Path
    unpacked_bytes: int

    @property
    def size(self) -> int:
        """Bytes of the archive."""
        return self.path.stat().st_size


#: Makes a ramdisk that the product does not have, given kernel and session's worker of the image, and a folder for it.
ExtraRamdisk = Callable[[Kernel, SessionWorker, Path], Ramdisk]


@dataclass(frozen=True, slots=True)
class BuiltImage:
    """What was built. `ramdisks` lie in the cache or in the image's folder."""

    platform: Platform
    eif: Path
    kernel: Kernel
    ramdisks: tuple[Ramdisk, ...]
    measurements: Measurements
    extras: tuple[str, ...] = ()

    @property
    def eif_mb(self) -> float:
        """Size of the image file, in 10^6 bytes."""
        return round(self.eif.stat().st_size / 1e6, 1)

    @property
    def unpacked_mb(self) -> float:
        """Memory that the image's files take, in 10^6 bytes."""
        return round(sum(ramdisk.unpacked_bytes for ramdisk in self.ramdisks) / 1e6, 1)

    @property
    def needed_memory_mib(self) -> int:
        """What to give the enclave at least: four times the file, and room for files and one session; in steps of 2."""
        by_file = MEMORY_OF_EIF * self.eif.stat().st_size / _MIB
        # A root in tmpfs may take half of the memory.
        unpacked = sum(ramdisk.unpacked_bytes for ramdisk in self.ramdisks) / _MIB
        needed = max(by_file, 2 * unpacked, unpacked + WORKING_MEMORY_MIB)
        return -(-int(needed + 1) // 2) * 2

    def report(self) -> dict[str, object]:
        """What is written beside the image, for people and programs."""
        return {
            "platform": self.platform,
            "extras": list(self.extras),
            "eif": self.eif.name,
            "eif_sha256": sha256_of(self.eif),
            "eif_mb": self.eif_mb,
            "unpacked_mb": self.unpacked_mb,
            "needed_memory_mib": self.needed_memory_mib,
            "kernel_version": self.kernel.version,
            "cmdline": self.kernel.cmdline,
            "blobs": self.kernel.blobs,
            "ramdisks": [
                {"name": ramdisk.name, "bytes": ramdisk.size, "sha256": sha256_of(ramdisk.path)}
                for ramdisk in self.ramdisks
            ],
            "pcrs": self.measurements.to_json(),
        }


def build_image(
    platform: Platform,
    out: Path,
    worker: SessionWorker,
    *,
    blobs: Path | None = None,
    extras: Sequence[ExtraRamdisk] = (),
    signer: ImageSigner | None = None,
    code: Path = CODE_FOLDER,
    say: Progress = lambda text: None,
) -> BuiltImage:
    """Write `out`/sparkvault-PLATFORM.eif and its report `.json`; raises EifInputError.

    `blobs`: the folder with AWS's kernel, for Nitro. `extras` are for test images only and refused for Nitro.
    `code` holds the package spark_enclave.
    """
    if extras and platform != "vm-test":
        raise EifInputError("A simulator has no place in an image for hardware; build for vm-test.")
    lock, recipe, store = InputLock.load(), Recipe.load(), InputStore()
    out.mkdir(parents=True, exist_ok=True)
    kernel = (
        nitro_kernel(blobs or AWS_BLOBS_FOLDER)
        if platform == "nitro-x86_64"
        else vm_kernel(lock, store, cache_folder())
    )
    say("system: Debian, Python, Java")
    system, staged = _system(lock, store, recipe)
    say("spark: jars")
    spark = _kept("spark", _key(lock.spark_jars, recipe.spark.model_dump(), "cpio_archive.py", "spark_part.py"),
                  lambda folder: spark_part.tree(lock, recipe))  # fmt: skip
    say("init and trusted code")
    init = compile_program(INIT_SOURCES / "enclave_init.c", lock, store)
    with tempfile.TemporaryDirectory() as stage:
        application = application_tree(
            recipe.trusted,
            session_jar=worker.jar,
            session_options=worker.options,
            system=staged,
            stage=Path(stage),
            code=code,
        )
        ramdisks = [
            write_ramdisk("bootstrap", bootstrap_tree(kernel, init), out),
            system,
            spark,
            write_ramdisk("application", application, out),
        ]
    ramdisks += [extra(kernel, worker, out) for extra in extras]
    say("image")
    name = "sparkvault-" + "-".join((platform, *(ramdisk.name for ramdisk in ramdisks[4:])))
    eif = out / f"{name}.eif"
    measurements = build(
        eif,
        kernel=kernel.image,
        cmdline=kernel.cmdline,
        ramdisks=[ramdisk.path for ramdisk in ramdisks],
        metadata=BuildMetadata(image_name=name, image_version=_version(), kernel_version=kernel.version),
        signer=signer,
    )
    built = BuiltImage(
        platform, eif, kernel, tuple(ramdisks), measurements, tuple(ramdisk.name for ramdisk in ramdisks[4:])
    )
    eif.with_suffix(".json").write_text(json.dumps(built.report(), indent=2) + "\n", encoding="utf-8")
    return built


def write_ramdisk(name: str, tree: ImageTree, folder: Path) -> Ramdisk:
    """`folder`/NAME.cpio, as it is: small, or packed already inside."""
    path = folder / f"{name}.cpio"
    cpio_archive.write_file(tree, path)
    return Ramdisk(name, path, tree.unpacked_bytes)


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("sparkvault")
    except PackageNotFoundError:
        return "unknown"


def _system(lock: InputLock, store: InputStore, recipe: Recipe) -> tuple[Ramdisk, Path]:
    key = _key(
        {use: [entry.sha256 for entry in lock.debian[use]] for use in ("system", "java", "compression")},
        [entry.sha256 for entry in lock.python["system"]],
        recipe.system.model_dump(),
        recipe.java.model_dump(),
        "cpio_archive.py",
        "system_part.py",
        "debian_packages.py",
    )
    folder = cache_folder() / "ramdisks" / f"system-{key}"
    staged, packed = folder / "root", folder / "system.cpio.gz"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock", timeout=_LOCK_SECONDS):
        if not packed.is_file():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            system_part.stage(staged, lock, store, recipe)
            plain = folder / "system.cpio"
            cpio_archive.write_file(system_part.tree(staged), plain)
            tool = folder / "gzip"
            _compress(plain, packed, tool, lock, store, staged)
    return Ramdisk("system", packed, system_part.tree(staged).unpacked_bytes), staged


def _compress(plain: Path, packed: Path, tool: Path, lock: InputLock, store: InputStore, system: Path) -> None:
    from spark_enclave_image import debian_packages

    for package in lock.debian["compression"]:
        debian_packages.unpack(store.debian(package, lock.snapshot), tool)
    data = system_part.run_staged(system, tool / "bin" / "gzip", ["--no-name", "-9", "--stdout", str(plain)])
    partial = packed.with_suffix(".partial")
    # The next archive must begin on a multiple of four bytes; zero bytes between archives mean nothing.
    partial.write_bytes(data + bytes(-len(data) % 512))
    partial.replace(packed)
    plain.unlink()
    shutil.rmtree(tool)


def _kept(name: str, key: str, make: Callable[[Path], ImageTree]) -> Ramdisk:
    folder = cache_folder() / "ramdisks" / f"{name}-{key}"
    path, size = folder / f"{name}.cpio", folder / "unpacked-bytes"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock", timeout=_LOCK_SECONDS):
        if not size.is_file():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            made = write_ramdisk(name, make(folder), folder)
            size.write_text(str(made.unpacked_bytes))
    return Ramdisk(name, path, int(size.read_text()))


def _key(*parts: object) -> str:
    """Of inputs and of the code (names of files here) that makes something of them."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, str):
            digest.update((Path(__file__).parent / part).read_bytes())
        else:
            digest.update(json.dumps(part, sort_keys=True).encode())
        digest.update(b"\0")
    return digest.hexdigest()[:32]
