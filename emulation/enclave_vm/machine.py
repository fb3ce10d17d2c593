"""A virtual machine that runs an enclave image as the Nitro hypervisor does, for the length of a `with` block.

Kernel, command line and ramdisks are taken out of the image file; its measurements become the registers of a simulated
security module that stands outside of the machine, as the real one does.
"""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from emulation.enclave_vm.host_clock import clock_parameters
from emulation.enclave_vm.unix_relay import join, served
from emulation.enclave_vm.vsock_device import VsockDeviceMissing, vsock_device
from emulation.nsm import NsmServer, Registers, SimulatedNsm, SimulatedPki
from spark_enclave_image import EifImage, read
from spark_enclave_image.eif_format import SectionType

QEMU: Final = "qemu-system-x86_64"
#: The vsock port of the enclave's broker (spark_enclave/server/vsock_relay.py).
BROKER_PORT: Final = 5005
#: What the machine calls on its host: the heartbeat of nitro-cli, and the simulated module.
HEARTBEAT_PORT: Final = 9000
MODULE_PORT: Final = 9100

_GUEST_CID: Final = 16
_PROCESSORS: Final = 2
#: Without the vector and bit instructions whose emulation is new in QEMU 7.2: with them a session's JVM refused a
#: message that it takes on a real processor.
_PROCESSOR: Final = "max,-avx,-avx2,-fma,-f16c,-bmi1,-bmi2,-adx"
_CHUNK: Final = 1 << 20
_DEVICE_SECONDS: Final = 10.0
_STOP_SECONDS: Final = 10.0
_ANSWER_SECONDS: Final = 10.0
_LAST_LINES: Final = 12


class EnclaveVmError(Exception):
    """The machine cannot be started, ended too early, or does not listen in time; with its last words."""


def missing_programs() -> list[str]:
    """What this machine lacks for running one, as a person would install it."""
    missing = [] if shutil.which(QEMU) else ["qemu-system-x86 (Debian)"]
    try:
        vsock_device()
    except VsockDeviceMissing as error:
        missing.append(str(error))
    return missing


class EnclaveVm:
    """`with EnclaveVm(eif, memory_mib=…) as vm: vm.connect(5005)`.

    `state`: folder of the simulated root (`root.pem`), kept between machines; by default a new one each time.
    """

    def __init__(self, eif: Path, *, memory_mib: int, state: Path | None = None) -> None:
        self.image: EifImage = read(eif)
        self.memory_mib = memory_mib
        # The paths of Unix sockets are short, whatever the folder of the tests is.
        self._folder = Path(tempfile.mkdtemp(prefix="enclave-vm-"))
        self.console = self._folder / "console.log"
        self.heartbeat = threading.Event()
        self.root_pem = (state or self._folder / "nsm") / "root.pem"
        self.device = self._folder / "vm.vsock"
        """Takes connections to the machine: `CONNECT PORT` and a line feed, answered by `OK …`."""
        measured = self.image.measurements
        registers = Registers.measured(pcr0=measured.pcr0, pcr1=measured.pcr1, pcr2=measured.pcr2, pcr8=measured.pcr8)
        self.module = SimulatedNsm(SimulatedPki.kept_in(self.root_pem.parent), registers)
        self._stack = contextlib.ExitStack()
        self._machine: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def start(self) -> None:
        """Switch it on; returns at once. Raises EnclaveVmError."""
        with contextlib.ExitStack() as stack:
            stack.callback(shutil.rmtree, self._folder, ignore_errors=True)
            stack.enter_context(NsmServer(self.service(MODULE_PORT), self.module))
            stack.enter_context(served(self.service(HEARTBEAT_PORT), self._answer_heartbeat))
            device_socket = self._folder / "vhost.sock"
            stack.enter_context(
                self._process(
                    "vsock",
                    [
                        str(vsock_device()),
                        f"--vm=guest-cid={_GUEST_CID},socket={device_socket},uds-path={self.device}",
                    ],
                )
            )
            _wait_for(device_socket)
            self._machine = stack.enter_context(self._process("qemu", self._command(device_socket)))
            self._stack = stack.pop_all()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Switch it off, and end what was `closed_with` it."""
        self._stack.close()

    def closed_with(self, block: AbstractContextManager[None]) -> None:
        """Enter this block now, and leave it when the machine is switched off."""
        self._stack.enter_context(block)

    @property
    def running(self) -> bool:
        """Whether it is switched on and has not ended itself."""
        return self._machine is not None and self._machine.poll() is None

    def connect(self, port: int, *, timeout: float = _ANSWER_SECONDS) -> socket.socket:
        """A stream to that vsock port of the machine; raises ConnectionRefusedError when nobody listens there."""
        stream = socket.socket(socket.AF_UNIX)
        stream.settimeout(timeout)
        try:
            stream.connect(str(self.device))
            stream.sendall(f"CONNECT {port}\n".encode())
            answer = b""
            while not answer.endswith(b"\n"):
                piece = stream.recv(1)
                if not piece:
                    raise ConnectionRefusedError(f"nobody listens on vsock port {port} of the machine")
                answer += piece
        except BaseException:
            stream.close()
            raise
        if not answer.startswith(b"OK "):
            stream.close()
            raise ConnectionRefusedError(f"vsock port {port}: {answer!r}")
        stream.settimeout(None)
        return stream

    def wait_until_listening(self, port: int = BROKER_PORT, *, seconds: float) -> float:
        """Wait for a listener on that port; returns the seconds it took. Raises EnclaveVmError with the last words."""
        begun = time.monotonic()
        while time.monotonic() - begun < seconds:
            self.require_running()
            with contextlib.suppress(OSError):
                self.connect(port, timeout=1).close()
                return time.monotonic() - begun
            time.sleep(0.1)
        raise EnclaveVmError(
            f"The machine did not listen on vsock port {port} within {seconds} s.\n{self.last_words()}"
        )

    def wait_until_ended(self, *, seconds: float) -> None:
        """Wait until the machine has ended itself; raises EnclaveVmError."""
        if self._machine is None:
            raise EnclaveVmError("The machine was not started.")
        try:
            self._machine.wait(seconds)
        except subprocess.TimeoutExpired:
            raise EnclaveVmError(f"The machine did not end within {seconds} s.\n{self.last_words()}") from None

    def require_running(self) -> None:
        """Raises EnclaveVmError when the machine has ended."""
        if not self.running:
            raise EnclaveVmError(f"The machine has ended.\n{self.last_words()}")

    def last_words(self) -> str:
        """The end of the console and of QEMU's own messages."""
        logs = [self.console, self._folder / "qemu.log", self._folder / "vsock.log"]
        lines = [
            line
            for log in logs
            if log.is_file()
            for line in log.read_text(errors="replace").splitlines()[-_LAST_LINES:]
        ]
        return "\n".join(lines)

    @contextmanager
    def relay(self, path: Path, port: int = BROKER_PORT) -> Iterator[str]:
        """The machine's port as a Unix socket on this host; gives the gRPC address, `unix:PATH`."""

        def carry(near: socket.socket) -> None:
            try:
                far = self.connect(port)
            except OSError:
                near.close()
            else:
                join(near, far)

        with served(path, carry):
            yield f"unix:{path}"

    def service(self, port: int) -> Path:
        """Where the vsock device takes the machine's connections to this port of its host."""
        return self.device.with_name(f"{self.device.name}_{port}")

    def _answer_heartbeat(self, stream: socket.socket) -> None:
        with stream:
            stream.settimeout(_ANSWER_SECONDS)
            byte = stream.recv(1)
            stream.sendall(byte)
            if byte == b"\xb7":
                self.heartbeat.set()

    def _command(self, device_socket: Path) -> list[str]:
        kernel, ramdisk = self._folder / "kernel", self._folder / "ramdisks"
        self._extract(SectionType.KERNEL, kernel)
        self._extract(SectionType.RAMDISK, ramdisk)
        return [
            QEMU,
            *("-M", "microvm,acpi=on,rtc=on,memory-backend=mem", "-accel", "tcg,thread=multi", "-cpu", _PROCESSOR),
            *("-m", f"{self.memory_mib}M", "-smp", str(_PROCESSORS)),
            *("-object", f"memory-backend-memfd,id=mem,share=on,size={self.memory_mib}M"),
            *("-kernel", str(kernel), "-initrd", str(ramdisk), "-append", f"{self.image.cmdline} {clock_parameters()}"),
            *("-chardev", f"socket,id=vsock,path={device_socket}"),
            *("-device", "vhost-user-vsock-device,chardev=vsock"),
            *("-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"),
            *("-serial", f"file:{self.console}"),
        ]

    def _extract(self, kind: SectionType, out: Path) -> None:
        with self.image.path.open("rb") as image, out.open("wb") as file:
            for section in self.image.sections:
                if section.kind is not kind:
                    continue
                image.seek(section.offset)
                for begin in range(0, section.size, _CHUNK):
                    file.write(image.read(min(_CHUNK, section.size - begin)))

    @contextmanager
    def _process(self, name: str, command: list[str]) -> Iterator[subprocess.Popen[bytes]]:
        with (self._folder / f"{name}.log").open("wb") as log:
            # Ends also when whoever started it is killed before the block ends.
            bound = ["setpriv", "--pdeathsig", "kill", *command]
            process = subprocess.Popen(bound, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait_for(path: Path) -> None:
    deadline = time.monotonic() + _DEVICE_SECONDS
    while not path.exists():
        if time.monotonic() > deadline:
            raise EnclaveVmError(f"The vsock device did not make {path.name} within {_DEVICE_SECONDS} s.")
        time.sleep(0.02)
