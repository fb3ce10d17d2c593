"""Reaches Spark's ports inside the overlay network from a manager, through the network of a container that is on it.

Nothing is published for it: the host itself is not on the overlay, so a thread steps into the network namespace of a
container that is, opens a connection there, and steps out again. The connection stays where it was made.
"""

from __future__ import annotations

import contextlib
import ctypes
import http.client
import os
import socket
import threading
from collections.abc import Iterator
from typing import Any

from sparkvault_host.engine_api import EngineApi
from sparkvault_host.launcher.errors import LauncherError
from sparkvault_host.launcher.job_service import OVERLAY

CONNECT_SECONDS = 10.0

#: Label by which the agent says what a service is for.
KIND_LABEL = "sparkvault.service"

#: What Swarm wants of the tasks of a service, and of those of a job.
_WANTED = ("running", "complete")

_CLONE_NEWNET = 0x40000000  # setns(2)


class Overlay:
    """The overlay as this manager reaches it. Methods raise LauncherError, EngineError, OSError."""

    def __init__(self, engine: EngineApi) -> None:
        self._engine = engine

    def address_of(self, service: str) -> str:
        """Address in the overlay of a service's newest running task."""
        return self.addresses({"name": [service]}, service)[0]

    def addresses_of_kind(self, kind: str) -> list[str]:
        """Addresses of all running tasks of one of the agent's kinds of services (``spark-master``)."""
        return self.addresses({"label": [f"{KIND_LABEL}={kind}"]}, kind)

    def addresses(self, filters: dict[str, list[str]], what: str) -> list[str]:
        """Addresses of the running tasks of some services, newest first; never none."""
        names = [service["Spec"]["Name"] for service in self._engine.get("/services", filters=filters) or []]
        if "name" in filters:  # the engine takes it for a prefix
            names = [name for name in names if name in filters["name"]]
        tasks: list[dict[str, Any]] = []
        if names:
            tasks = self._engine.get("/tasks", filters={"service": names}) or []
        running = [task for task in tasks if task["Status"]["State"] == "running" and task["DesiredState"] in _WANTED]
        newest = sorted(running, key=lambda one: str(one["CreatedAt"]), reverse=True)
        found = [address for address in map(_address, newest) if address]
        if not found:
            raise LauncherError(f"no task of {what} runs; `sparkvault status` shows what does")
        return found

    def connect(self, address: str, port: int) -> socket.socket:
        """A connection to a port inside the overlay."""
        with _inside(self._namespace()):
            connection = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            connection.settimeout(CONNECT_SECONDS)
            connection.connect((address, port))
        except OSError:
            connection.close()
            raise
        connection.settimeout(None)
        return connection

    def fetch(self, address: str, port: int, path: str) -> bytes:
        """GET of a web UI's page."""
        connection = http.client.HTTPConnection(address, port, timeout=CONNECT_SECONDS)
        with contextlib.closing(connection):
            connection.sock = self.connect(address, port)
            connection.sock.settimeout(CONNECT_SECONDS)
            connection.request("GET", path)
            return connection.getresponse().read(1_000_000)

    def _namespace(self) -> str:
        for container in self._engine.get("/containers/json") or []:
            networks = (container.get("NetworkSettings") or {}).get("Networks") or {}
            if OVERLAY in networks:
                process = self._engine.get(f"/containers/{container['Id']}/json")["State"]["Pid"]
                if process:
                    return f"/proc/{process}/ns/net"
        raise LauncherError("no container of this manager is on the overlay network; Spark's master is not up here")


def _address(task: dict[str, Any]) -> str | None:
    for attachment in task.get("NetworksAttachments") or []:
        if attachment["Network"]["Spec"]["Name"] == OVERLAY and attachment.get("Addresses"):
            return str(attachment["Addresses"][0]).split("/")[0]
    return None


@contextlib.contextmanager
def _inside(namespace: str) -> Iterator[None]:
    """This thread, and no other, is in another network namespace for a moment (setns(2): it is per thread)."""
    own = os.open(f"/proc/self/task/{threading.get_native_id()}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        other = os.open(namespace, os.O_RDONLY | os.O_CLOEXEC)
        try:
            _enter(other)
        finally:
            os.close(other)
        try:
            yield
        finally:
            _enter(own)
    finally:
        os.close(own)


def _enter(descriptor: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(descriptor, _CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"cannot enter a container's network: {os.strerror(number)}")
