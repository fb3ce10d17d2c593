"""Exit code 0 if what this container runs answers; what that is, the entrypoint wrote down."""

import json
import os
import socket
import sys
import urllib.error
import urllib.request
from pathlib import Path

TIMEOUT_SECONDS = 4


def main() -> None:
    """Check by mode. Applications have nothing that could be asked."""
    try:
        kind, port = Path("/tmp/sparkvault-mode").read_text(encoding="utf-8").split()  # noqa: S108 - the container's own
    except OSError:
        sys.exit("nothing has been started yet")
    if kind in ("master", "worker"):
        state = answer(kind, int(port))
        if kind == "master" and state.get("status") not in ("ALIVE", "STANDBY", "RECOVERING", "COMPLETING_RECOVERY"):
            sys.exit(f"the master is {state.get('status')}")
        if kind == "worker" and not state.get("masterurl"):
            sys.exit("the worker has no master")
    elif kind == "zookeeper":
        if ask("127.0.0.1", int(port), b"ruok") != b"imok":
            sys.exit("ZooKeeper does not answer")
    elif kind in ("history", "connect"):
        ask("127.0.0.1" if kind == "connect" else socket.gethostname(), int(port), b"")


def answer(kind: str, port: int) -> dict[str, object]:
    """What the daemon says of itself as JSON."""
    host = os.environ.get(f"SPARK_{kind.upper()}_HOST") or socket.gethostname()
    try:
        with urllib.request.urlopen(f"http://{host}:{port}/json/", timeout=TIMEOUT_SECONDS) as reply:
            return dict(json.load(reply))
    except (OSError, ValueError) as error:
        sys.exit(f"the {kind} does not answer: {error}")


def ask(host: str, port: int, question: bytes) -> bytes:
    """Connect, say something, and read up to the end."""
    try:
        with socket.create_connection((host, port), TIMEOUT_SECONDS) as connection:
            if not question:
                return b""
            connection.sendall(question)
            return connection.recv(64)
    except OSError as error:
        sys.exit(f"nothing answers on port {port}: {error}")


main()
