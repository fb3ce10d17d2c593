"""Runs the enclaves of emulated hosts: outside of them, as Nitro's hypervisor is, and measured by it alone."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import socket
import sys
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from emulation.enclave_vm import EnclaveVm, EnclaveVmError
from emulation.enclave_vm.unix_relay import join, served
from spark_enclave_image.errors import EifError

#: Services of a host that its enclaves may call (spark_enclave/server/parent_host.py).
_HOST_PORTS: Final = (8000, 8001)
#: The real one gives an image 100 s until its heartbeat; an emulated processor is slower.
_HEARTBEAT_SECONDS: Final = 160.0
_QUESTION_BYTES: Final = 4096
_IMAGE_NAME: Final = re.compile(r"[A-Za-z0-9_.-]+\.eif")


class RefusedByHypervisor(Exception):
    """An enclave cannot be run; the message has nitro-cli's code."""


@dataclass
class _Enclave:
    identity: str
    name: str
    cid: int
    memory_mib: int
    cpus: int
    vm: EnclaveVm

    def described(self) -> dict[str, Any]:
        """As `nitro-cli describe-enclaves` has it."""
        measured = self.vm.image.measurements.to_json()
        return {
            "EnclaveName": self.name,
            "EnclaveID": self.identity,
            "EnclaveCID": self.cid,
            "NumberOfCPUs": self.cpus,
            "MemoryMiB": self.memory_mib,
            "State": "RUNNING" if self.vm.running else "TERMINATING",
            "Flags": "NONE",
            "Measurements": {"HashAlgorithm": "Sha384 { ... }", **measured},
        }


class Hypervisor:
    """One for all hosts of an emulation; `folder` holds a folder for each host, and the simulated root.

    Never in debug mode: a console that a host could read is not emulated. All methods may be called from any thread.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.root = folder / "nsm" / "root.pem"
        """Certificate of the simulated root: what a client must trust explicitly."""
        self._hosts: dict[str, _Host] = {}

    def attach(self, host: str) -> Path:
        """The folder that the host sees as HOST_FOLDER."""
        if host not in self._hosts:
            self._hosts[host] = _Host(self._folder / host, self.root.parent)
        return self._hosts[host].folder

    def detach(self, host: str) -> None:
        """The host is gone, and all its enclaves with it; harmless where there is none."""
        found = self._hosts.pop(host, None)
        if found is not None:
            found.end()

    def stop(self) -> None:
        """End everything."""
        for host in list(self._hosts):
            self.detach(host)


class _Host:
    """What one host has of the hypervisor."""

    def __init__(self, folder: Path, state: Path) -> None:
        self.folder, self._state = folder, state
        self._enclaves: list[_Enclave] = []
        # One thread for all: starting two at once fails on the real one (E36, E39), and a machine ends with the thread
        # that started it (prctl(2), PR_SET_PDEATHSIG).
        self._thread = ThreadPoolExecutor(1, "hypervisor")
        self._listeners = contextlib.ExitStack()
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o1777)  # services of the host that listen there have users of their own
        self._listeners.enter_context(served(folder / "hypervisor.sock", self._answer))

    def end(self) -> None:
        self._listeners.close()
        for enclave in self._thread.submit(list, self._enclaves).result():
            self._end(enclave)
        self._thread.shutdown()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _answer(self, channel: socket.socket) -> None:
        with channel, channel.makefile("rb") as questions:
            question = json.loads(questions.readline(_QUESTION_BYTES))
            try:
                answer = self._thread.submit(self._do, question).result()
            except RefusedByHypervisor as error:
                answer = {"error": str(error)}
            channel.sendall(json.dumps(answer).encode() + b"\n")

    def _do(self, question: dict[str, Any]) -> object:
        match question:
            case {"do": "describe"}:
                return [enclave.described() for enclave in self._enclaves]
            case {"do": "terminate", "id": identity}:
                found = [enclave for enclave in self._enclaves if enclave.identity == identity]
                if not found:
                    raise RefusedByHypervisor(f"[ E21 ] there is no enclave {identity}")
                self._end(found[0])
                return {"EnclaveID": identity, "Terminated": True}
            case {"do": "run", "image": str(image), "name": str(name), "cid": int(cid), "memory_mib": int(memory),
                  "cpus": int(cpus)} if _IMAGE_NAME.fullmatch(image) and cid > 2:  # fmt: skip
                return self._run(self.folder / image, name, cid, memory, cpus)
        raise RefusedByHypervisor("[ E00 ] not a question of nitro-cli")

    def _run(self, image: Path, name: str, cid: int, memory_mib: int, cpus: int) -> dict[str, Any]:
        if any(enclave.cid == cid for enclave in self._enclaves):
            raise RefusedByHypervisor(f"[ E29 ] the CID {cid} is in use")
        try:
            vm = EnclaveVm(image, memory_mib=memory_mib, state=self._state)
            vm.start()
        except (EifError, EnclaveVmError, OSError) as error:
            raise RefusedByHypervisor(f"[ E19 ] {error}") from None
        enclave = _Enclave(f"i-emulated-enc{uuid.uuid4().hex[:17]}", name, cid, memory_mib, cpus, vm)
        if not vm.heartbeat.wait(_HEARTBEAT_SECONDS):
            last = vm.last_words()
            vm.stop()
            raise RefusedByHypervisor(f"[ E36 ] no heartbeat within {_HEARTBEAT_SECONDS:.0f} s: {last}")
        self._enclaves.append(enclave)
        vm.closed_with(served(self.folder / f"{cid}.sock", lambda near: _call(near, vm.device), mode=0o666))
        for port in _HOST_PORTS:
            # The host's service learns by whom it is called (vsock_over_unix.c).
            service, caller = self.folder / f"port_{port}", cid.to_bytes(4, "little")
            vm.closed_with(served(vm.service(port), partial(_call, place=service, first=caller)))
        return enclave.described()

    def _end(self, enclave: _Enclave) -> None:
        if not enclave.vm.running:
            # The real one tells nobody; whoever emulates wants to know.
            print(f"the enclave {enclave.name} had ended by itself:\n{enclave.vm.last_words()}", file=sys.stderr)
        enclave.vm.stop()
        self._enclaves.remove(enclave)


def _call(near: socket.socket, place: Path, first: bytes = b"") -> None:
    """Carry bytes between a connection and what listens at `place`, which gets `first` before them."""
    far = socket.socket(socket.AF_UNIX)
    try:
        far.connect(str(place))
        far.sendall(first)
    except OSError:
        near.close()
        far.close()
    else:
        join(near, far)
