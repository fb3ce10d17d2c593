"""Finds the commands in README and docs, and runs those of `sh` blocks as a reader would: in a shell, on a terminal."""

import os
import pty
import re
import select
import shlex
import string
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]

_BLOCK = re.compile(r"(?P<account><!-- needs an AWS account -->\n)?```sh\n(?P<commands>.*?)```", re.DOTALL)
_CONSOLE = re.compile(r"```console\n(.*?)```", re.DOTALL)
#: `$ `, `# `, or with the name of who types: `owner$ `.
_PROMPT = re.compile(r"^\w*[$#] +")
_VARIABLE = re.compile(r'^([A-Z_]+)="([^"]*)"$')
_INLINE = re.compile(r"`sparkvault ([^`]+)`")
#: What may stand before a command in a line of a shell.
_KEYWORDS = ("until", "while", "if", "then", "do", "sudo")


@dataclass(frozen=True)
class Block:
    """A block of commands: where it stands, and whether it needs an AWS account."""

    file: Path
    number: int
    commands: tuple[str, ...]
    needs_account: bool

    def __str__(self) -> str:
        return f"{self.file.name}-{self.number}"


def pages() -> list[Path]:
    """README and the pages in docs."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks() -> list[Block]:
    """All blocks of commands, in the order of the files."""
    found = []
    for file in pages():
        for number, match in enumerate(_BLOCK.finditer(file.read_text(encoding="utf-8")), start=1):
            lines = tuple(line for line in match["commands"].splitlines() if line.strip())
            found.append(Block(file, number, lines, match["account"] is not None))
    return found


@dataclass(frozen=True)
class Call:
    """A call of sparkvault that a page shows: where, and its words after the program's name."""

    file: Path
    words: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.file.name}: {' '.join(self.words)}"


def console_calls() -> list[Call]:
    """The calls in all blocks of `console`, without prompts and output, with variables as the page sets them."""
    found = []
    for file in pages():
        variables: dict[str, str] = {}
        for block in _CONSOLE.findall(file.read_text(encoding="utf-8")):
            for shown in block.splitlines():
                line = _PROMPT.sub("", shown)
                if given := _VARIABLE.match(line):
                    variables[given[1]] = given[2]
                elif "sparkvault " in line:
                    expanded = string.Template(line).safe_substitute(variables)
                    found += [Call(file, words) for words in _calls(expanded)]
    return found


def _calls(line: str) -> Iterator[tuple[str, ...]]:
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split, lexer.commenters = True, ""
    words: list[str] = []
    for word in [*lexer, ";"]:
        if not set(word) <= set("();<>|&"):
            words.append(word)
            continue
        while words and words[0] in _KEYWORDS:
            words.pop(0)
        if words[:1] == ["sparkvault"]:
            yield tuple(words[1:])
        words = []


def inline_calls() -> list[Call]:
    """The calls in running text and tables, with whatever stands for values in them."""
    return [
        Call(file, tuple(call.replace("\\|", "|").split()))
        for file in pages()
        for call in _INLINE.findall(file.read_text(encoding="utf-8"))
    ]


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
