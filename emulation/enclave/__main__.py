"""`python -m emulation.enclave serve|up|down`: the enclave's server on a Unix socket, SIMULATED."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import Final

from emulation.enclave.code_measurement import measure_code, policy_for
from emulation.enclave.isolation import isolate
from emulation.enclave.parent_host import UnixParent
from emulation.enclave.simulated import EnclaveDidNotStart, SimulatedEnclave, stop
from emulation.nsm import Registers, SimulatedNsm, SimulatedPki
from emulation.nsm.wire_protocol import answer
from spark_enclave.server.attestation_device import NsmProtocol
from spark_enclave.server.serving import serving
from spark_enclave.server.session_worker import WorkerCommand
from spark_enclave.server.settings import Settings

#: Above the users of people and packages; so many for each enclave, twice its sessions and two.
_FIRST_UID: Final = 100_000
_UIDS: Final = 256


def main(arguments: list[str] | None = None) -> int:
    """0 done, 1 failed, 2 for wrong use."""
    options = _parser().parse_args(arguments)
    folder: Path = options.folder.absolute()
    if options.verb == "down":
        stop(folder)
        return 0
    if options.verb == "up":
        try:
            enclave = SimulatedEnclave(folder, heap_mib=options.heap_mib, sessions=options.sessions, stays=True)
            enclave.start()
        except EnclaveDidNotStart as error:
            print(error, file=sys.stderr)
            return 1
        print(f"SIMULATED enclave at {enclave.address}; it proves nothing about hardware.")
        print(f"measurements to expect: {enclave.measurements}")
        print(f"root to trust explicitly: {enclave.root}")
        return 0
    return _serve(folder, options)


def _serve(folder: Path, options: argparse.Namespace) -> int:
    if not options.worker:
        from emulation.enclave.session_command import find_session_jvm, reachable_for_sessions

        # Building the plugin may need the network, which is gone afterwards.
        jvm = find_session_jvm()
    isolated = isolate()
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s %(message)s", stream=sys.stderr)
    logging.info("SIMULATED; %s", "no network" if isolated else "NOT cut off from network and files: that takes root")
    settings: Settings = replace(
        Settings(
            heap_mib=options.heap_mib,
            sessions_most=options.sessions,
            scratch=options.scratch / "sessions",
            worker_start_seconds=280.0,  # a machine for tests may be slow or busy
            first_uid=_first_uid(),
        ),
        **json.loads(options.settings),
    )
    command: WorkerCommand
    measured: list[Path] = []
    if options.worker:
        words = json.loads(options.worker)
        command = lambda heap_mib, scratch: words  # noqa: E731
    else:
        command = reachable_for_sessions(jvm, options.scratch / "parts") if isolated else jvm
        measured = [jvm.plugin]
    registers = Registers.debug_mode() if options.debug_mode else measure_code(measured)
    if not options.debug_mode:
        (folder / "measurements.json").write_text(json.dumps(policy_for(registers), indent=1), encoding="utf-8")
    nsm = SimulatedNsm(SimulatedPki.kept_in(folder / "nsm"), registers)
    device = NsmProtocol(lambda request: answer(nsm, request))

    async def serve() -> None:
        ended = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, ended.set)
        parent = UnixParent(folder / "parent")
        async with serving(f"unix:{folder / 'enclave.sock'}", device, parent, command, settings):
            if options.with_parent:
                asyncio.get_running_loop().add_reader(sys.stdin.fileno(), ended.set)
            # Whoever started this waits for the line.
            print("ready", flush=True)
            await ended.wait()

    asyncio.run(serve())
    return 0


def _first_uid() -> int:
    """Users that no other simulated enclave of this machine has: a broker ends whatever runs under one of its own."""
    return _FIRST_UID + os.getpid() * _UIDS


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m emulation.enclave",
        description="Run the enclave's server as a process without a network. SIMULATED: it proves nothing about "
        "hardware, and a client trusts it only when given this simulation's root explicitly.",
    )
    parser.add_argument("verb", choices=("serve", "up", "down"), help="serve: in the foreground; up, down: beside it")
    parser.add_argument("--folder", type=Path, required=True, help="socket, root and measurements lie here")
    parser.add_argument("--heap-mib", type=int, default=1024, help="of one session's JVM")
    parser.add_argument("--sessions", type=int, default=1, help="how many run at a time")
    parser.add_argument("--scratch", type=Path, default=Path("/dev/shm/sparkvault"), help=argparse.SUPPRESS)  # noqa: S108
    parser.add_argument("--debug-mode", action="store_true", help="registers all zero, as in debug mode")
    # Ends when its standard input does, that is with the process that started it.
    parser.add_argument("--with-parent", action="store_true", help=argparse.SUPPRESS)
    # For tests: other limits, and another worker than the JVM.
    parser.add_argument("--settings", default="{}", help=argparse.SUPPRESS)
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
