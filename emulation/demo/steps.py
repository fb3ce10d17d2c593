"""Runs the commands that a person would run, shows them, and keeps what they took."""

import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from sparkvault.errors import SparkvaultError

ROOT = Path(__file__).resolve().parents[2]

#: No step of the demo takes longer than this on a machine that can run it.
STEP_TIMEOUT_SECONDS = 600

console = Console(highlight=False, soft_wrap=True)


class DemoError(SparkvaultError):
    """A step failed, or its result was wrong."""


@dataclass
class Demo:
    """What was done so far: the environment commands run in, and the rows of the summary."""

    environment: Mapping[str, str]
    rows: list[tuple[str, str]] = field(default_factory=list)

    def headline(self, text: str) -> None:
        """Say what comes next."""
        console.print(f"\n[bold]{text}[/]")

    def note(self, what: str, found: str) -> None:
        """A row for the summary."""
        self.rows.append((what, found))

    def run(self, *command: str, shown: str | None = None) -> str:
        """Run a command in the project's folder, show it and what it prints as it comes; returns its standard output.

        Raises DemoError where it fails or takes too long.
        """
        console.print(f"[dim]$ {shown or ' '.join(command)}[/]", markup=True)
        started = time.monotonic()
        lines: list[str] = []
        with subprocess.Popen(
            command, cwd=ROOT, env=dict(self.environment), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None  # noqa: S101 (it was asked for as a pipe)
            try:
                for line in process.stdout:
                    lines.append(line)
                    console.print(f"  {line.rstrip()}", markup=False)
                    if time.monotonic() - started > STEP_TIMEOUT_SECONDS:
                        raise DemoError(f"`{shown or ' '.join(command)}` took over {STEP_TIMEOUT_SECONDS} s")
                process.wait(STEP_TIMEOUT_SECONDS)
            except BaseException:
                process.terminate()
                process.wait(60)
                raise
        if process.returncode != 0:
            raise DemoError(f"`{shown or ' '.join(command)}` ended with {process.returncode}")
        return "".join(lines)
