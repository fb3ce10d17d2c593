"""Becomes a session's worker: limits, its own user, no way back to more rights, an end when the broker ends; then exec.

A program of its own (standard library only), run as `python -I session_launcher.py UID DATA_BYTES FILE_BYTES COMMAND…`,
because a process with threads must not run Python between fork and exec. UID is `-` where the broker is not root.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys

# prctl(2), include/uapi/linux/prctl.h.
_PR_SET_PDEATHSIG = 1
_PR_SET_NO_NEW_PRIVS = 38
_MOST_DESCRIPTORS = 4096


def main(arguments: list[str]) -> None:
    """Never returns: runs the command, or raises OSError, which ends the process with a code other than 0."""
    uid, data_bytes, file_bytes, *command = arguments
    for kind, most in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, _MOST_DESCRIPTORS),
        (resource.RLIMIT_DATA, int(data_bytes)),
        (resource.RLIMIT_FSIZE, int(file_bytes)),
    ):
        resource.setrlimit(kind, (most, most))
    if uid != "-":
        os.setgroups([])
        os.setresgid(int(uid), int(uid), int(uid))
        os.setresuid(int(uid), int(uid), int(uid))
    libc = ctypes.CDLL(None, use_errno=True)
    # After the change of user, which would undo the first.
    for option, value in ((_PR_SET_PDEATHSIG, int(signal.SIGKILL)), (_PR_SET_NO_NEW_PRIVS, 1)):
        if libc.prctl(option, value, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl")
    os.execv(command[0], command)  # noqa: S606 (a list of arguments, no shell)


if __name__ == "__main__":
    main(sys.argv[1:])
