"""The report of benchmark `isolation`: Markdown and HTML with plots; every table names its runtimes' flags."""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from benchmarks.isolation import cost, findings, plots, sweep
from benchmarks.isolation.measures import LESS_IS_BETTER
from benchmarks.isolation.samples import ByFigure
from benchmarks.report import this_machine

#: What the report says instead of a figure.
NOT_MEASURED = "not measured"


@dataclass(frozen=True)
class Found:
    """All that a run, or several one after the other, has measured."""

    flags: Mapping[str, str]
    """Runtime → its flags; the first is the baseline."""
    seconds: int
    """Of each measure."""
    scale: float
    """TPC-H's scale factor."""
    micro: ByFigure
    tpch: ByFigure
    sweep: ByFigure
    machine_flags: str
    """What gVisor gets on this machine under every setting of the sweep."""
    notes: Sequence[str] = field(default_factory=list)
    """Loads, limits, flags that are not known, measures that failed."""


@dataclass(frozen=True)
class Table:
    """Rows under a header."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Points:
    """Sentences, each a point of a list."""

    sentences: Sequence[str]


@dataclass(frozen=True)
class Picture:
    """A plot beside the report."""

    file: str
    about: str


#: A heading, a paragraph, or one of the others.
Piece = str | Table | Points | Picture


def write_page(folder: Path, found: Found) -> None:
    """Write isolation.md, isolation.html and the plots."""
    folder.mkdir(exist_ok=True)
    pieces = [*_summary(found), *_tpch(folder, found), *_micro(folder, found), *_sweep(folder, found), *_limits(found)]
    (folder / "isolation.md").write_text("\n".join(map(_markdown, pieces)), encoding="utf-8")
    style = (
        "body{font-family:sans-serif;margin:2em;max-width:75em}td,th{padding:.2em .8em;border-bottom:1px solid #ccc;"
        "text-align:left}img{max-width:100%}"
    )
    (folder / "isolation.html").write_text(
        '<!DOCTYPE html>\n<html lang="en"><meta charset="utf-8"><title>What an isolation costs</title>\n'
        f"<style>{style}</style>\n" + "\n".join(map(_html, pieces)) + "\n</html>\n",
        encoding="utf-8",
    )


def _summary(found: Found) -> Iterator[Piece]:
    yield "# What an isolation costs"
    machine = this_machine()
    yield (
        f"Written by `python -m benchmarks isolation` on {machine.system}, {machine.processor}, {machine.cores} cores, "
        f"{machine.memory_gib} GiB. The machine is a virtual one that others share: ratios count, absolute figures are "
        "this machine's alone. Runtimes are measured by turns; a figure is the median (least to most)."
    )
    yield Table(
        ["runtime", "flags of all its figures"],
        [*found.flags.items(), ("kata", "not shown here: it needs KVM, which this machine has not")],
    )
    yield "## In words"
    said = findings.sentences(found.micro, found.tpch, list(found.flags))
    best = sweep.best(sweep.verdicts(found.sweep))
    if best is not None:
        said.append(f"Sharing files with gVisor: {_best(best)}.")
    yield Points(said or ["Nothing was measured."])
    yield (
        "*Better* and *worse* are geometric means over the figures of a group, each turned so that more is better. "
        f"{found.seconds} s for a measure and TPC-H's scale factor {found.scale:g} tell ratios, not your jobs' times."
    )


def _best(best: sweep.Verdict) -> str:
    """What to set, or why nothing."""
    if best.runtime == sweep.BASELINE:
        return "no safe setting is worth leaving its defaults for"
    found = (
        f"the fastest setting that keeps shared folders shared is `{best.flags}`, {best.speed or 0:.2f} times as fast"
    )
    if best.samples < sweep.ENOUGH:
        few = f"{best.samples} sample{'' if best.samples == 1 else 's'} of each figure"
        return f"{found}; with {few} that is a hint, and no reason to leave the defaults"
    return found


def _tpch(folder: Path, found: Found) -> Iterator[Piece]:
    yield "## TPC-H in Spark on YARN"
    if not any(values for by_runtime in found.tpch.values() for values in by_runtime.values()):
        yield f"{NOT_MEASURED.capitalize()}."
        return
    yield (
        f"Scale factor {found.scale:g}; a driver and an executor, each in a container of its own. One job asks all 22 "
        "queries; every answer was compared with DuckDB's, and a job with a wrong one is not in here. A query's cost: "
        f"its seconds times the list price of a whole instance ({_prices()}); us-east-1, on demand, {cost.PRICES_OF}."
    )
    runtimes = list(found.flags)
    header = ["", *(f"{one} seconds" for one in runtimes), *_ratio_names(runtimes)]
    rows = []
    for figure in sorted(found.tpch, key=lambda name: (not name.startswith("q"), name)):
        name = figure.removesuffix("_seconds").replace("_", " ")
        ratios = _ratios(found.tpch[figure], runtimes)
        rows.append([name, *_cells(found.tpch[figure], runtimes), *ratios, *_costs(found.tpch[figure], runtimes)])
    yield Table([*header, *(f"{one} USD in 1000 runs" for one in runtimes)], rows)
    plots.queries(folder / "isolation-tpch.png", found.tpch, found.flags, found.scale)
    yield Picture("isolation-tpch.png", "seconds of each query under each runtime")


def _prices() -> str:
    known = [(runtime, one) for runtime, one in cost.PRICES.items()]
    return ", ".join(
        f"{runtime}: {one.instance} {f'{one.usd_hour} USD an hour' if one.usd_hour else 'no price at hand'}"
        for runtime, one in known
    )


def _costs(by_runtime: Mapping[str, list[float]], runtimes: Sequence[str]) -> list[str]:
    found = []
    for runtime in runtimes:
        values = by_runtime.get(runtime)
        usd = cost.usd(runtime, median(values)) if values else None
        found.append(NOT_MEASURED if usd is None else f"{1000 * usd:.4f}")
    return found


def _micro(folder: Path, found: Found) -> Iterator[Piece]:
    yield "## One thing at a time"
    if not found.micro:
        yield f"{NOT_MEASURED.capitalize()}."
        return
    ends = ", ".join(f"`{one}`" for one in LESS_IS_BETTER)
    yield f"{found.seconds} s for each measure. Where a figure's name ends in {ends}, less is better."
    runtimes = list(found.flags)
    yield Table(
        ["figure", *(f"{one} ({found.flags[one]})" for one in runtimes), *_ratio_names(runtimes)],
        [
            [figure, *_cells(by_runtime, runtimes), *_ratios(by_runtime, runtimes)]
            for figure, by_runtime in found.micro.items()
        ],
    )
    if "start_seconds" in found.micro:
        starts = found.micro["start_seconds"]
        yield "Seconds from `docker run` to the end of a container whose program does nothing:"
        yield Table(
            ["runtime", "starts", "50 of 100 within", "90 of 100 within", "95 of 100 within"],
            [
                [one, str(len(starts[one])), *(f"{percentile(starts[one], part):.2f} s" for part in (50, 90, 95))]
                for one in runtimes
                if starts[one]
            ],
        )
    plots.ratios(folder / "isolation.png", found.micro, found.flags)
    yield Picture("isolation.png", "how many times as good as the baseline each figure is")


def percentile(values: Sequence[float], part: int) -> float:
    """The least value that so many of 100 do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * part // 100) - 1)]


def _cells(by_runtime: Mapping[str, list[float]], runtimes: Sequence[str]) -> list[str]:
    cells = []
    for runtime in runtimes:
        values = by_runtime.get(runtime)
        spread = f" ({min(values):.4g} to {max(values):.4g})" if values and len(values) > 1 else ""
        cells.append(f"{median(values):.4g}{spread}" if values else NOT_MEASURED)
    return cells


def _ratio_names(runtimes: Sequence[str]) -> list[str]:
    return [f"{one} ÷ {runtimes[0]}" for one in runtimes[1:]]


def _ratios(by_runtime: Mapping[str, list[float]], runtimes: Sequence[str]) -> list[str]:
    cells = []
    for runtime in runtimes[1:]:
        own, under = by_runtime.get(runtime), by_runtime.get(runtimes[0])
        cells.append(f"{median(own) / median(under):.2f}" if own and under and median(under) else "")
    return cells


def _sweep(folder: Path, found: Found) -> Iterator[Piece]:
    yield "## Ways to share files"
    verdicts = sweep.verdicts(found.sweep)
    if verdicts:
        yield (
            f"gVisor, all with `{found.machine_flags}`. A setting is safe where the host sees what a running container "
            "writes to a shared folder, and the container what the host writes: YARN hands scripts, tokens and logs "
            "over there. Speed: geometric mean over the figures of files on root and in a shared folder."
        )
        words = {True: "yes", False: "no", None: NOT_MEASURED}
        yield Table(
            ["flags", "host sees container's", "container sees host's", "speed ÷ without a flag", "safe"],
            [
                [
                    f"`{one.flags}`" if one.flags != "none" else "no flag",
                    words[one.host_sees],
                    words[one.container_sees],
                    NOT_MEASURED if one.speed is None else f"{one.speed:.2f}",
                    "yes" if one.safe else "no",
                ]
                for one in verdicts
            ],
        )
        names = list(sweep.SETTINGS)
        figures = [figure for figure in found.sweep if figure not in ("host_sees", "container_sees")]
        yield Table(
            ["figure", *(" ".join(sweep.SETTINGS[name]) or "no flag" for name in names)],
            [[figure, *_cells(found.sweep[figure], names)] for figure in figures],
        )
        if any(one.speed is not None for one in verdicts):
            plots.sweep(folder / "isolation-sweep.png", verdicts, found.machine_flags)
            yield Picture("isolation-sweep.png", "speed of each way to share files")
    else:
        yield f"{NOT_MEASURED.capitalize()} for gVisor."
    yield "Kata shares files by virtio-fs. Its settings are not shown here, as it needs KVM; what hosts are given:"
    yield Table(["Kata's setting", "value", "measured"], [(f"`{k}`", f"`{v}`", "not shown here") for k, v in _kata()])


def _kata() -> list[tuple[str, str]]:
    return list(sweep.kata_settings().items())


def _limits(found: Found) -> Iterator[Piece]:
    yield "## What to keep in mind"
    kept = [
        "Files go through the page cache, as Spark's do: the disk is the same for all and not in the figures.",
        "gVisor runs here without KVM, without control groups and on the container's network stack of the host's "
        "kernel (`--network=host`): its own network stack and its KVM platform are not in these figures.",
        "Nothing here says how Kata does.",
    ]
    yield Points([*kept, *found.notes])


def _markdown(piece: Piece) -> str:
    if isinstance(piece, Picture):
        return f"![{piece.about}]({piece.file})\n"
    if isinstance(piece, Table):
        lines = [piece.header, ["---"] * len(piece.header), *piece.rows]
        return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"
    if isinstance(piece, Points):
        return "\n".join(f"- {one}" for one in piece.sentences) + "\n"
    return f"{piece}\n"


def _html(piece: Piece) -> str:
    if isinstance(piece, Picture):
        return f'<img src="{piece.file}" alt="{html.escape(piece.about)}">'
    if isinstance(piece, Table):
        head = "".join(f"<th>{_inline(cell)}</th>" for cell in piece.header)
        rows = "".join("<tr>" + "".join(f"<td>{_inline(cell)}</td>" for cell in row) + "</tr>\n" for row in piece.rows)
        return f"<table><tr>{head}</tr>\n{rows}</table>"
    if isinstance(piece, Points):
        return "<ul>" + "\n".join(f"<li>{_inline(one)}</li>" for one in piece.sentences) + "</ul>"
    marks = {"# ": "h1", "## ": "h2"}
    for mark, tag in marks.items():
        if piece.startswith(mark):
            return f"<{tag}>{_inline(piece.removeprefix(mark))}</{tag}>"
    return f"<p>{_inline(piece)}</p>"


def _inline(text: str) -> str:
    """Escaped, with what stands between backticks as code."""
    parts = html.escape(text).split("`")
    return "".join(f"<code>{part}</code>" if number % 2 else part for number, part in enumerate(parts))
