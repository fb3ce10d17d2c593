"""What the figures mean, in sentences that are made of them, so that a new run says what it found and no more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import geometric_mean, median

from benchmarks.isolation.measures import LESS_IS_BETTER
from benchmarks.isolation.samples import ByFigure

#: What a reader asks about → how the names of its figures begin. Each figure is in one of them.
GROUPS: Mapping[str, tuple[str, ...]] = {
    "files on the container's own root": ("fio_rootfs", "small_files_rootfs"),
    "files on a volume": ("fio_volume", "small_files_volume"),
    "files in a folder shared with the host": ("fio_shared", "small_files_shared"),
    "network between containers": ("tcp_", "udp"),
    "computing and memory": ("stress_matrix", "stress_stream"),
    "allocating and mapping memory": ("stress_malloc", "stress_vm"),
    "context switches through a pipe": ("stress_switch",),
    "starting a container": ("start_",),
    "memory of an idle container": ("idle_",),
}


def times_as_good(by_runtime: Mapping[str, list[float]], runtime: str, baseline: str, figure: str) -> float | None:
    """Median ÷ the baseline's, turned round where less is better; None where one of both was not measured, or is 0."""
    own, under = by_runtime.get(runtime), by_runtime.get(baseline)
    if not own or not under or median(own) <= 0 or median(under) <= 0:
        return None
    ratio = median(own) / median(under)
    return 1 / ratio if figure.endswith(LESS_IS_BETTER) else ratio


def apart(one: Sequence[float], other: Sequence[float]) -> bool:
    """Whether the samples of both do not overlap; with fewer than two of each nobody can tell."""
    return min(len(one), len(other)) > 1 and (max(one) < min(other) or max(other) < min(one))


def group_ratios(micro: ByFigure, runtime: str, baseline: str) -> dict[str, tuple[float, bool]]:
    """Group → geometric mean of how many times as good, and whether every figure's samples lie apart."""
    found = {}
    for group, beginnings in GROUPS.items():
        ratios, telling = [], True
        for figure, by_runtime in micro.items():
            ratio = times_as_good(by_runtime, runtime, baseline, figure) if figure.startswith(beginnings) else None
            if ratio is not None:
                ratios.append(ratio)
                telling = telling and apart(by_runtime[runtime], by_runtime[baseline])
        if ratios:
            found[group] = (geometric_mean(ratios), telling)
    return found


def sentences(micro: ByFigure, tpch: ByFigure, runtimes: Sequence[str]) -> list[str]:
    """One for each thing that a reader asks about and that was measured."""
    baseline, *others = runtimes
    said = []
    for runtime in others:
        alone = times_as_good(tpch.get("all_queries_seconds", {}), runtime, baseline, "_seconds")
        job = times_as_good(tpch.get("job_seconds", {}), runtime, baseline, "_seconds")
        if alone and job:
            said.append(
                f"TPC-H under {runtime}: the 22 queries took {1 / alone:.2f} times the seconds that they took under "
                f"{baseline}, and the whole job, with the start of its containers and of Spark, {1 / job:.2f} times."
            )
        for group, (ratio, telling) in group_ratios(micro, runtime, baseline).items():
            doubt = "" if telling else " (a hint: samples of some figures overlap, or there is one)"
            said.append(f"{group[0].upper()}{group[1:]}: {runtime} is {_words(ratio, baseline)}{doubt}.")
    return said


def _words(ratio: float, baseline: str) -> str:
    if 0.95 <= ratio <= 1.05:
        return f"as good as {baseline}"
    return f"{ratio:.3g} times better than {baseline}" if ratio > 1 else f"{1 / ratio:.3g} times worse than {baseline}"
