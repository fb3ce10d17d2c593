"""What is measured, each by a program that is known for it, and how its answer is read."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass

#: Figures by name; units stand in the names.
Figures = dict[str, float]

#: Where a container writes: its own root file system, a volume of Docker's, a folder of the host.
PLACES = {"rootfs": "/measured", "volume": "/volume", "shared": "/shared"}

#: Figures whose name ends so are the better the smaller they are.
LESS_IS_BETTER = ("_us", "_seconds", "_mib", "_percent", "_ms")


@dataclass(frozen=True)
class Measure:
    """One program inside a container."""

    name: str
    command: Callable[[int], list[str]]
    """Its command line for so many seconds."""
    read: Callable[[str], Figures]
    server: tuple[str, ...] = ()
    """What runs in a neighbour, whose address replaces ``SERVER`` in the command; it says that it is listening."""


def fio(place: str) -> list[Measure]:
    """4 KiB blocks at random, and bandwidth in 1 MiB blocks, on files in ``place``.

    gVisor has neither libaio nor io_uring: `psync` in two processes, for every runtime alike. Through the page cache,
    as Spark reads and writes: the way to the file is what differs between runtimes, and not the disk.
    """

    def command(pattern: str, block: str) -> Callable[[int], list[str]]:
        return lambda seconds: [
            *("fio", "--name=probe", f"--directory={PLACES[place]}", "--size=32M", f"--rw={pattern}", f"--bs={block}"),
            *("--ioengine=psync", "--numjobs=2", "--group_reporting", "--time_based", f"--runtime={seconds}"),
            # Else fio drops its files from a plain container's cache, and not from that of gVisor's kernel.
            *("--invalidate=0", "--fadvise_hint=0", *(["--pre_read=1"] if "read" in pattern else [])),
            *("--fallocate=none", "--unlink=1", "--output-format=json"),
        ]

    def read(name: str, side: str, random: bool) -> Callable[[str], Figures]:
        def figures(said: str) -> Figures:
            job = json.loads(said[said.index("{") :])["jobs"][0][side]
            if not random:
                return {f"{name}_mib_s": job["bw_bytes"] / 2**20}
            late = job["clat_ns"]["percentile"]["99.000000"] / 1000
            return {f"{name}_iops": job["iops"], f"{name}_p99_us": late}

        return figures

    kinds = (("randread", "read", "4k"), ("randwrite", "write", "4k"), ("read", "read", "1M"), ("write", "write", "1M"))
    return [
        Measure(
            f"fio_{place}_{pattern}",
            command(pattern, block),
            read(f"fio_{place}_{pattern}", side, pattern.startswith("rand")),
        )
        for pattern, side, block in kinds
    ]


def small_files(place: str) -> Measure:
    """Files of 4 KiB written, listed, looked at, read and removed, one after the other."""
    name = f"small_files_{place}"
    return Measure(
        name,
        lambda seconds: ["python3", "/opt/measure/small_files.py", PLACES[place], str(seconds)],
        lambda said: {f"{name}_files_s": json.loads(said)["files_s"]},
    )


def iperf() -> list[Measure]:
    """TCP both ways and UDP between two containers of the same runtime."""
    server = ("iperf3", "-s", "-1", "--forceflush")

    def tcp(name: str, *more: str) -> Measure:
        def figures(said: str) -> Figures:
            return {f"{name}_gbit_s": json.loads(said)["end"]["sum_received"]["bits_per_second"] / 1e9}

        return Measure(
            name, lambda seconds: ["iperf3", "-J", "-c", "SERVER", "-t", str(seconds), *more], figures, server
        )

    def udp(said: str) -> Figures:
        end = json.loads(said)["end"]["sum"]
        return {
            "udp_packets_s": end["packets"] / end["seconds"],
            "udp_lost_percent": end["lost_percent"],
            "udp_jitter_ms": end["jitter_ms"],
        }

    # Small packets at a rate that a shared machine can keep: what is lost then is lost by the runtime.
    command = ["iperf3", "-J", "-c", "SERVER", "-u", "-l", "200", "-b", "20M", "-t"]
    return [tcp("tcp_out"), tcp("tcp_in", "-R"), Measure("udp", lambda seconds: [*command, str(seconds)], udp, server)]


def udp_latency() -> Measure:
    """Round trips of one small packet after the other, there and back, with Python's own time on both sides."""

    def figures(said: str) -> Figures:
        found = json.loads(said)
        return {f"udp_round_trip_{name}_us": found[f"{name}_us"] for name in ("p50", "p95")}

    program = ("python3", "/opt/measure/udp_echo.py")
    return Measure(
        "udp_round_trip", lambda seconds: [*program, "ask", "SERVER", str(seconds)], figures, (*program, "serve")
    )


def stress() -> list[Measure]:
    """Operations a second of stress-ng: matrix product, memory bandwidth, malloc, mapped memory, context switches."""

    def one(stressor: str, *more: str) -> Measure:
        def figures(said: str) -> Figures:
            rate = re.search(r"bogo-ops-per-second-real-time: ([\d.]+)", said)
            if rate is None:
                raise ValueError(f"stress-ng said no rate for {stressor}: {said[-300:]}")
            return {f"stress_{stressor}_ops_s": float(rate[1])}

        return Measure(
            f"stress_{stressor}",
            lambda seconds: [
                *("sh", "-c"),
                f"stress-ng --{stressor} 1 {' '.join(more)} --timeout {seconds}s --metrics-brief "
                "--temp-path /tmp --yaml /tmp/said && cat /tmp/said",
            ],
            figures,
        )

    # Every kernel tells another size of the cache, by which stress-ng would take other sizes of memory.
    return [
        one("matrix"),
        one("stream", "--stream-l3-size", "4M"),
        one("malloc"),
        one("vm", "--vm-bytes", "64M"),
        one("switch"),
    ]


def all_measures() -> list[Measure]:
    """Everything, in the order in which it runs."""
    files = [measure for place in PLACES for measure in (*fio(place), small_files(place))]
    return [*files, *iperf(), udp_latency(), *stress()]
