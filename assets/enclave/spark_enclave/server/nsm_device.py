"""`/dev/nsm`, the Nitro Security Module of the enclave that this runs in."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import struct
from pathlib import Path
from typing import Final

from spark_enclave.server.attestation_device import MAX_RESPONSE_BYTES, DeviceFailed, NsmProtocol

DEVICE: Final = Path("/dev/nsm")

#: _IOWR(0x0A, 0, struct nsm_message), which is two `struct iovec`: request, response (Linux, include/uapi/linux/nsm.h,
#: and aws-nitro-enclaves-nsm-api, src/driver/mod.rs).
_MESSAGE: Final = struct.Struct("PNPN")
_IOCTL: Final = 3 << 30 | _MESSAGE.size << 16 | 0x0A << 8


def open_nsm(path: Path = DEVICE) -> NsmProtocol:
    """The module behind that device file; raises DeviceFailed where there is none."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        raise DeviceFailed(f"{path} cannot be opened ({errno.errorcode.get(error.errno or 0, error.errno)}).") from None
    return NsmProtocol(lambda request: _exchange(descriptor, request))


def _exchange(descriptor: int, request: bytes) -> bytes:
    sent = ctypes.create_string_buffer(request, len(request))
    received = ctypes.create_string_buffer(MAX_RESPONSE_BYTES)
    message = bytearray(
        _MESSAGE.pack(ctypes.addressof(sent), len(request), ctypes.addressof(received), MAX_RESPONSE_BYTES)
    )
    fcntl.ioctl(descriptor, _IOCTL, message)
    length: int = _MESSAGE.unpack(message)[3]
    return received.raw[: min(length, MAX_RESPONSE_BYTES)]
