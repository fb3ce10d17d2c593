"""Ctrl-C, a closed terminal and SIGTERM while something is half done: cleaned up after, whichever it was."""

import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

#: How long a program may take to end once its terminal is gone.
END_SECONDS = 10.0


@contextmanager
def interruptible() -> Iterator[None]:
    """Have SIGTERM and SIGHUP raise KeyboardInterrupt, as SIGINT does, so that `finally` and `except` see them."""
    with _handling(_interrupt, _SIGNALS):
        yield


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Clean up in peace: further signals are heard and let go."""
    with _handling(_let_go, _SIGNALS):
        yield


def run_on_terminal(command: list[str], environment: Mapping[str, str]) -> int:
    """Run a program that has this terminal to its end; its exit code as shells give it, 128 and the signal's number.

    Ctrl-C is the program's. Whatever else interrupts us, as a closed window does, ends the program first.
    """
    with _handling(_let_go, (signal.SIGINT,)):
        process = subprocess.Popen(command, env=environment)
        try:
            code = process.wait()
        except BaseException:
            process.send_signal(signal.SIGHUP)  # as of a window that is closed: shells heed no SIGTERM
            try:
                process.wait(END_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            raise
    return 128 - code if code < 0 else code


@contextmanager
def _handling(handler: object, signals: tuple[signal.Signals, ...]) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread is ever interrupted
        return
    # Python functions, not SIG_IGN: programs we start meanwhile do not inherit them.
    before = {number: signal.signal(number, handler) for number in signals}  # type: ignore[arg-type]
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _let_go(number: int, frame: FrameType | None) -> None:
    return
