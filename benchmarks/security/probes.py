"""Runs inside a container and tries what an attacker would try first; prints one line of JSON for each probe.

Harmless: calls are made with arguments that cannot succeed (a null pointer, a bad descriptor), files are opened and
never written, and what exhausts something stops at a small bound. What counts is how far a call gets: EPERM, EACCES and
ENOSYS say that it was refused at the door; EFAULT, EINVAL or EBADF that its code in the kernel was reached.

Standard library only: it is sent to the container's own Python by standard input.
"""

import ctypes
import errno
import json
import os
import signal
import socket
import sys
from pathlib import Path
from types import FrameType

#: What became of a probe, and the evidence.
Outcome = tuple[str, str]

BLOCKED, POSSIBLE = "blocked", "possible"
_LIBC = ctypes.CDLL(None, use_errno=True)
_REFUSALS = {errno.EPERM, errno.EACCES, errno.ENOSYS, errno.ENOENT, errno.EROFS, errno.ENODEV, errno.EOPNOTSUPP}

#: Numbers of system calls on x86_64 and on arm64 (the kernel's tables).
CALLS = {
    "bpf": (321, 280), "perf_event_open": (298, 241), "io_uring_setup": (425, 425), "userfaultfd": (323, 282),
    "keyctl": (250, 219), "add_key": (248, 217), "init_module": (175, 105), "finit_module": (313, 273),
    "kexec_load": (246, 104), "open_by_handle_at": (304, 265), "mount": (165, 40), "unshare": (272, 97),
    "setns": (308, 268), "syslog": (103, 116), "swapon": (167, 224), "ptrace": (101, 117),
}  # fmt: skip
CLONE_NEWUSER = 0x10000000


def call(name: str, *arguments: int) -> int:
    """The error number of a system call, 0 where it succeeded."""
    number = CALLS[name][0 if os.uname().machine == "x86_64" else 1]
    ctypes.set_errno(0)
    result = int(_LIBC.syscall(ctypes.c_long(number), *(ctypes.c_long(each) for each in arguments)))
    return 0 if result >= 0 else ctypes.get_errno()


def reached(name: str, *arguments: int) -> Outcome:
    """How far that call got."""
    number = call(name, *arguments)
    said = errno.errorcode.get(number, "done") if number else "done"
    return (BLOCKED if number in _REFUSALS else POSSIBLE), name + ": " + said


def opens(path: str, flags: int) -> Outcome:
    """Whether that file of the kernel can be opened."""
    try:
        os.close(os.open(path, flags))
    except OSError as error:
        return BLOCKED, path + ": " + errno.errorcode.get(error.errno or 0, "?")
    return POSSIBLE, path + " opens"


def kernel_identity() -> Outcome:
    """CWE-1188: the kernel that is seen is the host's own, so that its flaws are within reach."""
    seen = Path("/proc/version").read_text(encoding="utf-8").strip()
    return (POSSIBLE if seen == sys.argv[1] else BLOCKED), seen[:60]


def bpf() -> Outcome:
    """CVE-2021-3490 and its class: the kernel's own compiler for programs from outside."""
    return reached("bpf", 0, 0, 0)


def perf_events() -> Outcome:
    """CVE-2013-2094 and its class: performance counters."""
    return reached("perf_event_open", 0, 0, -1, -1, 0)


def io_uring() -> Outcome:
    """CVE-2022-29582 and its class: queues shared with the kernel."""
    return reached("io_uring_setup", 0, 0)


def userfaultfd() -> Outcome:
    """CVE-2021-22555 and others used it to win races: page faults handled by the attacker."""
    return reached("userfaultfd", -1)


def keyrings() -> Outcome:
    """CVE-2016-0728 and its class: keys that the kernel keeps."""
    return reached("keyctl", -1, 0, 0, 0, 0)


def kernel_modules() -> Outcome:
    """CWE-250: code put into the kernel."""
    return reached("init_module", 0, 0, 0)


def another_kernel() -> Outcome:
    """CWE-250: another kernel started."""
    return reached("kexec_load", 0, 0, 0, 0)


def files_by_handle() -> Outcome:
    """The `shocker` escape (CWE-22): a file of the host opened by its number, past all mounts."""
    return reached("open_by_handle_at", -100, 0, 0)


def mounts() -> Outcome:
    """CWE-250: file systems mounted."""
    return reached("mount", 0, 0, 0, 0, 0)


def user_namespaces() -> Outcome:
    """CVE-2022-0185 and its class: a user namespace, in which everybody is root over much of the kernel."""
    child = os.fork()
    if child == 0:
        os._exit(0 if call("unshare", CLONE_NEWUSER) == 0 else 1)
    _, status = os.waitpid(child, 0)
    return (POSSIBLE if os.waitstatus_to_exitcode(status) == 0 else BLOCKED), "unshare(CLONE_NEWUSER)"


def kernel_log() -> Outcome:
    """CWE-532: addresses and neighbours' names in the kernel's log."""
    return reached("syslog", 3, 0, 0)


def core_pattern() -> Outcome:
    """CWE-732: the program that the host starts when something crashes."""
    return opens("/proc/sys/kernel/core_pattern", os.O_WRONLY)


def sysrq() -> Outcome:
    """CWE-732: the host's emergency keys."""
    return opens("/proc/sysrq-trigger", os.O_WRONLY)


def kernel_memory() -> Outcome:
    """CWE-200: the memory of the kernel as a file."""
    return opens("/proc/kcore", os.O_RDONLY)


def device_memory() -> Outcome:
    """CWE-250: the machine's memory as a device."""
    return opens("/dev/mem", os.O_RDWR)


def uevent_helper() -> Outcome:
    """CWE-732: the program that the host starts for a new device."""
    return opens("/sys/kernel/uevent_helper", os.O_WRONLY)


def cgroup_release_agent() -> Outcome:
    """CVE-2022-0492: the program that the host starts when a control group empties."""
    for folder, _, files in os.walk("/sys/fs/cgroup"):
        if "release_agent" in files:
            outcome = opens(f"{folder}/release_agent", os.O_WRONLY)
            if outcome[0] == POSSIBLE:
                return outcome
    return BLOCKED, "no release_agent can be opened for writing"


def privileges() -> Outcome:
    """CWE-269: capabilities, or a way to get some by a setuid program."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    status = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    # gVisor shows no line NoNewPrivs; what it says by prctl is what counts.
    no_new = _LIBC.prctl(39, 0, 0, 0, 0)
    held = int(status.get("CapEff", "0"), 16) | int(status.get("CapPrm", "0"), 16)
    return (POSSIBLE if held or no_new != 1 else BLOCKED), f"capabilities {held:x}, no_new_privs {no_new}"


def raw_sockets() -> Outcome:
    """CWE-290: packets with somebody else's address."""
    try:
        socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP).close()
    except OSError as error:
        return BLOCKED, errno.errorcode.get(error.errno or 0, "?")
    return POSSIBLE, "a raw socket opens"


def packet_sockets() -> Outcome:
    """CWE-319: neighbours' packets read off the bridge."""
    try:
        socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0).close()
    except OSError as error:
        return BLOCKED, errno.errorcode.get(error.errno or 0, "?")
    return POSSIBLE, "a packet socket opens"


def docker_socket() -> Outcome:
    """CWE-250: whoever reaches Docker is root on the host."""
    there = [path for path in ("/var/run/docker.sock", "/run/docker.sock", "/run/containerd") if Path(path).exists()]
    return (POSSIBLE if there else BLOCKED), ", ".join(there) or "not there"


def neighbours_processes() -> Outcome:
    """CWE-200: command lines and environments of other tenants' processes."""
    found = 0
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                found += sys.argv[2].encode() in (folder / "cmdline").read_bytes()
            except OSError:
                continue
    # Our own command line holds the mark as well.
    return (POSSIBLE if found > 1 else BLOCKED), f"{max(0, found - 1)} processes with the neighbour's mark"


def neighbours_files() -> Outcome:
    """CWE-732: another tenant's working folder."""
    return opens(sys.argv[3], os.O_RDONLY)


def neighbours_ports() -> Outcome:
    """CWE-923: a port of another tenant's container; what listens must ask who it is, as Spark does by its secret."""
    return _connects(sys.argv[4])


def hosts_loopback() -> Outcome:
    """CWE-923: what the host keeps for itself: pages and agents that listen on its loopback."""
    return _connects(sys.argv[5])


def root_file_system() -> Outcome:
    """CWE-732: programs of the image changed for whoever starts next in this container."""
    return opens("/opt/yarn/bin/java", os.O_WRONLY)


def processes_without_end() -> Outcome:
    """CWE-400: a fork bomb, of three hundred short-lived processes at most."""
    children = []
    try:
        for _ in range(300):
            child = os.fork()
            if child == 0:
                try:
                    # All end together, when the last writer of this pipe is gone.
                    os.close(_PIPE[1])
                    os.read(_PIPE[0], 1)
                finally:
                    os._exit(0)
            children.append(child)
    except OSError:
        return BLOCKED, f"stopped after {len(children)}"
    finally:
        os.close(_PIPE[1])
        for child in children:
            os.waitpid(child, 0)
    return POSSIBLE, f"all {len(children)} started"


def memory_without_end() -> Outcome:
    """CWE-400: three times the memory that the container was given, touched page by page, in a child."""
    child = os.fork()
    if child == 0:
        kept: list[bytearray] = []
        for _ in range(int(sys.argv[6]) * 3 // 16):
            kept.append(bytearray(os.urandom(4096) * 4096))
        os._exit(0)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    return (POSSIBLE if code == 0 else BLOCKED), f"ended with {code}"


def _connects(where: str) -> Outcome:
    host, _, port = where.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=2).close()
    except OSError as error:
        return BLOCKED, errno.errorcode.get(error.errno or 0, type(error).__name__)
    return POSSIBLE, "connected"


_PIPE = os.pipe()
_SECONDS = 30

#: Doors of the kernel that answers the call: where that is not the host's, what opens is the container's own.
KERNEL_DOORS = frozenset(
    each.__name__
    for each in (
        *(bpf, perf_events, io_uring, userfaultfd, keyrings, kernel_modules, another_kernel, mounts, user_namespaces),
        *(kernel_log, core_pattern, sysrq, kernel_memory, uevent_helper, cgroup_release_agent),
    )
)

#: In the order in which they run: what may end the process comes last.
PROBES = (
    kernel_identity, bpf, perf_events, io_uring, userfaultfd, keyrings, kernel_modules, another_kernel, files_by_handle,
    mounts, user_namespaces, kernel_log, core_pattern, sysrq, kernel_memory, device_memory, uevent_helper,
    cgroup_release_agent, privileges, raw_sockets, packet_sockets, docker_socket, neighbours_processes,
    neighbours_files, neighbours_ports, hosts_loopback, root_file_system, processes_without_end, memory_without_end,
)  # fmt: skip


def _too_slow(number: int, frame: FrameType | None) -> None:
    raise TimeoutError(f"no end within {_SECONDS} s")


if __name__ == "__main__":
    signal.signal(signal.SIGALRM, _too_slow)
    for probe in PROBES:
        if probe.__name__ in sys.argv[7].split(","):
            continue
        signal.alarm(_SECONDS)
        try:
            outcome, evidence = probe()
        except Exception as error:  # noqa: BLE001 (a probe that fails in its own way is evidence, too)
            outcome, evidence = BLOCKED, f"{type(error).__name__}: {error}"
        print(json.dumps({"probe": probe.__name__, "outcome": outcome, "evidence": evidence}), flush=True)
