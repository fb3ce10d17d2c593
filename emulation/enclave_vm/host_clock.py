"""Tells a virtual machine's kernel how fast the processor's time-stamp counter runs, so that it need not find out.

Without KVM a kernel measures the counter against a timer that a busy host delays: it fails, and waits for ever. Nothing
in an image rests on its command line (docs/decisions/013), and the simulated registers are those of the file as built.
"""

from __future__ import annotations

import ctypes
import mmap
import time
from collections.abc import Callable
from typing import Final

#: x86-64: rdtsc; shl rdx, 32; or rax, rdx; ret.
_READ_COUNTER: Final = bytes.fromhex("0f31 48c1e220 4809d0 c3")
_APART_SECONDS: Final = 0.1
_TRIES: Final = 20


def clock_parameters() -> str:
    """Parameters of Linux (admin-guide/kernel-parameters): QEMU's TCG passes this machine's counter through."""
    return f"tsc_early_khz={_counter_khz()} tsc=reliable no_timer_check"


def _counter_khz() -> int:
    with mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC) as code:
        code.write(_READ_COUNTER)
        begin = ctypes.c_char.from_buffer(code)
        counter = ctypes.CFUNCTYPE(ctypes.c_uint64)(ctypes.addressof(begin))
        began, first = _instant(counter)
        time.sleep(_APART_SECONDS)
        ended, last = _instant(counter)
        # The mapping cannot be closed while something points into it.
        del begin
    return (last - first) * 1_000_000 // (ended - began)


def _instant(counter: Callable[[], int]) -> tuple[int, int]:
    """Nanoseconds and ticks of one moment: of several readings that around which the least time passed."""
    readings = []
    for _ in range(_TRIES):
        before, ticks, after = time.monotonic_ns(), counter(), time.monotonic_ns()
        readings.append((after - before, before, ticks))
    _, nanoseconds, ticks = min(readings)
    return nanoseconds, ticks
