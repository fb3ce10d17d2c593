"""Talks to systemd: how the agent is (sd_notify(3)), ready only when the host does its work; and what to start anew."""

from __future__ import annotations

import os
import socket
import subprocess

from sparkvault_host.errors import HostError

#: Seconds that a unit may take to end and to be up again; systemd itself kills what does not end in 90.
RESTART_SECONDS = 150.0


def notify(*lines: str) -> None:
    """Send lines such as ``READY=1`` to whoever started this process as a service; silent elsewhere."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    target = "\0" + address[1:] if address.startswith("@") else address
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
        channel.sendto("\n".join(lines).encode(), target)


def restart(unit: str) -> None:
    """Start a unit anew, and wait until it is up. Raises HostError."""
    try:
        done = subprocess.run(
            ["systemctl", "restart", unit], capture_output=True, text=True, timeout=RESTART_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise HostError(f"{unit} was not started anew: {error}") from error
    if done.returncode != 0:
        raise HostError(f"{unit} was not started anew: {done.stderr.strip()}")
