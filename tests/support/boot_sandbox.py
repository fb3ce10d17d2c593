"""A place where the host bundle boots without touching this machine: its absolute paths lead into a temporary tree, and
the programs that change a system are stand-ins that write down how they were called."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

BUNDLE = Path(__file__).resolve().parents[2] / "assets" / "hosts"

#: Paths of the real system that the bundle and user data name.
ABSOLUTE = ("/etc/", "/run/sparkvault", "/opt/sparkvault", "/dev/console")

#: Programs that change or describe a system, and what they do here unless a test says otherwise.
STAND_INS = {
    "dnf": "",
    "systemctl": "",
    "journalctl": "",
    "udevadm": "",
    "mountpoint": "",
    "findmnt": "echo /dev/nvme0n1p1",
    "lsblk": "echo nvme0n1",
    "blkid": "exit 2",
    "mkfs.xfs": "",
    "aws": "",
    "curl": "",
    "shutdown": "",
    "sleep": "",
}


@dataclass
class BootSandbox:
    """``root`` is what the scripts take for the root of the file system."""

    root: Path
    calls_file: Path = field(init=False)

    def __post_init__(self) -> None:
        """Lay out the tree of a new Amazon Linux 2023 host."""
        self.calls_file = self.root / "calls"
        self.bundle = self.root / "opt" / "sparkvault" / "hosts"
        self.programs = self.root / "programs"
        for folder in (self.programs, self.root / "etc" / "sparkvault", self.root / "run", self.root / "dev"):
            folder.mkdir(parents=True)
        (self.root / "etc" / "sysctl.d").mkdir()
        self.write("etc/os-release", 'ID="amzn"\nVERSION_ID="2023"\n')
        for name, body in STAND_INS.items():
            self.stand_in(name, body)

    def stand_in(self, name: str, body: str) -> None:
        """Let a program write down its call, and then do this."""
        program = self.programs / name
        program.write_text(f'#!/bin/bash\necho "{name} $*" >> {self.calls_file}\n{body}\n')
        program.chmod(0o755)

    def write(self, path: str, content: str) -> Path:
        """Put a file into the tree."""
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
        return file

    def read(self, path: str) -> str:
        """A file of the tree."""
        return (self.root / path).read_text()

    def install_bundle(self) -> None:
        """The real bundle, with its paths leading into the tree."""
        shutil.copytree(BUNDLE, self.bundle, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__", ".*"))
        for file in self.bundle.rglob("*"):
            if file.is_file():
                file.write_text(self.inside(file.read_text()))

    def inside(self, script: str) -> str:
        """A script whose absolute paths lead into the tree, and which is told this root where it would pass none."""
        for path in ABSOLUTE:
            # Functions that are given a root write it as "$1/etc/…", and are told the root below.
            script = re.sub(rf"(?<!\$1){re.escape(path)}", f"{self.root}{path}", script)
        for function in ("check_allocator_config", "write_allocator_config", "check_enclave_reservation"):
            script = script.replace(f'{function} ""', f'{function} "{self.root}"')
        return script.replace('find_data_disks ""', f'find_data_disks "{self.root}"')

    def run(self, *command: str, input_text: str | None = None) -> "subprocess.CompletedProcess[str]":
        """Run something in it, to its end."""
        return subprocess.run(
            command,
            env={"PATH": f"{self.programs}:{os.environ['PATH']}", "LC_ALL": "C"},
            input=input_text,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def boot(self) -> "subprocess.CompletedProcess[str]":
        """Run the boot script."""
        return self.run("bash", str(self.bundle / "boot" / "boot.sh"))

    @property
    def calls(self) -> list[str]:
        """How the stand-ins were called, in order."""
        return self.calls_file.read_text().splitlines() if self.calls_file.exists() else []

    def order_of(self, *calls: str) -> list[int]:
        """Where calls stand among all of them; a call that was never made is an error."""
        return [self.calls.index(call) for call in calls]

    def reason(self) -> str:
        """Why booting failed."""
        return self.read("run/sparkvault/boot-failure").strip()

    # What the kernel would show.

    def enclave_cpus(self, pool: str, nodes: dict[int, int]) -> None:
        """CPUs of the enclave pool, and the NUMA node of each."""
        self.write("sys/module/nitro_enclaves/parameters/ne_cpus", f"{pool}\n")
        for cpu, node in nodes.items():
            (self.root / f"sys/devices/system/cpu/cpu{cpu}/node{node}").mkdir(parents=True, exist_ok=True)

    def huge_pages(self, node: int, pages: dict[int, int]) -> None:
        """Huge pages on a NUMA node by their size in KiB."""
        for kib, count in pages.items():
            folder = f"sys/devices/system/node/node{node}/hugepages/hugepages-{kib}kB"
            self.write(f"{folder}/nr_hugepages", f"{count}\n")

    def disks(self, models: dict[str, str]) -> None:
        """NVMe disks by name, with their models."""
        for name, model in models.items():
            self.write(f"sys/block/{name}/device/model", f"{model:<40}\n")


def shellcheck(*arguments: str, script: str | None = None) -> str:
    """What shellcheck objects to; nothing where it is content."""
    program = shutil.which("shellcheck", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    assert program, "shellcheck is one of the development requirements"
    result = subprocess.run(
        [program, *arguments], input=script, capture_output=True, text=True, timeout=120, check=False
    )
    assert (result.returncode == 0) == (result.stdout == ""), result
    return result.stdout


def call_function(
    sandbox: BootSandbox, file: str, function: str, arguments: Sequence[object]
) -> "subprocess.CompletedProcess[str]":
    """Call one function of the bundle's scripts as it is, without any path changed."""
    script = f'set -euo pipefail; source "$1"; shift; {function} "$@"'
    return sandbox.run("bash", "-c", script, "bash", str(BUNDLE / "boot" / file), *map(str, arguments))
