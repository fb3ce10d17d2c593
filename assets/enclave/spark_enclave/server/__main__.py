"""`python -m spark_enclave.server`: the enclave's one service. No arguments, no environment, no command line."""

from __future__ import annotations

import asyncio
import ctypes
import logging
import os
import signal
import sys
from pathlib import Path
from typing import Final

from spark_enclave.server.attestation_device import DeviceFailed
from spark_enclave.server.nsm_device import open_nsm
from spark_enclave.server.parent_host import VsockParent
from spark_enclave.server.serving import serving
from spark_enclave.server.session_jvm import SessionJvm
from spark_enclave.server.settings import Settings, TooLittleMemory, memory_of_machine
from spark_enclave.server.vsock_relay import listen_on_vsock, relaying

SOCKET: Final = Path("/run/sparkvault/broker.sock")
#: prctl(2): nobody may trace this process or read its memory through /proc.
_PR_SET_DUMPABLE: Final = 4


def main() -> int:
    """Serve until SIGTERM; 1 when the enclave cannot serve."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s %(message)s", stream=sys.stderr)
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    os.umask(0o077)
    try:
        asyncio.run(_serve())
    except (DeviceFailed, TooLittleMemory, OSError) as error:
        print(f"The broker cannot serve: {error}", file=sys.stderr)
        return 1
    return 0


async def _serve() -> None:
    device = open_nsm()
    settings = Settings.for_memory(memory_of_machine())
    ended = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    SOCKET.parent.mkdir(mode=0o711, parents=True, exist_ok=True)
    async with (
        serving(f"unix:{SOCKET}", device, VsockParent(), SessionJvm(), settings),
        relaying(listen_on_vsock(), SOCKET),
    ):
        await ended.wait()


if __name__ == "__main__":
    raise SystemExit(main())
