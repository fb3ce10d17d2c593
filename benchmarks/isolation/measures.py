"""What is measured, each by a program that is known for it, and how its answer is read."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass

#: Figures by name; units stand in the names.
Figures = dict[str, float]


@dataclass(frozen=True)
class Measure:
    """One program inside a container."""

    name: str
    command: Callable[[int], list[str]]
    """Its command line for so many seconds."""
    read: Callable[[str], Figures]
    needs_server: bool = False
    """Whether an iperf3 server runs in a neighbour, whose address replaces ``SERVER``."""


def fio(place: str, folder: str) -> list[Measure]:
    """4 KiB blocks at random, and bandwidth in 1 MiB blocks, on a file in ``folder``.

    gVisor has neither libaio nor io_uring: `psync` in four processes, for every runtime alike.
    """

    def command(pattern: str, block: str) -> Callable[[int], list[str]]:
        return lambda seconds: [
            *("fio", "--name=probe", f"--directory={folder}", "--size=64M", f"--rw={pattern}", f"--bs={block}"),
            *("--ioengine=psync", "--numjobs=4", "--group_reporting", "--time_based", f"--runtime={seconds}"),
            *("--unlink=1", "--output-format=json"),
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


def iperf() -> list[Measure]:
    """TCP both ways and UDP between two containers of the same runtime."""

    def tcp(name: str, *more: str) -> Measure:
        def figures(said: str) -> Figures:
            return {f"{name}_gbit_s": json.loads(said)["end"]["sum_received"]["bits_per_second"] / 1e9}

        return Measure(
            name,
            lambda seconds: ["iperf3", "-J", "-c", "SERVER", "-t", str(seconds), *more],
            figures,
            needs_server=True,
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
    return [
        tcp("tcp_out"),
        tcp("tcp_in", "-R"),
        Measure("udp", lambda seconds: [*command, str(seconds)], udp, needs_server=True),
    ]


def stress() -> list[Measure]:
    """Operations a second of stress-ng: matrix product, memory, allocation, context switches."""

    def one(stressor: str) -> Measure:
        def figures(said: str) -> Figures:
            rate = re.search(r"bogo-ops-per-second-real-time: ([\d.]+)", said)
            if rate is None:
                raise ValueError(f"stress-ng said no rate for {stressor}: {said[-300:]}")
            return {f"stress_{stressor}_ops_s": float(rate[1])}

        return Measure(
            f"stress_{stressor}",
            lambda seconds: [
                *("sh", "-c"),
                f"stress-ng --{stressor} 1 --timeout {seconds}s --metrics-brief --quiet --temp-path /tmp "
                "--yaml /tmp/said && cat /tmp/said",
            ],
            figures,
        )

    return [one(stressor) for stressor in ("matrix", "stream", "malloc", "switch")]


def all_measures() -> list[Measure]:
    """Everything, in the order in which it runs."""
    return [*fio("rootfs", "/opt/spark/work-dir"), *fio("shared", "/shared"), *iperf(), *stress()]
