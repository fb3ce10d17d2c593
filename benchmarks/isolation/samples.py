"""What has been measured so far, kept in a file after each measure, so that a run goes on where another was ended."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.isolation.measures import Figures

#: Figure → runtime → values.
ByFigure = dict[str, dict[str, list[float]]]


@dataclass(frozen=True)
class Key:
    """Which measure a sample is of: under what, how long or how much (`2s`, `sf0.01`), and the how-manieth."""

    part: str
    size: str
    runtime: str
    measure: str
    number: int

    def __str__(self) -> str:
        return "|".join((self.part, self.size, self.runtime, self.measure, str(self.number)))

    @classmethod
    def parse(cls, text: str) -> Key:
        """The key that was written so."""
        part, size, runtime, measure, number = text.split("|")
        return cls(part, size, runtime, measure, int(number))


@dataclass
class Samples:
    """Samples and failures by key. ``conditions`` are those under which samples may stand side by side: the flags of
    runtimes, limits, the machine. Samples of other conditions are forgotten, which ``forgotten`` says."""

    path: Path
    conditions: dict[str, Any]
    done: dict[str, Figures] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    forgotten: str | None = None

    @classmethod
    def load(cls, path: Path, conditions: dict[str, Any]) -> Samples:
        """What an earlier run left; failures are tried again, and so are not loaded."""
        samples = cls(path, conditions)
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return samples
        except ValueError as error:
            samples.forgotten = f"{path.name} cannot be read ({error})"
            return samples
        if not isinstance(found, dict) or found.get("conditions") != json.loads(json.dumps(conditions)):
            samples.forgotten = "other flags, limits or another machine"
        else:
            samples.done = found["samples"]
        return samples

    def add(self, key: Key, figures: Figures) -> None:
        """Keep it, on disk too, at once."""
        self.failures.pop(str(key), None)
        self.done[str(key)] = figures
        self.path.parent.mkdir(parents=True, exist_ok=True)
        partial = self.path.with_suffix(".partial")
        partial.write_text(json.dumps({"conditions": self.conditions, "samples": self.done}), encoding="utf-8")
        partial.replace(self.path)

    def fail(self, key: Key, reason: str) -> None:
        """Nothing was measured, and why."""
        self.failures[str(key)] = reason

    def pending(self, keys: Sequence[Key]) -> list[Key]:
        """Those that have not been measured."""
        return [key for key in keys if str(key) not in self.done]

    def by_figure(self, part: str, size: str, runtimes: Sequence[str]) -> ByFigure:
        """The part's samples of that size. A runtime without a sample has an empty list."""
        found: ByFigure = {}
        for text, figures in self.done.items():
            key = Key.parse(text)
            if (key.part, key.size) == (part, size) and key.runtime in runtimes:
                for name, value in figures.items():
                    found.setdefault(name, {one: [] for one in runtimes})[key.runtime].append(value)
        return found
