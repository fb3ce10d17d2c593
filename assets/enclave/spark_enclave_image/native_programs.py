"""Compiles the image's own C programs: static, small, and the same bytes on every machine."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
import zipfile
from pathlib import Path
from typing import Final

from filelock import FileLock

from spark_enclave_image.errors import EifInputError
from spark_enclave_image.pinned_inputs import InputLock, InputStore, cache_folder

#: Warnings are errors: there is no reader of warnings in a build.
FLAGS: Final = ("-target", "x86_64-linux-musl", "-static", "-Os", "-s", "-std=c11", "-Wall", "-Wextra", "-Werror",
                "-fstack-protector-strong", "-D_FORTIFY_SOURCE=2")  # fmt: skip
#: The compiler makes its C library first, which takes minutes on a slow disk.
_TIMEOUT_SECONDS: Final = 900


def compile_program(source: Path, lock: InputLock, store: InputStore, flags: tuple[str, ...] = FLAGS) -> Path:
    """The executable of one C file, from the cache where it was made before. Raises EifInputError."""
    compiler = lock.python["compiler"][0]
    code = source.read_bytes()
    key = hashlib.sha256(b"\0".join((code, compiler.sha256.encode(), " ".join(flags).encode()))).hexdigest()
    folder = cache_folder() / "programs"
    folder.mkdir(exist_ok=True)
    program = folder / key
    with FileLock(f"{program}.lock"):
        if not program.is_file():
            _compile(source, program, flags, _unpacked(store.wheel(compiler), compiler.sha256))
    return program


def _compile(source: Path, program: Path, flags: tuple[str, ...], zig: Path) -> None:
    with tempfile.TemporaryDirectory(dir=program.parent) as folder:
        # The name of the source must not tell where it lay.
        copy, out = Path(folder) / source.name, Path(folder) / "program"
        shutil.copyfile(source, copy)
        environment = {name: str(cache_folder() / "zig") for name in ("ZIG_GLOBAL_CACHE_DIR", "ZIG_LOCAL_CACHE_DIR")}
        environment |= {"PATH": os.defpath, "HOME": folder}
        done = subprocess.run(
            [str(zig), "cc", *flags, "-o", out.name, copy.name],
            cwd=folder, env=environment, capture_output=True, text=True, timeout=_TIMEOUT_SECONDS, check=False,
        )  # fmt: skip
        if done.returncode != 0 or not out.is_file():
            raise EifInputError(f"{source} does not compile:\n{done.stderr.strip()}")
        out.replace(program)


def _unpacked(wheel: Path, digest: str) -> Path:
    folder = cache_folder() / "tools" / f"zig-{digest[:16]}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if not (folder / "ziglang" / "zig").is_file():
            partial = folder.with_suffix(".partial")
            shutil.rmtree(partial, ignore_errors=True)
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(partial)
            (partial / "ziglang" / "zig").chmod(0o755)
            shutil.rmtree(folder, ignore_errors=True)
            partial.replace(folder)
    return folder / "ziglang" / "zig"
