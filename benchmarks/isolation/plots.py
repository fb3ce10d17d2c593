"""The report's plots; each says under which flags its figures were taken."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from benchmarks.isolation.findings import times_as_good
from benchmarks.isolation.samples import ByFigure
from benchmarks.isolation.sweep import Verdict

_SAFE, _UNSAFE = "#2f6f9f", "#c0c0c0"


def ratios(path: Path, micro: ByFigure, flags: Mapping[str, str]) -> None:
    """Bars of how many times as good as the first runtime, on a logarithmic axis; what is better points right."""
    baseline, *others = flags
    names = [name for name, by_runtime in micro.items() if by_runtime.get(baseline)]
    figure, axes = plt.subplots(figsize=(10, 0.3 * max(4, len(names)) + 2.2))
    height = 0.8 / max(1, len(others))
    for number, runtime in enumerate(others):
        for place, name in enumerate(names):
            value = times_as_good(micro[name], runtime, baseline, name)
            at = place + number * height
            if value is None:
                axes.annotate("no ratio", (1, at), textcoords="offset points", xytext=(4, 0), va="center", fontsize=8)
                continue
            colour = f"C{number}"
            label = runtime if place == 0 else None
            axes.barh(at, value - 1, left=1, height=height, color=colour, label=label)
            side = 4 if value >= 1 else -4
            axes.annotate(
                f"{value:.2g}", (value, at), textcoords="offset points", xytext=(side, 0), va="center",
                ha="left" if value >= 1 else "right", fontsize=8,
            )  # fmt: skip
    axes.set_xscale("log")
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.invert_yaxis()
    axes.set_xlabel(f"times as good as {baseline} (to the left: worse)")
    axes.set_title("One thing at a time, inside containers")
    axes.margins(x=0.15)
    _finish(figure, path, flags)


def queries(path: Path, tpch: ByFigure, flags: Mapping[str, str], scale: float) -> None:
    """Seconds of each query under each runtime, with the least and the most."""
    names = sorted(name for name in tpch if name.startswith("q"))
    figure, axes = plt.subplots(figsize=(11, 4.6))
    width = 0.8 / len(flags)
    for number, runtime in enumerate(flags):
        found = [(place, tpch[name][runtime]) for place, name in enumerate(names) if tpch[name].get(runtime)]
        if not found:
            continue
        places = [place + number * width for place, _ in found]
        middles = [median(values) for _, values in found]
        spread = [
            [middle - min(values) for middle, (_, values) in zip(middles, found, strict=True)],
            [max(values) - middle for middle, (_, values) in zip(middles, found, strict=True)],
        ]
        axes.bar(places, middles, width, yerr=spread, capsize=2, label=runtime)
    axes.set_xticks(
        [place + width * (len(flags) - 1) / 2 for place in range(len(names))],
        [name.removesuffix("_seconds") for name in names],
    )
    axes.set_ylabel("seconds")
    axes.set_title(f"TPC-H in Spark on YARN, scale factor {scale:g}; the first query also warms up Java")
    axes.legend()
    _finish(figure, path, flags)


def sweep(path: Path, verdicts: Sequence[Verdict], flags: str) -> None:
    """How fast each way of sharing files is, beside what comes with no flag; grey: shared folders are not shared."""
    shown = [one for one in verdicts if one.speed is not None]
    figure, axes = plt.subplots(figsize=(9, 0.5 * len(shown) + 2))
    values = [one.speed or 0.0 for one in shown]
    axes.barh(range(len(shown)), values, color=[_SAFE if one.safe else _UNSAFE for one in shown])
    for place, value in enumerate(values):
        axes.annotate(f"{value:.2f}", (value, place), textcoords="offset points", xytext=(4, 0), va="center")
    axes.set_yticks(range(len(shown)), [one.flags if one.flags != "none" else "(no flag)" for one in shown])
    axes.invert_yaxis()
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_xlabel("times as fast as without a flag (grey: not safe)")
    axes.set_title("gVisor's ways to share files")
    axes.margins(x=0.12)
    _finish(figure, path, {"all with": flags})


def _finish(figure: Figure, path: Path, flags: Mapping[str, str]) -> None:
    caption = "     ".join(f"{runtime}: {text}" for runtime, text in flags.items())
    figure.tight_layout(rect=(0, 0.05 if figure.get_figheight() > 5 else 0.07, 1, 1))
    figure.text(0.01, 0.012, caption, fontsize=7.5)
    figure.savefig(path, dpi=110)
    plt.close(figure)
