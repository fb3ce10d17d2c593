"""The extra ramdisk that gives a test image a simulated `/dev/nsm`. It changes the measurements, as it must."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from spark_enclave_image.image_build import Ramdisk, write_ramdisk
from spark_enclave_image.image_tree import ImageTree
from spark_enclave_image.kernels import Kernel
from spark_enclave_image.native_programs import compile_program
from spark_enclave_image.pinned_inputs import InputLock, InputStore

SOURCE: Final = Path(__file__).parent / "simulated_device" / "simulator_init.c"
MODULES_LIST: Final = "etc/enclave/simulator-modules"


def simulator_ramdisk(kernel: Kernel, folder: Path) -> Ramdisk:
    """`folder`/simulator.cpio: an `/init` that goes before the enclave's own. Raises EifInputError."""
    tree = ImageTree()
    tree.add_file("init", source=compile_program(SOURCE, InputLock.load(), InputStore()), executable=True)
    for module in kernel.simulator_modules:
        tree.add_file(module.path, content=module.data)
    names = "".join(f"/{module.path}\n" for module in kernel.simulator_modules)
    tree.add_file(MODULES_LIST, content=names.encode())
    return write_ramdisk("simulator", tree, folder)
