"""Web UIs of Spark on a manager's loopback, for sessions to forward: listed ports, nothing published, one UI each."""

from __future__ import annotations

import contextlib
import fcntl
import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from sparkvault_host.engine_api import EngineApi
from sparkvault_host.errors import HostError
from sparkvault_host.launcher.errors import LauncherError
from sparkvault_host.launcher.job_service import UI_PORT, service_name
from sparkvault_host.launcher.overlay import Overlay
from sparkvault_host.launcher.rules import Rules

#: Which job's driver is behind which port: ``{"4040": {"job": …, "at": …}}``.
ASSIGNMENTS = Path("/run/sparkvault/driver-uis.json")

#: Kind of service and port of each daemon's web UI inside the overlay.
DAEMONS = {"master": ("spark-master", 8080), "worker": ("spark-worker", 8081), "history": ("spark-history", 18080)}

MAX_CONNECTIONS = 64
_PIECE = 65536


def assign(job_id: str, rules: Rules, file: Path = ASSIGNMENTS, now: float | None = None) -> int:
    """The port behind which a job's driver is from now on: its own, a free one, or the one assigned longest ago."""
    with _assignments(file) as assigned:
        for port, entry in assigned.items():
            if entry["job"] == job_id:
                return int(port)
        free = [str(port) for port in rules.driver_ui_ports if str(port) not in assigned]
        port = free[0] if free else min(assigned, key=lambda one: float(str(assigned[one]["at"])))
        assigned[port] = {"job": job_id, "at": now if now is not None else time.time()}
        return int(port)


def behind(port: int, rules: Rules, overlay: Overlay, file: Path = ASSIGNMENTS) -> tuple[str, int]:
    """Address and port in the overlay that a connection to one of our ports goes to. Raises LauncherError."""
    for name, own in rules.daemon_ui_ports.items():
        if own == port:
            kind, inner = DAEMONS[name]
            return overlay.addresses_of_kind(kind)[0], inner
    with _assignments(file) as assigned:
        entry = assigned.get(str(port))
    if entry is None or not rules.is_job_id(entry["job"]):
        raise LauncherError(f"no job is assigned to port {port}")
    return overlay.address_of(service_name(str(entry["job"]))), UI_PORT


def serve(engine: EngineApi, rules: Rules, host: str = "127.0.0.1") -> None:
    """Listen on the loopback alone, for ever."""
    listeners = [listen(host, port) for port in (*rules.daemon_ui_ports.values(), *rules.driver_ui_ports)]
    slots = threading.BoundedSemaphore(MAX_CONNECTIONS)
    threads = [
        threading.Thread(
            target=_accept, args=(one, engine, rules, slots), daemon=True, name=f"port {one.getsockname()[1]}"
        )
        for one in listeners
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def listen(host: str, port: int) -> socket.socket:
    """A listening socket. Raises LauncherError."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        raise LauncherError(f"port {port} of the loopback is taken: {error}") from error
    listener.listen(16)
    return listener


def _accept(listener: socket.socket, engine: EngineApi, rules: Rules, slots: threading.BoundedSemaphore) -> None:
    port = listener.getsockname()[1]
    while True:
        connection, _ = listener.accept()
        if not slots.acquire(blocking=False):
            connection.close()
            continue
        threading.Thread(target=_relay, args=(connection, port, engine, rules, slots), daemon=True).start()


def _relay(
    connection: socket.socket, port: int, engine: EngineApi, rules: Rules, slots: threading.BoundedSemaphore
) -> None:
    try:
        with contextlib.closing(connection):
            try:
                overlay = Overlay(engine)
                other = overlay.connect(*behind(port, rules, overlay))
            except (HostError, OSError) as error:
                _explain(connection, str(error))
                return
            with contextlib.closing(other):
                back = threading.Thread(target=_copy, args=(other, connection), daemon=True)
                back.start()
                _copy(connection, other)
                back.join()
    finally:
        slots.release()


def _copy(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while True:
            piece = source.recv(_PIECE)
            if not piece:
                break
            sink.sendall(piece)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


def _explain(connection: socket.socket, text: str) -> None:
    """A browser shows why there is nothing."""
    body = f"sparkvault: {text}\n".encode()
    head = f"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\n"
    with contextlib.suppress(OSError):
        connection.sendall(head.encode() + b"Connection: close\r\n\r\n" + body)


@contextlib.contextmanager
def _assignments(file: Path) -> Iterator[dict[str, dict[str, object]]]:
    """The assignments, locked; changes are kept."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a+", encoding="utf-8") as opened:
        fcntl.flock(opened, fcntl.LOCK_EX)
        opened.seek(0)
        text = opened.read()
        assigned: dict[str, dict[str, object]] = json.loads(text) if text else {}
        yield assigned
        changed = json.dumps(assigned)
        if changed != text:
            opened.seek(0)
            opened.truncate()
            opened.write(changed)
