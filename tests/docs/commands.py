"""Finds the commands in README and docs, and runs them as a reader would: in a shell, on a terminal."""

import os
import pty
import re
import select
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]

_BLOCK = re.compile(r"(?P<account><!-- needs an AWS account -->\n)?```sh\n(?P<commands>.*?)```", re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A block of commands: where it stands, and whether it needs an AWS account."""

    file: Path
    number: int
    commands: tuple[str, ...]
    needs_account: bool

    def __str__(self) -> str:
        return f"{self.file.name}-{self.number}"


def blocks() -> list[Block]:
    """All blocks of commands, in the order of the files."""
    found = []
    for file in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        for number, match in enumerate(_BLOCK.finditer(file.read_text(encoding="utf-8")), start=1):
            lines = tuple(line for line in match["commands"].splitlines() if line.strip())
            found.append(Block(file, number, lines, match["account"] is not None))
    return found


def run_on_terminal(script: str, folder: Path, environment: Mapping[str, str], timeout: float) -> tuple[int, str]:
    """Run a shell script on a pseudo-terminal, answering `y` wherever it is asked; its exit code and all it showed."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        env={**environment, "TERM": "dumb", "COLUMNS": "200"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    ) as process:
        os.close(theirs)
        shown, answered, deadline = "", 0, time.monotonic() + timeout
        try:
            while True:
                readable, _, _ = select.select([ours], [], [], max(0.0, deadline - time.monotonic()))
                if not readable:
                    raise TimeoutError(f"after {timeout:.0f} s:\n{shown}")
                try:
                    part = os.read(ours, 65536)
                except OSError:  # the terminal is closed: all who had it have ended
                    part = b""
                if not part:
                    break
                shown += part.decode(errors="replace")
                if shown.count("[y/N]") > answered:
                    answered += 1
                    os.write(ours, b"y\n")
            code = process.wait(30)
        finally:
            process.kill()
            os.close(ours)
    return code, shown
