"""The person's end of a Spark Connect server: its port on this machine, and the program that uses it."""

import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from sparkvault.console import say
from sparkvault.errors import SparkvaultError, UsageError, WaitTimeout
from sparkvault.targets.interruption import run_on_terminal
from sparkvault.targets.remote.sessions import free_port

#: Opens a session that forwards this local port; the process that keeps it.
Forward = Callable[[int], "subprocess.Popen[bytes]"]

#: Systems Manager ends sessions that are idle or old: the port is forwarded again, after pauses that double.
AGAIN_PAUSES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)

#: How long a forwarded port's process may take to end, in seconds.
END_SECONDS = 10.0

#: What a client of HTTP/2 says first, with an empty frame of settings; a server's first frame is of settings, too:
#: type 4 (RFC 9113, 3.4 and 6.5). gRPC is HTTP/2.
_HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
_FRAME_HEADER, _SETTINGS = 9, 4


def find_program(command: list[str]) -> list[str]:
    """The command, or this person's own shell where there is none. Raises UsageError for a program that is not here."""
    words = command or [os.environ.get("SHELL") or "/bin/sh"]
    if shutil.which(words[0]) is None:
        raise UsageError(f"{words[0]} is no program of this machine", "give one that is here, or none for a shell")
    return words


@contextmanager
def kept_forward(forward: Forward) -> Iterator[int]:
    """A port of this machine that leads to the server, for as long as the context lasts. Raises SparkvaultError."""
    port = free_port()
    keeper = _Keeper(forward, port)
    try:
        yield port
    finally:
        keeper.end()


class _Keeper:
    """Watches the process that forwards, and starts another when it has ended."""

    def __init__(self, forward: Forward, port: int) -> None:
        self._forward, self._port = forward, port
        self._over = threading.Event()
        self._process = forward(port)
        self._thread = threading.Thread(target=self._keep, name="forwarded-port", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Forward no longer."""
        self._over.set()
        self._process.terminate()
        self._thread.join(END_SECONDS)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(END_SECONDS)

    def _keep(self) -> None:
        while not self._over.is_set():
            self._process.wait()
            for pause in AGAIN_PAUSES:
                if self._over.wait(pause):
                    return
                try:
                    self._process = self._forward(self._port)
                    break
                except SparkvaultError as error:
                    why = error.what
            else:
                say(f"the port is forwarded no longer: {why}")
                return


def wait_for_server(port: int, seconds: float, alive: Callable[[], None]) -> None:
    """Wait until a server of HTTP/2 answers behind the port; ``alive`` raises where none will. Raises WaitTimeout."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if answers(port):
            return
        alive()
        time.sleep(1)
    raise WaitTimeout("the Spark Connect server to answer", seconds)


def answers(port: int, seconds: float = 5.0) -> bool:
    """Whether a server of HTTP/2 answers on that port of this machine's loopback."""
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=seconds) as probe:
        probe.settimeout(seconds)
        probe.sendall(_HELLO)
        heard = b""
        while len(heard) < _FRAME_HEADER:
            more = probe.recv(_FRAME_HEADER - len(heard))
            if not more:
                return False
            heard += more
        return heard[3] == _SETTINGS
    return False


def run_client(words: list[str], remote: str) -> int:
    """Run the program to its end; its exit code. ``remote`` holds a token, so that it goes by the environment alone."""
    return run_on_terminal(words, {**os.environ, "SPARK_REMOTE": remote})
