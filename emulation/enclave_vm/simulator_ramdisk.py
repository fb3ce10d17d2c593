"""The extra ramdisk of a test image: a simulated `/dev/nsm`, and a session's JVM set for an emulated processor.

It changes the measurements, as it must."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from spark_enclave_image.application_part import SESSION_OPTIONS
from spark_enclave_image.image_build import Ramdisk, SessionWorker, write_ramdisk
from spark_enclave_image.image_tree import ImageTree
from spark_enclave_image.kernels import Kernel
from spark_enclave_image.native_programs import compile_program
from spark_enclave_image.pinned_inputs import InputLock, InputStore

SOURCE: Final = Path(__file__).parent / "simulated_device" / "simulator_init.c"
MODULES_LIST: Final = "etc/enclave/simulator-modules"

#: What an emulated processor does badly is compiling at length, and the threads of a concurrent garbage collector:
#: with these a session is ready after half of the processor time (docs/decisions/024).
EMULATED_PROCESSOR: Final = """
-XX:TieredStopAtLevel=1
-XX:+UseSerialGC
"""


def simulator_ramdisk(kernel: Kernel, worker: SessionWorker, folder: Path) -> Ramdisk:
    """`folder`/simulator.cpio: an `/init` that goes before the enclave's own, and the JVM's options once more, with
    those for an emulated processor: a later ramdisk replaces a file of an earlier one. Raises EifInputError."""
    tree = ImageTree()
    tree.add_file("init", source=compile_program(SOURCE, InputLock.load(), InputStore()), executable=True)
    for module in kernel.simulator_modules:
        tree.add_file(module.path, content=module.data)
    names = "".join(f"/{module.path}\n" for module in kernel.simulator_modules)
    tree.add_file(MODULES_LIST, content=names.encode())
    tree.add_file(SESSION_OPTIONS, content=worker.options.read_bytes().rstrip() + EMULATED_PROCESSOR.encode())
    return write_ramdisk("simulator", tree, folder)
