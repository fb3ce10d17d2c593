"""The report of benchmark `isolation`: Markdown and HTML with plots, each figure with its runtime's flags."""

from __future__ import annotations

import html
from collections.abc import Mapping
from pathlib import Path
from statistics import median

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt

from benchmarks.report import this_machine

Samples = Mapping[str, Mapping[str, list[float]]]

#: Figures of which less is better.
LESS_IS_BETTER = ("_us", "_seconds", "_mib", "_percent", "_ms")


def write_page(folder: Path, samples: Samples, flags: Mapping[str, str], seconds: int, repeats: int, load: str) -> None:
    """Write isolation.md, isolation.html and isolation.png."""
    folder.mkdir(exist_ok=True)
    runtimes = list(flags)
    plot(folder / "isolation.png", samples, runtimes)
    header = ["figure", *runtimes, *(f"{one} ÷ {runtimes[0]}" for one in runtimes[1:])]
    rows = [_row(figure, by_runtime, runtimes) for figure, by_runtime in samples.items()]
    machine = this_machine()
    about = [
        f"Measured on {machine.system}, {machine.processor}, {machine.cores} cores, {machine.memory_gib} GiB;"
        f" load {load}. {seconds} s for each measure, {repeats} repeats, interleaved; median (least to most).",
        *(f"{runtime}: {text}." for runtime, text in flags.items()),
        "Where figures end in " + ", ".join(f"`{one}`" for one in LESS_IS_BETTER) + ", less is better.",
        "The machine is a virtual machine that others share: ratios count, absolute figures are this machine's alone."
        " gVisor's own network stack and KVM are not in these figures, nor is Kata.",
    ]
    text = ["# What an isolation costs", "", *(f"{line}\n" for line in about)]
    text += [f"| {' | '.join(header)} |", "|---" * len(header) + "|", *(f"| {' | '.join(row)} |" for row in rows), ""]
    text += ["![ratios](isolation.png)", ""]
    (folder / "isolation.md").write_text("\n".join(text), encoding="utf-8")
    cells = "".join(
        "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in (header, *rows)
    )
    said = "".join(f"<p>{html.escape(line)}</p>" for line in about)
    (folder / "isolation.html").write_text(
        '<!DOCTYPE html><html lang="en"><meta charset="utf-8"><title>What an isolation costs</title>'
        "<style>body{font-family:sans-serif;margin:2em}td{padding:.2em .8em;border-bottom:1px solid #ccc}</style>"
        f'<h1>What an isolation costs</h1>{said}<table>{cells}</table><img src="isolation.png" alt="ratios"></html>\n',
        encoding="utf-8",
    )


def _row(figure: str, by_runtime: Mapping[str, list[float]], runtimes: list[str]) -> list[str]:
    cells = [figure]
    for runtime in runtimes:
        values = by_runtime[runtime]
        cells.append(f"{median(values):.4g} ({min(values):.4g} to {max(values):.4g})" if values else "not measured")
    for runtime in runtimes[1:]:
        one, other = by_runtime[runtime], by_runtime[runtimes[0]]
        cells.append(f"{median(one) / median(other):.2f}" if one and other and median(other) else "")
    return cells


def plot(path: Path, samples: Samples, runtimes: list[str]) -> None:
    """Bars of the ratios to the first runtime, on a logarithmic axis; what is better points to the right."""
    baseline = runtimes[0]
    figure, axes = plt.subplots(figsize=(9, 0.34 * len(samples) + 1.6))
    names = [name for name, values in samples.items() if values[baseline] and median(values[baseline])]
    height = 0.8 / max(1, len(runtimes) - 1)
    for number, runtime in enumerate(runtimes[1:]):
        ratios = []
        for name in names:
            values = samples[name][runtime]
            found = median(values) / median(samples[name][baseline]) if values else 1.0
            ratios.append((1 / found if found else 1.0) if name.endswith(LESS_IS_BETTER) else found)
        places = [place + number * height for place in range(len(names))]
        axes.barh(places, [value - 1 for value in ratios], left=1, height=height, label=runtime)
        for place, value in zip(places, ratios, strict=True):
            axes.annotate(f"{value:.2f}", (value, place), textcoords="offset points", xytext=(4, 0), va="center")
    axes.set_xscale("log")
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_xlabel(f"times as good as {baseline}")
    axes.legend()
    axes.margins(x=0.15)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)
