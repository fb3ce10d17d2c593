"""The ramdisks of our own: the first one with init and kernel modules, the last one with the code trusted with keys."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

from spark_enclave_image.errors import EifInputError
from spark_enclave_image.image_tree import ImageTree
from spark_enclave_image.kernels import Kernel
from spark_enclave_image.recipe import Trusted, left_out
from spark_enclave_image.system_part import PYTHON_PACKAGES, compile_python

CODE_FOLDER: Final = Path(__file__).parent.parent
INIT_SOURCES: Final = CODE_FOLDER / "init"
INIT: Final = "usr/sbin/enclave-init"
# Where spark_enclave/server/session_jvm.py has them.
SESSION_JAR: Final = "opt/sparkvault/enclave.jar"
SESSION_OPTIONS: Final = "opt/sparkvault/session-jvm.options"
MODULES_LIST: Final = "etc/enclave/modules"
PARENT_CID: Final = "etc/enclave/parent-cid"


def bootstrap_tree(kernel: Kernel, init: Path) -> ImageTree:
    """Our init and what it loads into this kernel. It is measured with the kernel, as PCR1."""
    tree = ImageTree()
    tree.add_file(INIT, source=init, executable=True)
    tree.add_link("init", INIT)
    for module in kernel.modules:
        tree.add_file(module.path, content=module.data)
    tree.add_file(MODULES_LIST, content="".join(f"/{module.path}\n" for module in kernel.modules).encode())
    tree.add_file(PARENT_CID, content=f"{kernel.parent_cid}\n".encode())
    # Spark looks its own host name up; there is nobody else to ask.
    tree.add_file("etc/hosts", content=b"127.0.0.1 localhost enclave\n")
    # Without it the C library would ask a name server first.
    tree.add_file("etc/nsswitch.conf", content=b"passwd: files\ngroup: files\nhosts: files\n")
    return tree


def trusted_files(trusted: Trusted, code: Path = CODE_FOLDER) -> list[str]:
    """Our Python files that go in, relative to `code`, sorted; raises EifInputError when there are none."""
    found = {path.relative_to(code).as_posix() for pattern in trusted.include for path in code.glob(pattern)}
    chosen = sorted(name for name in found if not left_out(name, trusted.leave_out))
    if not chosen:
        raise EifInputError(f"The recipe names no file that is there under {code}.")
    return chosen


def application_tree(
    trusted: Trusted, *, session_jar: Path, session_options: Path, system: Path, stage: Path, code: Path = CODE_FOLDER
) -> ImageTree:
    """The broker's code, compiled with the image's Python (staged in `system`), and the session's worker.

    `stage` is an empty folder for what is made here; it must stay until the ramdisk is written.
    """
    for name in trusted_files(trusted, code):
        place = stage / PYTHON_PACKAGES / name
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(code / name, place)
        place.chmod(0o644)
    compile_python(system, stage, [stage])
    tree = ImageTree()
    tree.add_tree("", stage)
    tree.add_file(SESSION_JAR, source=session_jar)
    tree.add_file(SESSION_OPTIONS, source=session_options)
    return tree
