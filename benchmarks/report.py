"""The form in which every benchmark reports: a table for people, a file, and one line of JSON, last."""

import json
import os
import platform
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Literal

import psutil
from rich.console import Console
from rich.table import Table

RESULTS = Path(__file__).parent / "results"

Bound = Literal["at_most", "at_least"]


@dataclass(frozen=True)
class Goal:
    """What a figure should be."""

    figure: str
    bound: Bound
    number: float

    def met(self, value: float) -> bool:
        """Whether the value keeps the bound."""
        return value <= self.number if self.bound == "at_most" else value >= self.number


@dataclass
class Report:
    """The figures of one benchmark and the goals among them. Units stand in the figures' names (`_seconds`, `_mib`)."""

    benchmark: str
    figures: dict[str, float] = field(default_factory=dict)
    goals: list[Goal] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add_samples(self, name: str, samples: list[float]) -> float:
        """Record the median and the spread (least and most) of samples; returns the median."""
        middle = median(samples)
        self.figures[name] = round(middle, 4)
        self.figures[f"{name}_least"] = round(min(samples), 4)
        self.figures[f"{name}_most"] = round(max(samples), 4)
        return middle

    def as_data(self) -> dict[str, object]:
        """The report as the line of JSON holds it."""
        goals = []
        for goal in self.goals:
            value = self.figures[goal.figure]
            goals.append({"figure": goal.figure, goal.bound: goal.number, "value": value, "met": goal.met(value)})
        return {
            "benchmark": self.benchmark,
            "figures": self.figures,
            "goals": goals,
            "machine": asdict(this_machine()),
            "notes": self.notes,
        }

    def publish(self) -> bool:
        """Print the table, write ``results/NAME.json``, print the line of JSON last; True if all goals are met."""
        console = Console(soft_wrap=True)
        shown = Table("figure", "value", "goal", title=f"benchmark {self.benchmark}", box=None, title_justify="left")
        goals = {goal.figure: goal for goal in self.goals}
        for name, value in self.figures.items():
            goal = goals.get(name)
            wanted = "" if goal is None else f"{goal.bound.replace('_', ' ')} {goal.number:g}: "
            verdict = "" if goal is None else "[green]met[/]" if goal.met(value) else "[bold red]missed[/]"
            shown.add_row(name, f"{value:g}", wanted + verdict)
        console.print(shown)
        for note in self.notes:
            console.print(note, markup=False)
        data = self.as_data()
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / f"{self.benchmark}.json").write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")
        print(json.dumps(data), flush=True)
        return all(goal.met(self.figures[goal.figure]) for goal in self.goals)


@dataclass(frozen=True)
class Machine:
    """What the figures were measured on."""

    system: str
    processor: str
    cores: int
    memory_gib: float
    python: str


def this_machine() -> Machine:
    """This machine, without its name."""
    return Machine(
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        processor=_processor(),
        cores=os.cpu_count() or 1,
        memory_gib=round(psutil.virtual_memory().total / 1024**3, 1),
        python=platform.python_version(),
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or "unknown"
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")
