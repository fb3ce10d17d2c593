"""Takes from this process and all that it starts what an enclave does not have: a network, and the host's folders."""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import struct
from pathlib import Path
from typing import Final

#: Linux, include/uapi/linux/sched.h, mount.h, sockios.h and if.h.
_CLONE_NEWNS: Final = 0x00020000
_CLONE_NEWNET: Final = 0x40000000
_MS_RDONLY, _MS_REMOUNT, _MS_BIND, _MS_REC, _MS_PRIVATE = 0x1, 0x20, 0x1000, 0x4000, 0x40000
_SIOCSIFFLAGS: Final = 0x8914
_IFF_UP_RUNNING: Final = 0x1 | 0x40

_libc = ctypes.CDLL(None, use_errno=True)


def isolate() -> bool:
    """Enter namespaces of mounts and network, the latter with `lo` alone. False where this user may not.

    To be called before there are threads.
    """
    if os.geteuid() != 0 or _libc.unshare(_CLONE_NEWNET | _CLONE_NEWNS) != 0:
        return False
    _check(_libc.mount(b"none", b"/", None, _MS_REC | _MS_PRIVATE, None))
    # Inside an enclave the init does the same: Spark talks to itself over loopback.
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", _IFF_UP_RUNNING))
    return True


def show_read_only(folder: Path, at: Path) -> None:
    """Mount a folder elsewhere, where a session's user can reach it although it cannot enter this user's home."""
    at.mkdir(mode=0o755, parents=True, exist_ok=True)
    _check(_libc.mount(bytes(folder), bytes(at), None, _MS_BIND, None))
    _check(_libc.mount(None, bytes(at), None, _MS_BIND | _MS_REMOUNT | _MS_RDONLY, None))


def _check(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
